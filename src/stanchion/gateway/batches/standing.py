"""What is left of the rights that a batch was ordered with: its key may have ended since."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...core.clock import Clock, micros
from ...core.context import Context
from ...core.errors import NotAuthenticated
from ...core.security.tables import api_keys
from ...core.storage import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

_KEY = "key:"


class Standing:
    """Looks up keys. Who is no key of this house (a person's token, a service) keeps the rights of the order."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def of(self, ctx: Context) -> Context:
        """The same call with the rights that its key still has. Raises NotAuthenticated for a key that has ended."""
        if not ctx.principal.startswith(_KEY):
            return ctx
        key, name = api_keys.c, ctx.principal.removeprefix(_KEY)

        def work(connection: Connection) -> tuple[str, str, bool] | None:
            query = api_keys.select().where(key.tenant == ctx.tenant, key.id == name)
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            over = row.expires_at is not None and row.expires_at <= micros(self._clock.now())
            return row.roles, row.scopes, over or row.revoked_at is not None

        found = await self._database.read(work)
        if found is None:
            # Keys are never removed, so it is one of another process that has a database of its own.
            return ctx
        roles, scopes, ended = found
        if ended:
            raise NotAuthenticated(
                "the key that ordered this batch was revoked or has expired",
                next_step="Order the lines that are left with a key that holds.",
            )
        rights = ctx.rights
        left = replace(rights, roles=rights.roles & set(roles.split()), scopes=rights.scopes & set(scopes.split()))
        return ctx if left == rights else replace(ctx, rights=left)
