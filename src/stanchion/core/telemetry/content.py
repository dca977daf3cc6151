"""What went into a call and came out of it: kept only where it is switched on, sealed, and for a time of its own.

Nothing else in telemetry holds content, so that rights to see how a system runs are no rights to see its data.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import select

from ..clock import Clock, micros, moment
from ..context import Context, system_context
from ..storage.contract import Database
from .contract import Content, ContentKind, Contents
from .retention import prune
from .tables import content


class Sealer(Protocol):
    """Encrypts for a tenant and a place; what is moved to another place or tenant does not open."""

    async def encrypt(self, tenant: str, place: str, plaintext: bytes) -> bytes:
        """The content sealed."""
        ...

    async def decrypt(self, tenant: str, place: str, sealed: bytes) -> bytes:
        """What was sealed. Raises NotTrustworthy if it was changed or belongs elsewhere."""
        ...


class ContentStore(Contents):
    """Inputs and outputs of single requests."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, *, enabled: bool = False) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self.enabled = enabled

    async def keep(self, ctx: Context, kind: ContentKind, data: bytes) -> None:
        """Store what went in or came out of the Context's request; does nothing unless `enabled`."""
        if not self.enabled:
            return
        row = {
            "tenant": ctx.tenant,
            "request_id": ctx.request_id,
            "kind": kind,
            "at": micros(self._clock.now()),
            "blob": await self._sealer.encrypt(ctx.tenant, _place(ctx.request_id, kind), data),
        }
        task = system_context(ctx.tenant, task="content")
        await self._database.write(task, lambda connection: connection.execute(content.insert().values(row)))

    async def content(self, ctx: Context, request_id: str) -> Sequence[Content]:
        query = select(content).where(content.c.tenant == ctx.tenant, content.c.request_id == request_id)
        rows = await self._database.read(lambda c: c.execute(query.order_by(content.c.id)).all())
        return [
            Content(
                kind=row.kind,
                at=moment(row.at),
                data=await self._sealer.decrypt(ctx.tenant, _place(request_id, row.kind), row.blob),
            )
            for row in rows
        ]

    async def prune(self, older_than: datetime) -> int:
        """Delete what was kept before that moment; how many items went."""
        return await prune(self._database, content, content.c.at, older_than)


def _place(request_id: str, kind: str) -> str:
    return f"content/{request_id}/{kind}"
