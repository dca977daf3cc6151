"""The log of pushed rows in SQL: what serving was told, kept for training sets with the moment it was told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from ...core.context import Context, system_context
from ...core.errors import InvalidInput
from ...core.storage import Database
from ..ports import Log, Logged
from .tables import horizons, log

_PAGE = 20_000
_CHUNK = 400
_ENCODER = msgspec.json.Encoder(order="sorted")


class SqlLog(Log):
    """The log over the feature store's tables, which must have been prepared."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, ctx: Context, name: str, rows: Sequence[Logged], *, versions: bool = True) -> int:
        if any("\0" in row.key or "\0" in row.event for row in rows):
            # PostgreSQL's text cannot hold it; the same is refused everywhere.
            raise InvalidInput("a key or an event id holds the character U+0000; nothing was done")
        given = [(row, _ENCODER.encode(row.values).decode()) for row in rows]

        def work(connection: Connection) -> int:
            newest = _newest(connection, ctx.tenant, name, {row.at for row in rows})
            news = []
            for row, values in given:
                identity = (row.key, row.at, row.event)
                held = newest.get(identity)
                if held is None or (versions and held != values):
                    newest[identity] = values
                    news.append(_stored(ctx.tenant, name, row, values))
            if news:
                connection.execute(insert(log), news)
            return len(news)

        return await self._database.write(ctx, work)

    async def read(self, tenant: str, name: str, *, start: int, end: int) -> AsyncIterator[Sequence[Logged]]:
        after = (start, -1)
        while True:
            page = await self._database.read(partial(_page, tenant=tenant, name=name, after=after, end=end))
            if page:
                yield [logged for _, logged in page]
            if len(page) < _PAGE:
                return
            number, last = page[-1]
            after = (last.at, number)

    async def bounds(self, tenant: str, name: str) -> tuple[int, int] | None:
        query = select(func.min(log.c.at), func.max(log.c.at)).where(_of(tenant, name))
        first, last = await self._database.read(lambda connection: connection.execute(query).one())
        return None if first is None else (first, last)

    async def holds(self) -> Sequence[tuple[str, str]]:
        # From one to the next by the index: a log may have millions of rows, and few names.
        found: list[tuple[str, str]] = []
        while (
            following := await self._database.read(partial(_following, found[-1] if found else ("", "")))
        ) is not None:
            found.append(following)
        return found

    async def prune(self, tenant: str, name: str, *, before: int, most: int) -> int:
        work = partial(_pruned, tenant=tenant, name=name, before=before, most=most)
        return await self._database.write(system_context(tenant, task="features-log"), work)

    async def horizon(self, tenant: str, name: str) -> int | None:
        query = select(horizons.c.horizon).where(horizons.c.tenant == tenant, horizons.c.name == name)
        found: int | None = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        return found


def _of(tenant: str, name: str) -> ColumnElement[bool]:
    return and_(log.c.tenant == tenant, log.c.name == name)


def _following(after: tuple[str, str], connection: Connection) -> tuple[str, str] | None:
    query = select(log.c.tenant, log.c.name).where(tuple_(log.c.tenant, log.c.name) > after)
    found = connection.execute(query.order_by(log.c.tenant, log.c.name).limit(1)).one_or_none()
    return None if found is None else (found.tenant, found.name)


def _pruned(connection: Connection, *, tenant: str, name: str, before: int, most: int) -> int:
    first = select(log.c.number).where(_of(tenant, name), log.c.at < before).order_by(log.c.at, log.c.number)
    numbers = connection.execute(first.limit(most)).scalars().all()
    if not numbers:
        return 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    made = dialect.insert(horizons).values(tenant=tenant, name=name, horizon=before)
    later = horizons.c.horizon < made.excluded.horizon
    named = [horizons.c.tenant, horizons.c.name]
    connection.execute(made.on_conflict_do_update(index_elements=named, set_={"horizon": before}, where=later))
    for some in _chunks(numbers):
        connection.execute(delete(log).where(log.c.number.in_(some)))
    return len(numbers)


def _newest(connection: Connection, tenant: str, name: str, moments: Iterable[int]) -> dict[tuple[str, int, str], str]:
    """The values last told of each event at these moments."""
    found: dict[tuple[str, int, str], str] = {}
    for some in _chunks(sorted(moments)):
        query = select(log.c.key, log.c.at, log.c.event, log.c["values"])
        query = query.where(_of(tenant, name), log.c.at.in_(some)).order_by(log.c.number)
        found.update({(key, at, event): values for key, at, event, values in connection.execute(query)})
    return found


def _chunks(moments: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(moments), _CHUNK):
        yield moments[first : first + _CHUNK]


def _page(
    connection: Connection, *, tenant: str, name: str, after: tuple[int, int], end: int
) -> list[tuple[int, Logged]]:
    query = (
        select(log.c.number, log.c.key, log.c.at, log.c.known, log.c.event, log.c["values"])
        .where(_of(tenant, name), tuple_(log.c.at, log.c.number) > after, log.c.at < end)
        .order_by(log.c.at, log.c.number)
        .limit(_PAGE)
    )
    return [
        (number, Logged(key, at, known, event, msgspec.json.decode(values)))
        for number, key, at, known, event, values in connection.execute(query)
    ]


def _stored(tenant: str, name: str, row: Logged, values: str) -> dict[str, object]:
    return {
        "tenant": tenant,
        "name": name,
        "key": row.key,
        "at": row.at,
        "known": row.known,
        "event": row.event,
        "values": values,
    }
