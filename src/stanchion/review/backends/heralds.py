"""Who is told of changes, in the transaction of each: the bus of the house, or nobody where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ...core.context import Context
from ...core.values import Json
from ...events import Event, stage
from ..ports import PRIORITIES, News
from .sql import Herald

SOURCE = "stanchion/review"


class BusHerald(Herald):
    """Stages one event for each piece of news; the order of an item's events is kept."""

    def tell(self, connection: Connection, ctx: Context, news: Sequence[News]) -> None:
        stage(connection, ctx, [_event(each) for each in news])


class SilentHerald(Herald):
    """Tells nobody: this process has no bus."""

    def tell(self, connection: Connection, ctx: Context, news: Sequence[News]) -> None:
        pass


def _event(news: News) -> Event:
    row = news.row
    data: dict[str, Json] = {
        "item": row.id,
        "queue": row.queue,
        "key": row.key,
        "author": row.author,
        "by": news.by,
        "status": row.status,
        "priority": PRIORITIES[row.priority],
        "level": row.level,
        "version": row.version,
        "model": row.facts.model,
        "model_version": row.facts.model_version,
        "request_id": row.facts.request_id,
        **news.more,
    }
    return Event.of(news.kind, SOURCE, data, subject=row.id)
