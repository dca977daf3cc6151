"""Upstreams that tenants have drained, in the database: for every process that shares it."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from ...core.clock import Clock, micros
from ...core.context import Context
from ...core.errors import Conflict
from ...core.storage import Database
from ..ports import DrainStore
from .tables import drains

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SqlDrains(DrainStore):
    """The table of drains: every change is a row, and the newest one of an upstream holds."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def load(self) -> Set[tuple[str, str]]:
        table = drains.c
        query = select(table.tenant, table.upstream, table.drained).order_by(
            table.tenant, table.upstream, table.version
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        newest = {(tenant, upstream): drained for tenant, upstream, drained in rows}
        return {key for key, drained in newest.items() if drained}

    async def changes(self) -> int:
        query = select(func.count()).select_from(drains)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def put(self, ctx: Context, upstream: str, *, drained: bool) -> None:
        at, by = micros(self._clock.now()), ctx.principal

        def work(connection: Connection) -> None:
            own = (drains.c.tenant == ctx.tenant) & (drains.c.upstream == upstream)
            newest = connection.execute(select(func.max(drains.c.version)).where(own)).scalar_one()
            row = {"tenant": ctx.tenant, "upstream": upstream, "version": (newest or 0) + 1, "drained": drained}
            connection.execute(drains.insert().values(**row, changed_at=at, changed_by=by))

        try:
            await self._database.write(ctx, work)
        except IntegrityError as error:
            raise Conflict(f"the upstream {upstream} was drained by somebody else at this moment") from error
