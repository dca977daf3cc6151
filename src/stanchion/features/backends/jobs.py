"""The state of materialisations in SQL, with a lease: a dead owner's view is free when the lease has run out."""

from __future__ import annotations

from dataclasses import asdict, replace

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ...core.context import Context
from ...core.errors import Conflict
from ...core.storage import Database
from ..ports import Job, Jobs
from .tables import jobs

_FIELDS = ("definition", "reached", "known", "start", "end", "next")


class SqlJobs(Jobs):
    """The states over the feature store's tables, which must have been prepared."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, ctx: Context, view: str, owner: str, now: int, until: int) -> Job | None:
        mine = _of(ctx, view)

        def work(connection: Connection) -> Job | None:
            row = {"tenant": ctx.tenant, "view": view, "definition": "", "owner": "", "expires": 0}
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            connection.execute(dialect.insert(jobs).values(row).on_conflict_do_nothing())
            free = or_(jobs.c.owner == "", jobs.c.owner == owner, jobs.c.expires <= now)
            if connection.execute(update(jobs).where(mine, free).values(owner=owner, expires=until)).rowcount:
                query = select(*(jobs.c[name] for name in _FIELDS)).where(mine)
                found = Job(*connection.execute(query).one())
                return found if found.definition else None
            expires = connection.execute(select(jobs.c.expires).where(mine)).scalar_one()
            raise Conflict(
                f"another run is materialising {view}",
                next_step="Wait until it ends; if it has died, until its lease runs out.",
                retry_after=max(0.0, (expires - now) / 1_000_000),
            )

        # The lease itself is no change that anybody asked for: the audit log tells of partitions.
        return await self._database.write(replace(ctx, effect=None), work)

    async def keep(self, ctx: Context, view: str, owner: str, until: int, job: Job | None = None) -> None:
        values = {"expires": until, **(asdict(job) if job is not None else {})}
        ours = update(jobs).where(_of(ctx, view), jobs.c.owner == owner).values(values)

        def work(connection: Connection) -> None:
            if not connection.execute(ours).rowcount:
                raise Conflict(f"another run has taken over the materialisation of {view}")

        await self._database.write(ctx if job is not None else replace(ctx, effect=None), work)

    async def release(self, ctx: Context, view: str, owner: str) -> None:
        ours = update(jobs).where(_of(ctx, view), jobs.c.owner == owner).values(owner="", expires=0)

        def work(connection: Connection) -> None:
            connection.execute(ours)

        await self._database.write(replace(ctx, effect=None), work)


def _of(ctx: Context, view: str) -> ColumnElement[bool]:
    return and_(jobs.c.tenant == ctx.tenant, jobs.c.view == view)
