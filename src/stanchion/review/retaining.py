"""Retention: items that ended long enough ago go for good, with everything that was shown and decided about them.

Only queues that declare `keep_days` lose anything. Each removal is one transaction with its entry in the audit log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from .contract import ReviewSpec
from .desk import Desk, acting
from .machine import OVER
from .ports import News, Records, Row

_log = logging.getLogger(__name__)
_PAGE = 200
_NAMED = 20


def removed(queue: str) -> str:
    """The counter of what retention has taken of a queue's data set."""
    return f"removed/{queue}"


class Retaining:
    """Removes what has been kept long enough."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self) -> int:
        """Remove what is due in every queue of every tenant; how many items went."""
        number = 0
        for spec in self._desk.specs.values():
            if spec.keep_days is not None:
                for tenant in await self._desk.store.tenants(spec.name):
                    number += await self._queue(tenant, spec, timedelta(days=spec.keep_days))
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

        def work(records: Records) -> list[Row]:
            found = [row for row in map(records.find, due) if row is not None and _over(row, before)]
            records.remove([row.id for row in found])
            for row in found:
                if row.finished is not None:
                    records.number(removed(queue))
            if ctx.effect is not None:
                named = ",".join(row.id for row in found[:_NAMED])
                ctx.effect.note(removed=len(found), items=named, ended_before=before.isoformat())
            records.tell([News("review.removed", row, self._desk.now()) for row in found if not row.golden])
            return found

        gone = await self._desk.store.write(ctx, work)
        _log.info("retention of %s removed %d items of %s", queue, len(gone), tenant)
        return len(gone)


def _ended(queue: str, before: datetime, after: int, records: Records) -> Sequence[Row]:
    return records.ended(queue, before, after, _PAGE)


def _over(row: Row, before: datetime) -> bool:
    ending = row.state.ending
    return row.status in OVER and ending is not None and ending.at < before
