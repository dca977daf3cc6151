"""What was spent: sums by day, invoices, and the rows themselves in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, get_args

from sqlalchemy import Connection, func, select

from ...core.clock import Clock, micros
from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput
from ...core.storage import Database
from ..contract.calls import Usage
from ..contract.money import Grouping, Invoice, Spend, SpendPage, UsageLine
from .calls import check_tag, named, of_tag
from .ledger import SpendLedger, spend_of
from .subjects import storable
from .tables import spend, spend_days

_GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
_INVOICED = ("key", "provider", "model", "price")
_COUNTS = ("tokens_in", "tokens_out", "cached", "cache_writes", "reasoning")
_MOST_GROUPS = 10_000
_MOST_DAYS = 1_000
_PART = 10**6


class Reports:
    """Reads of the ledger of spend. What this process has settled is stored before it is read."""

    def __init__(self, database: Database, ledger: SpendLedger, *, clock: Clock) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock

    async def usage(
        self, ctx: Context, start: date | None, end: date | None, by: Sequence[Grouping], tag: str = ""
    ) -> list[UsageLine]:
        """Sums by the groupings. Raises InvalidInput."""
        unknown = [each for each in by if each not in _GROUPINGS]
        if unknown or len(set(by)) < len(by):
            problem = FieldProblem("$.by", f"names each of {', '.join(_GROUPINGS)} once at most")
            raise InvalidInput("the groupings are not valid", fields=[problem])
        if "tag" in by or tag:
            check_tag(tag)
        return await self._sums(ctx.tenant, *self._days(start, end), tuple(by), {}, tag if "tag" in by else "")

    async def spent(self, ctx: Context, request_id: str) -> list[Spend]:
        """The charges of one request of the caller."""
        await self._ledger.flush()
        query = select(spend).where(spend.c.tenant == ctx.tenant, spend.c.request_id == storable(request_id))
        query = query.where(spend.c.key == storable(ctx.principal)).order_by(spend.c.id).limit(_MOST_GROUPS)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [spend_of(row) for row in rows]

    async def invoice(self, ctx: Context, start: date | None, end: date | None, key: str, tag: str = "") -> Invoice:
        """Raises InvalidInput."""
        start, end = self._days(start, end)
        by: tuple[str, ...] = _INVOICED
        if tag:
            check_tag(tag)
            by = (*_INVOICED, "tag")
        lines = await self._sums(ctx.tenant, start, end, by, {"key": key} if key else {}, tag)
        return Invoice(
            tenant=ctx.tenant,
            key=key,
            start=start,
            end=end,
            made_at=self._clock.now(),
            lines=tuple(lines),
            requests=sum(line.requests for line in lines),
            unpriced=sum(line.unpriced for line in lines),
            cost=sum(line.cost for line in lines),
            tag=tag,
        )

    async def export(
        self, ctx: Context, start: datetime | None, end: datetime | None, after: str, rows: int
    ) -> AsyncIterator[SpendPage]:
        """Pages of rows. Raises InvalidInput."""
        if not 1 <= rows <= 10_000:
            raise InvalidInput("a page has 1 to 10,000 rows", fields=[FieldProblem("$.rows", "is from 1 to 10000")])
        now = self._clock.now()
        start = start or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        end = end or max(now, start) + timedelta(seconds=1)
        if start.tzinfo is None or end.tzinfo is None or start >= end:
            problem = FieldProblem("$.end", "is later than start; both tell their time zone")
            raise InvalidInput("the time is not valid", fields=[problem])
        if after and not (after.isascii() and after.isdigit() and len(after) < 19):
            raise InvalidInput("no page ends there", fields=[FieldProblem("$.after", "is `after` of a page")])
        await self._ledger.flush()
        last, first, until = int(after or 0), micros(start), micros(end)
        while True:
            found = await self._database.read(_page(ctx.tenant, first, until, last, rows))
            if not found:
                return
            last = found[-1].id
            yield SpendPage(tuple(spend_of(row) for row in found), str(last))
            if len(found) < rows:
                return

    def _days(self, start: date | None, end: date | None) -> tuple[date, date]:
        today = self._clock.now().date()
        start = start or today.replace(day=1)
        return start, end or max(today, start) + timedelta(days=1)

    async def _sums(
        self, tenant: str, start: date, end: date, by: tuple[str, ...], where: Mapping[str, str], tag: str = ""
    ) -> list[UsageLine]:
        _check_days(start, end)
        await self._ledger.flush()
        table = spend if tag else spend_days
        query = of_tag(self._database.dialect, tag, start, end, by, where) if tag else _by_day(start, end, by, where)
        # A 64-bit sum of picodollars would end at 9 million dollars: two halves do not.
        query = query.add_columns(func.sum(table.c.cost // _PART).label("whole"))
        query = query.add_columns(func.sum(table.c.cost % _PART).label("part")).where(table.c.tenant == tenant)

        def work(connection: Connection) -> list[UsageLine]:
            rows = connection.execute(query.limit(_MOST_GROUPS + 1)).mappings().all()
            return [_line(named(dict(row)) if tag else dict(row), by) for row in rows if row["requests"]]

        lines = await self._database.read(work)
        if len(lines) > _MOST_GROUPS:
            problem = FieldProblem("$.by", "makes more than 10,000 groups")
            raise InvalidInput("there are too many groups", fields=[problem], next_step="Ask for fewer days at once.")
        return lines


def _by_day(start: date, end: date, by: Sequence[str], where: Mapping[str, str]) -> Any:
    groups = [spend_days.c[name] for name in by]
    sums = [func.sum(spend_days.c[name]).label(name) for name in ("requests", "unpriced", *_COUNTS)]
    query = select(*groups, *sums).where(spend_days.c.day >= start.isoformat(), spend_days.c.day < end.isoformat())
    query = query.where(*(spend_days.c[name] == value for name, value in where.items()))
    return query.group_by(*groups).order_by(*groups) if groups else query


def _page(tenant: str, first: int, until: int, last: int, rows: int) -> Any:
    query = select(spend).where(spend.c.tenant == tenant, spend.c.id > last)
    query = query.where(spend.c.at >= first, spend.c.at < until).order_by(spend.c.id).limit(rows)
    return lambda connection: connection.execute(query).all()


def _line(row: Mapping[str, Any], by: Sequence[str]) -> UsageLine:
    return UsageLine(
        group={name: row[name] for name in by},
        requests=int(row["requests"]),
        unpriced=int(row["unpriced"]),
        usage=Usage(
            tokens_in=int(row["tokens_in"]),
            tokens_out=int(row["tokens_out"]),
            cached=int(row["cached"]),
            cache_writes=int(row["cache_writes"]),
            reasoning=int(row["reasoning"]),
        ),
        cost=int(row["whole"]) * _PART + int(row["part"]),
    )


def _check_days(start: date, end: date) -> None:
    if not timedelta(0) < end - start <= timedelta(days=_MOST_DAYS):
        problem = FieldProblem("$.end", f"is 1 to {_MOST_DAYS} days after start")
        raise InvalidInput("the days are not valid", fields=[problem])
