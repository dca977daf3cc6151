"""Retention: items that ended long enough ago go for good, with what was shown and decided of them and their copies.

Only queues that declare `keep_days` lose anything. Each removal is one transaction with its entry in the audit log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from ..core.errors import StanchionError
from .contract import ReviewSpec
from .desk import Desk, acting
from .machine import OVER
from .ports import Records, Row
from .removing import Removed, Removing

_log = logging.getLogger(__name__)
_PAGE = 200
_NAMED = 20


class Retaining:
    """Removes what has been kept long enough."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._removing = Removing(desk)

    async def run(self) -> int:
        """Remove what is due in every queue of every tenant; how many items went. One that fails stops no other."""
        number = 0
        for spec in self._desk.specs.values():
            if spec.keep_days is not None:
                for tenant in await self._desk.store.tenants(spec.name):
                    try:
                        number += await self._queue(tenant, spec, timedelta(days=spec.keep_days))
                    except StanchionError as error:
                        _log.warning("retention of %s for %s waits an hour: %s", spec.name, tenant, error.detail)
        return number

    async def _queue(self, tenant: str, spec: ReviewSpec, kept: timedelta) -> int:
        before, number, after = self._desk.now() - kept, 0, 0
        while True:
            page = await self._desk.store.read(tenant, partial(_ended, spec.name, before, after))
            due = [row.id for row in page if _over(row, before)]
            if due:
                number += await self._remove(tenant, spec.name, due, before)
            if len(page) < _PAGE:
                return number
            after = page[-1].number

    async def _remove(self, tenant: str, queue: str, due: list[str], before: datetime) -> int:
        ctx = acting(tenant, "review:remove", queue)

        def find(records: Records) -> list[Row]:
            return [row for row in map(records.find, due) if row is not None and _over(row, before)]

        def note(done: Removed) -> None:
            if ctx.effect is not None:
                named = ",".join(row.id for row in done.rows[:_NAMED])
                ctx.effect.note(
                    removed=len(done.rows), copies=done.copies, items=named, ended_before=before.isoformat()
                )

        number = len((await self._removing.remove(ctx, queue, due, find, note)).rows)
        _log.info("retention of %s removed %d items of %s", queue, number, tenant)
        return number


def _ended(queue: str, before: datetime, after: int, records: Records) -> Sequence[Row]:
    return records.ended(queue, before, after, _PAGE)


def _over(row: Row, before: datetime) -> bool:
    ending = row.state.ending
    return row.status in OVER and ending is not None and ending.at < before
