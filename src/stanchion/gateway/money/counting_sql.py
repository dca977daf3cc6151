"""Counters in SQL: one row for each window. SQLite has one writer; on PostgreSQL the counter's name is locked."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ...core.clock import Clock, micros
from ...core.context import system_context
from ...core.storage import Database
from ..contract.money import Window
from .counters import Counter, Counters, Demand, Grant, share
from .tables import counters, slots
from .windows import SECOND, Span

LEASE = 60 * SECOND
# Hours: well past the end of a window, as clocks differ.
_KEPT: dict[Window, int] = {"minute": 1, "hour": 48, "day": 72, "month": 62 * 24}


class SqlCounters(Counters):
    """Over a prepared database. `holder` is this process, by a name that no other one ever has."""

    def __init__(self, database: Database, *, holder: str, clock: Clock) -> None:
        self._database = database
        self._holder = holder
        self._clock = clock
        self._ctx = system_context("system", task="gateway-allowances")

    async def take(self, demands: Sequence[Demand]) -> Sequence[Grant]:
        # In one order everywhere, so that two processes never wait for each other's rows.
        order = sorted(range(len(demands)), key=lambda i: (*map(str, demands[i].counter), demands[i].span.start))

        def work(connection: Connection) -> list[Grant]:
            grants = {i: self._take(connection, demands[i]) for i in order}
            return [grants[i] for i in range(len(demands))]

        return await self._database.write(self._ctx, work)

    async def give(self, changes: Sequence[tuple[Counter, Span, int]]) -> None:
        ordered = sorted(changes, key=lambda each: (*map(str, each[0]), each[1].start))

        def work(connection: Connection) -> None:
            for counter, span, amount in ordered:
                self._give(connection, counter, span, amount)

        await self._database.write(self._ctx, work)

    async def levels(self, places: Sequence[tuple[Counter, Span]]) -> Sequence[int]:
        def work(connection: Connection) -> list[int]:
            found: dict[Counter, dict[int, int]] = {}
            for counter in {counter for counter, _ in places if counter.window is not None}:
                starts = {start for each, at in places if each == counter for start in (at.start, *at.beside)}
                found[counter] = _taken(connection, counter, starts)
            return [
                self._held(connection, counter)
                if counter.window is None
                else sum(found[counter].get(start, 0) for start in (at.start, *at.beside))
                for counter, at in places
            ]

        return await self._database.read(work)

    async def subjects(self, tenant: str, budget: str, since: int, limit: int) -> Sequence[str]:
        this = and_(counters.c.tenant == tenant, counters.c.budget == budget, counters.c.start >= since)
        query = select(counters.c.subject).where(this).distinct().order_by(counters.c.subject).limit(limit)
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))

    async def renew(self) -> None:
        statement = update(slots).where(slots.c.holder == self._holder).values(until=self._now() + LEASE)
        await self._database.write(self._ctx, lambda connection: connection.execute(statement).rowcount)

    async def forget(self, now: int) -> None:
        over = (and_(counters.c.window == w, counters.c.start < now - h * 3_600 * SECOND) for w, h in _KEPT.items())
        old = delete(counters).where(or_(*over))
        gone = delete(slots).where(or_(slots.c.until < self._now(), slots.c.held <= 0))

        def work(connection: Connection) -> None:
            connection.execute(old)
            connection.execute(gone)

        await self._database.write(self._ctx, work)

    def _now(self) -> int:
        return micros(self._clock.now())

    def _take(self, connection: Connection, demand: Demand) -> Grant:
        counter, span = demand.counter, demand.span
        if connection.dialect.name == "postgresql":
            # There may be no row yet, and a minute has many: so processes queue for the counter's name instead.
            connection.execute(select(func.pg_advisory_xact_lock(_lock(counter))))
        if counter.window is None:
            taken = self._held(connection, counter)
        else:
            taken = sum(_taken(connection, counter, (span.start, *span.beside)).values())
        grant = share(demand, taken)
        if grant.amount:
            self._give(connection, counter, span, -grant.amount)
        return grant

    def _give(self, connection: Connection, counter: Counter, span: Span, amount: int) -> None:
        if counter.window is None:
            return self._hold(connection, counter, -amount)
        _add(connection, _row(counter, span.start), -amount)
        return None

    def _hold(self, connection: Connection, counter: Counter, more: int) -> None:
        whose = {"tenant": counter.tenant, "budget": counter.budget, "subject": counter.subject}
        mine = {**whose, "holder": self._holder}
        until = self._now() + LEASE
        # A process that slept past its lease has lost what it held; it does not get it back by adding to it.
        alive = and_(_is_slot(mine), slots.c.until >= self._now())
        changed = update(slots).where(alive).values(held=slots.c.held + more, until=until)
        if not connection.execute(changed).rowcount:
            connection.execute(delete(slots).where(_is_slot(mine)))
            connection.execute(insert(slots).values({**mine, "held": max(0, more), "until": until}))

    def _held(self, connection: Connection, counter: Counter) -> int:
        these = {"tenant": counter.tenant, "budget": counter.budget, "subject": counter.subject}
        held = select(func.sum(slots.c.held)).where(_is_slot(these), slots.c.until >= self._now())
        return int(connection.execute(held).scalar() or 0)


def _taken(connection: Connection, counter: Counter, starts: Collection[int]) -> dict[int, int]:
    query = select(counters.c.start, counters.c.taken)
    query = query.where(_is(_row(counter, None)), counters.c.start.in_(starts))
    return {row.start: row.taken for row in connection.execute(query)}


def _lock(counter: Counter) -> int:
    digest = hashlib.blake2b("\0".join(map(str, counter)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _row(counter: Counter, start: int | None) -> dict[str, Any]:
    row: dict[str, Any] = {**counter._asdict(), "window": counter.window or ""}
    return row if start is None else {**row, "start": start}


def _is(row: dict[str, Any]) -> Any:
    return and_(*(counters.c[name] == value for name, value in row.items()))


def _is_slot(row: dict[str, Any]) -> Any:
    return and_(*(slots.c[name] == value for name, value in row.items()))


def _add(connection: Connection, row: dict[str, Any], taken: int) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(counters).values({**row, "taken": taken})
    more = counters.c.taken + statement.excluded.taken
    connection.execute(statement.on_conflict_do_update(index_elements=list(row), set_={"taken": more}))
