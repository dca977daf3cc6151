"""Tokens for what must not leave: the same value of a tenant is always the same token, and only that tenant's calls
turn it back."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from ...core.clock import Clock, micros
from ...core.context import Context, system_context
from ...core.security.vault import Vault
from ...core.storage import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OWN = "secret"  # the name of a row, which no token can have
_DIGITS = 12
TOKEN = re.compile(rf"[A-Z][A-Z0-9_]{{0,30}}_[0-9A-F]{{{_DIGITS}}}(?![0-9A-Za-z])")
PREFIX = re.compile(r"[A-Z][A-Z0-9_]{0,43}\Z")
_REMEMBERED = 50_000


def token_of(secret: bytes, kind: str, value: str) -> str:
    """The token of a value: its kind in capitals and 48 bits of a keyed digest, such as `EMAIL_0A1B2C3D4E5F`."""
    digest = hmac.digest(secret, f"{kind}\0{value}".encode(), "sha256")
    return f"{kind.upper()}_{digest[: _DIGITS // 2].hex().upper()}"


@dataclass(slots=True)
class _Tenant:
    secret: bytes
    stored: dict[str, str] = field(default_factory=dict)


class Tokens:
    """Keeps what tokens stand for, sealed under the tenant's own key."""

    def __init__(self, database: Database, vault: Vault, table: Table, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._table = table
        self._clock = clock
        self._tenants: dict[str, _Tenant] = {}
        self._turn = asyncio.Lock()

    async def secret(self, tenant: str) -> bytes:
        """What the tenant's tokens are made with; drawn at the first use."""
        return (await self._tenant(tenant)).secret

    async def keep(self, tenant: str, meanings: Mapping[str, str]) -> None:
        """Store what tokens stand for; returns once it is durable."""
        known = (await self._tenant(tenant)).stored
        fresh = {token: value for token, value in meanings.items() if token not in known}
        if not fresh:
            return
        at = micros(self._clock.now())
        rows = [
            {"tenant": tenant, "token": token, "sealed": await self._sealed(tenant, token, value.encode()), "at": at}
            for token, value in fresh.items()
        ]
        await self._database.write(_worker(tenant), lambda connection: self._insert(connection, rows))
        if len(known) > _REMEMBERED:
            known.clear()
        known.update(fresh)

    async def meanings(self, ctx: Context, tokens: Iterable[str]) -> Mapping[str, str]:
        """What those of the tokens stand for that are this tenant's; others are left out."""
        known = (await self._tenant(ctx.tenant)).stored
        wanted = set(tokens)
        found = {token: known[token] for token in wanted if token in known}
        if missing := sorted(wanted - set(found)):
            for token, sealed in await self._read(ctx.tenant, missing):
                plain = await self._vault.decrypt(ctx.tenant, _place(token), sealed)
                found[token] = known[token] = plain.decode()
        return found

    async def _tenant(self, tenant: str) -> _Tenant:
        known = self._tenants.get(tenant)
        if known is not None:
            return known
        async with self._turn:
            if tenant not in self._tenants:
                self._tenants[tenant] = _Tenant(await self._drawn(tenant))
            return self._tenants[tenant]

    async def _drawn(self, tenant: str) -> bytes:
        """The stored secret. Two processes may draw at once: the row that came first holds for both."""
        rows = await self._read(tenant, [_OWN])
        if not rows:
            sealed = await self._sealed(tenant, _OWN, os.urandom(32))
            row = {"tenant": tenant, "token": _OWN, "sealed": sealed, "at": micros(self._clock.now())}
            await self._database.write(_worker(tenant), lambda connection: self._insert(connection, [row]))
            rows = await self._read(tenant, [_OWN])
        return await self._vault.decrypt(tenant, _place(_OWN), rows[0][1])

    async def _sealed(self, tenant: str, token: str, value: bytes) -> bytes:
        return await self._vault.encrypt(tenant, _place(token), value)

    async def _read(self, tenant: str, tokens: Sequence[str]) -> list[tuple[str, bytes]]:
        table = self._table
        wanted = select(table.c.token, table.c.sealed).where(table.c.tenant == tenant, table.c.token.in_(tokens))
        return await self._database.read(lambda connection: [(r[0], r[1]) for r in connection.execute(wanted)])

    def _insert(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(self._table).on_conflict_do_nothing(), list(rows))


def _place(token: str) -> str:
    return f"gateway/tokens/{token}"


def _worker(tenant: str) -> Context:
    return system_context(tenant, task="gateway-tokens")
