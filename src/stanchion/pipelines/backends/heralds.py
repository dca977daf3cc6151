"""Tells of runs by events, each in the transaction of its change."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ...events import Event, stage
from ..ports import News, Tale
from ..values import context_of_run

SOURCE = "stanchion/pipelines"


class BusNews(News):
    """Stages `run.started`, `run.ended` and, if asked for, `run.stage.ended`, in the name of who started the run."""

    def tell(self, connection: Connection, tales: Sequence[Tale]) -> None:
        for tale in tales:
            stage(connection, context_of_run(tale.row), [_event(tale)])


def _event(tale: Tale) -> Event:
    row = tale.row
    data = {"run": row.id, "pipeline": row.pipeline, "version": row.version, "parent": row.parent, **tale.data}
    return Event.of(tale.kind, SOURCE, data, subject=row.id)
