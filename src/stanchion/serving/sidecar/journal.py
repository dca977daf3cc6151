"""Advices kept in SQL, away from the request; outcomes joined to them; figures read from both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, and_, case, delete, func, insert, select, update

from ...core.clock import Clock, micros
from ...core.context import Context, system_context
from ...core.storage import Database
from ...core.telemetry.batch import BatchWriter
from ..contract import Advice, Settled, SidecarReport, SidecarSpec, SourceFigures
from .guard import as_float, is_number
from .tables import advices

_CAPACITY = 20_000
_ENCODE = msgspec.json.encode


class _Row(NamedTuple):
    tenant: str
    at: int
    advice: Advice


class AdviceJournal:
    """Writes in batches; under pressure an advice is dropped and counted rather than delayed."""

    def __init__(self, database: Database, clock: Clock, *, days: float) -> None:
        self._database = database
        self._clock = clock
        self._days = days
        self._writer = BatchWriter(database, _store, task="sidecar", capacity=_CAPACITY)
        self.dropped = 0

    async def start(self) -> None:
        """Begin to store, and forget what is older than it may be."""
        await self._writer.start()
        before = micros(self._clock.now() - timedelta(days=self._days))
        gone = delete(advices).where(advices.c.at < before)
        ctx = system_context("system", task="sidecar")
        await self._database.write(ctx, lambda connection: connection.execute(gone).rowcount)

    async def stop(self) -> None:
        """Store what waits."""
        await self._writer.stop()

    def note(self, tenant: str, advice: Advice) -> None:
        """Take an advice; returns at once."""
        if self._writer.full:
            self.dropped += 1
            return
        self._writer.add(_Row(tenant, micros(self._clock.now()), advice))

    async def settle(self, ctx: Context, sidecar: str, outcomes: Sequence[Settled]) -> int:
        """Join outcomes to advices; how many were known."""
        # What was advised a moment ago may still wait to be stored.
        await self._writer.flush()

        def work(connection: Connection) -> int:
            known = 0
            for each in outcomes:
                this = and_(
                    advices.c.tenant == ctx.tenant,
                    advices.c.sidecar == sidecar,
                    advices.c.request_id == each.request_id,
                )
                known += connection.execute(update(advices).where(this).values(outcome=each.outcome)).rowcount
            return known

        return await self._database.write(ctx, work)

    async def report(self, tenant: str, spec: SidecarSpec, days: float) -> SidecarReport:
        """The figures of one sidecar."""
        since = micros(self._clock.now() - timedelta(days=days))
        mine = and_(advices.c.tenant == tenant, advices.c.sidecar == spec.name, advices.c.at >= since)
        settled = func.sum(case((advices.c.outcome.is_not(None), 1), else_=0))
        columns = (
            advices.c.reason,
            func.count().label("calls"),
            settled.label("settled"),
            func.avg(advices.c.outcome).label("outcome"),
            func.sum(advices.c.deviation).label("deviation"),
            func.count(advices.c.deviation).label("compared"),
        )
        wanted = select(*columns).where(mine).group_by(advices.c.reason).order_by(advices.c.reason)
        rows = await self._database.read(lambda connection: connection.execute(wanted).all())
        compared = sum(row.compared for row in rows)
        return SidecarReport(
            sidecar=spec.name,
            model=spec.model,
            flag=spec.flag,
            days=days,
            calls=sum(row.calls for row in rows),
            reasons={row.reason: row.calls for row in rows},
            by_reason={row.reason: SourceFigures(row.calls, int(row.settled or 0), row.outcome) for row in rows},
            deviation=sum(row.deviation or 0.0 for row in rows) / compared if compared else None,
            dropped=self.dropped,
        )


def _store(connection: Connection, rows: Sequence[_Row], again: bool) -> None:
    values = {(row.tenant, row.advice.sidecar, row.advice.request_id): _values(row) for row in rows}
    # One request may ask twice, and a failed attempt may have been committed all the same.
    for tenant, sidecar, request_id in list(values):
        this = and_(advices.c.tenant == tenant, advices.c.sidecar == sidecar, advices.c.request_id == request_id)
        if connection.execute(select(advices.c.request_id).where(this)).first() is not None:
            del values[tenant, sidecar, request_id]
    if values:
        connection.execute(insert(advices), list(values.values()))


def _values(row: _Row) -> dict[str, object]:
    advice = row.advice
    both = is_number(advice.base) and is_number(advice.candidate) and advice.base != 0
    return {
        "tenant": row.tenant,
        "sidecar": advice.sidecar,
        "request_id": advice.request_id,
        "at": row.at,
        "version": advice.version,
        "reason": advice.reason,
        "base": _ENCODE(advice.base),
        "candidate": _ENCODE(advice.candidate),
        "deviation": as_float(advice.candidate) / as_float(advice.base) - 1 if both else None,
        "confidence": advice.confidence,
        "milliseconds": advice.milliseconds,
        "outcome": None,
    }
