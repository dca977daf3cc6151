"""Routes that were put at run time, in the database: versions are only ever added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.errors import Conflict
from ...core.storage import Database
from ..contract.specs import RouteSpec
from ..ports import RouteStore, StoredRoute
from .tables import routes

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SqlRoutes(RouteStore):
    """The table of routes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def load(self) -> Mapping[tuple[str, str], tuple[int, RouteSpec | None]]:
        table = routes.c
        newest = (
            select(table.tenant, table.name, func.max(table.version).label("version"))
            .group_by(table.tenant, table.name)
            .subquery()
        )
        query = select(table.tenant, table.name, table.version, table.spec).join(
            newest,
            (table.tenant == newest.c.tenant) & (table.name == newest.c.name) & (table.version == newest.c.version),
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {(tenant, name): (version, _spec(text)) for tenant, name, version, text in rows}

    async def changes(self) -> int:
        query = select(func.count()).select_from(routes)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def versions(self, ctx: Context, name: str, *, limit: int, before: int | None) -> Sequence[StoredRoute]:
        table = routes.c
        query = (
            select(table.version, table.spec, table.changed_at, table.changed_by)
            .where(table.tenant == ctx.tenant, table.name == name)
            .order_by(table.version.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(table.version < before)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [StoredRoute(version, _spec(text), moment(at), by) for version, text, at, by in rows]

    async def put(self, ctx: Context, name: str, spec: RouteSpec | None, *, after: int) -> int:
        row = {
            "tenant": ctx.tenant,
            "name": name,
            "version": after + 1,
            "spec": None if spec is None else msgspec.json.encode(spec).decode(),
            "changed_at": micros(self._clock.now()),
            "changed_by": ctx.principal,
        }

        def work(connection: Connection) -> None:
            connection.execute(routes.insert().values(row))

        try:
            await self._database.write(ctx, work)
        except IntegrityError as error:
            raise Conflict(f"the route {name!r} was changed by somebody else at this moment") from error
        return after + 1


def _spec(text: str | None) -> RouteSpec | None:
    return None if text is None else msgspec.json.decode(text, type=RouteSpec)
