"""The flags service: declared flags below, each tenant's stored changes above, audited as they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
)

from ..clock import Clock
from ..context import Context
from ..errors import Conflict, InvalidInput, NotFound
from ..storage import Database, Schema
from ..values import Json
from .contract import Evaluation, Flag, Flags
from .rules import FlagSet

metadata = MetaData()
table = Table(
    "flags",
    metadata,
    Column("tenant", String(200), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("killed", Boolean, nullable=False),
    # None: as declared. A switch thrown in an emergency must not freeze what later releases declare.
    Column("body", LargeBinary),
)
SCHEMA = Schema("flags", metadata)


class FlagService(Flags):
    """Evaluates from memory; only a tenant's first call and changes reach the database.

    Prepare `SCHEMA` first. Call `refresh` now and then to see what other processes changed.
    """

    def __init__(self, *, database: Database, clock: Clock, declared: Sequence[Flag] = ()) -> None:
        self._database = database
        self._clock = clock
        self._declared = FlagSet(declared).check()
        self._tenants: dict[str, FlagSet] = {}
        # One load at a time: an older one that ends later must not undo a newer one.
        self._loading = asyncio.Lock()

    async def evaluate(
        self, ctx: Context, keys: Sequence[str], attributes: Mapping[str, Json] | None = None
    ) -> Sequence[Evaluation]:
        flags = self._tenants.get(ctx.tenant) or await self._load(ctx.tenant)
        given = {"targeting_key": ctx.principal, **(attributes or {})}
        now = self._clock.now()
        return [flags.evaluate(key, given, now=now) for key in keys]

    async def list(self, ctx: Context) -> Sequence[Flag]:
        flags = self._tenants.get(ctx.tenant) or await self._load(ctx.tenant)
        return sorted(flags.flags.values(), key=lambda flag: flag.key)

    async def set(self, ctx: Context, key: str, flag: Flag) -> Flag:
        if flag.key != key:
            raise InvalidInput(f"the flag is {flag.key}, not {key}")

        def work(connection: Connection) -> Flag:
            stored = self._read(connection, ctx.tenant)
            version = stored[key].version if key in stored else 0
            if flag.version != version:
                raise Conflict(f"flag {key} is at version {version}, not {flag.version}")
            wanted = replace(flag, version=version + 1)
            # Checked together, inside the transaction: two changes at once cannot make a circle.
            FlagSet((stored | {key: wanted}).values()).check()
            return _write(connection, ctx, wanted, msgspec.json.encode(wanted))

        return await self._change(ctx, work)

    async def kill(self, ctx: Context, key: str, on: bool) -> Flag:
        def work(connection: Connection) -> Flag:
            flag = self._read(connection, ctx.tenant).get(key)
            if flag is None:
                raise NotFound(f"there is no flag {key}")
            where = (table.c.tenant == ctx.tenant) & (table.c.key == key)
            body = connection.execute(select(table.c.body).where(where)).scalar_one_or_none()
            return _write(connection, ctx, replace(flag, killed=on, version=flag.version + 1), body)

        return await self._change(ctx, work)

    def snapshot(self, tenant: str) -> FlagSet:
        """What is known of the tenant's flags now, for callers that cannot wait; at first the declared ones."""
        return self._tenants.get(tenant, self._declared)

    async def refresh(self) -> None:
        """Read the changes of other processes, for the tenants that have called this one."""
        for tenant in tuple(self._tenants):
            await self._load(tenant)

    async def _change(self, ctx: Context, work: Callable[[Connection], Flag]) -> Flag:
        flag = await self._database.write(ctx, work)
        await self._load(ctx.tenant)
        return flag

    def _read(self, connection: Connection, tenant: str) -> dict[str, Flag]:
        flags = dict(self._declared.flags)
        for row in connection.execute(select(table).where(table.c.tenant == tenant)):
            flag = flags.get(row.key) if row.body is None else msgspec.json.decode(row.body, type=Flag)
            if flag is not None:
                flags[row.key] = replace(flag, version=row.version, killed=row.killed)
        return flags

    async def _load(self, tenant: str) -> FlagSet:
        async with self._loading:
            flags = await self._database.read(lambda connection: self._read(connection, tenant))
            known = self._tenants[tenant] = FlagSet(flags.values())
            return known


def _write(connection: Connection, ctx: Context, flag: Flag, body: bytes | None) -> Flag:
    connection.execute(delete(table).where((table.c.tenant == ctx.tenant) & (table.c.key == flag.key)))
    row = {"tenant": ctx.tenant, "key": flag.key, "version": flag.version, "killed": flag.killed, "body": body}
    connection.execute(insert(table).values(row))
    if ctx.effect is not None:
        ctx.effect.note(flag=flag.key, version=flag.version, killed=flag.killed)
    return flag
