"""Drills as they are begun, followed and ended. They are kept in SQL, so that every process has the same ones."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput
from ...core.storage import Database
from ..contract import Drill, DrillMode
from .faults import Fault, Faults
from .tables import drills

RUNGS = ("primary", "simple", "rule", "cached", "default", "human")
LONGEST = 600.0
_SLOWEST = 60.0


class DrillDesk:
    """Keeps drills; `refresh` brings this process's faults in line with them."""

    def __init__(self, database: Database, faults: Faults, *, clock: Clock) -> None:
        self._database = database
        self._faults = faults
        self._clock = clock

    async def begin(
        self, ctx: Context, model: str, rung: str, *, mode: DrillMode, share: float, seconds: float, delay: float
    ) -> Drill:
        """Store a drill in place of the rung's present one. Raises InvalidInput."""
        _check(model, rung, share, seconds, delay)
        now = self._clock.now()
        drill = Drill(
            id="drill-" + secrets.token_hex(6),
            model=model,
            rung=rung,
            mode=mode,
            share=share,
            delay=delay,
            begins=now,
            ends=now + timedelta(seconds=seconds),
            begun_by=ctx.principal,
        )

        def work(connection: Connection) -> None:
            this = and_(_running(ctx.tenant, micros(now)), drills.c.model == model, drills.c.rung == rung)
            connection.execute(update(drills).where(this).values(ends=micros(now)))
            connection.execute(insert(drills).values(_columns(ctx.tenant, drill)))
            if ctx.effect is not None:
                ctx.effect.note(drill=drill.id, model=model, rung=rung, mode=mode, share=share, seconds=seconds)

        await self._database.write(ctx, work)
        await self.refresh()
        return drill

    async def end(self, ctx: Context, model: str) -> int:
        """End the model's running drills."""
        now = micros(self._clock.now())

        def work(connection: Connection) -> int:
            this = and_(_running(ctx.tenant, now), drills.c.model == model)
            ended = connection.execute(update(drills).where(this).values(ends=now)).rowcount
            if ctx.effect is not None:
                ctx.effect.note(model=model, ended=ended)
            return ended

        ended = await self._database.write(ctx, work)
        await self.refresh()
        return ended

    async def listed(self, ctx: Context, limit: int) -> Sequence[Drill]:
        """The tenant's drills, the newest end first: running ones lead."""
        if not 1 <= limit <= 100:
            raise InvalidInput("limit must be 1 to 100", fields=[FieldProblem("$.limit", "Give 1 to 100")])
        query = select(drills).where(drills.c.tenant == ctx.tenant).order_by(drills.c.ends.desc()).limit(limit)
        return await self._database.read(lambda connection: [_drill(row) for row in connection.execute(query)])

    async def refresh(self) -> None:
        """Take over what other processes began or ended."""
        now = self._clock.now()
        query = select(drills).where(drills.c.ends > micros(now))
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        self._faults.keep(row.id for row in rows)
        for row in rows:
            drill = _drill(row)
            until = self._clock.monotonic() + (drill.ends - now).total_seconds()
            fault = Fault(drill.id, drill.mode, drill.share, drill.delay, until)
            self._faults.put(row.tenant, drill.model, drill.rung, fault)


def _running(tenant: str, now: int) -> Any:
    return and_(drills.c.tenant == tenant, drills.c.ends > now)


def _columns(tenant: str, drill: Drill) -> dict[str, object]:
    return {
        "tenant": tenant,
        "id": drill.id,
        "model": drill.model,
        "rung": drill.rung,
        "mode": drill.mode,
        "share": drill.share,
        "delay": drill.delay,
        "begins": micros(drill.begins),
        "ends": micros(drill.ends),
        "begun_by": drill.begun_by,
    }


def _drill(row: Row[Any]) -> Drill:
    return Drill(
        id=row.id,
        model=row.model,
        rung=row.rung,
        mode=row.mode,
        share=row.share,
        delay=row.delay,
        begins=moment(row.begins),
        ends=moment(row.ends),
        begun_by=row.begun_by,
    )


def _check(model: str, rung: str, share: float, seconds: float, delay: float) -> None:
    checks = [
        ("$.model", 0 < len(model) <= 128 and "@" not in model, "Name a model without version or alias"),
        ("$.rung", rung in RUNGS, f"Use one of {', '.join(RUNGS)}"),
        ("$.share", 0 < share <= 1, "The share must be above 0 and at most 1"),
        ("$.seconds", 1 <= seconds <= LONGEST, f"A drill lasts 1 to {LONGEST:g} seconds"),
        ("$.delay", 0 < delay <= _SLOWEST, f"A delay is above 0 and at most {_SLOWEST:g} seconds"),
    ]
    faults = [FieldProblem(path, message) for path, holds, message in checks if not holds]
    if faults:
        raise InvalidInput(f"the drill makes no sense: {faults[0].message}", fields=faults)
