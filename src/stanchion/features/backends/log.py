"""The log of pushed rows in SQL: what serving was told, kept for training sets with the moment it was told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, tuple_

from ...core.context import Context
from ...core.errors import InvalidInput
from ...core.storage import Database
from ..ports import Log, Logged
from .tables import log

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


def _of(tenant: str, name: str) -> ColumnElement[bool]:
    return and_(log.c.tenant == tenant, log.c.name == name)


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
