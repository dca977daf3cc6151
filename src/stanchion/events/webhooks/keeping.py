"""The table of webhooks: their declarations, their sealed secrets, and how they do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.errors import NotFound
from ...core.security.vault import Vault
from ...core.storage import Database
from ..contract.hooks import HookSpec, HookView
from .tables import SCHEMA, hooks


class Secret(msgspec.Struct, frozen=True):
    """A secret and the moment until which it holds, in seconds since the epoch; None: until it is replaced."""

    text: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """A row: a tenant's webhook with its secrets, the newest first."""

    tenant: str
    view: HookView
    secrets: tuple[Secret, ...]

    @property
    def spec(self) -> HookSpec:
        """The declaration."""
        return self.view.spec

    def holding(self, now: float) -> list[str]:
        """The secrets that hold at this moment."""
        return [secret.text for secret in self.secrets if secret.until is None or secret.until > now]


_SECRETS = msgspec.json.Decoder(list[Secret])


class HookTable:
    """Reads and writes webhooks. Its table is made with the first use."""

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._lock = asyncio.Lock()
        self._prepared = False

    async def all(self, ctx: Context) -> Sequence[HookView]:
        """The tenant's webhooks, by name."""
        await self.prepare()
        wanted = select(hooks).where(hooks.c.tenant == ctx.tenant).order_by(hooks.c.name)
        return [_view(row) for row in await self._database.read(lambda connection: connection.execute(wanted).all())]

    async def sending(self) -> Sequence[tuple[str, HookView]]:
        """Every tenant's webhooks that send, with their tenants."""
        wanted = select(hooks).where(hooks.c.direction == "out", hooks.c.disabled.is_(False))
        rows = await self._database.read(lambda connection: connection.execute(wanted).all())
        return [(row._mapping["tenant"], _view(row)) for row in rows]

    async def get(self, tenant: str, name: str) -> Hook:
        """One webhook with its secrets. Raises NotFound."""
        await self.prepare()
        wanted = select(hooks).where(hooks.c.tenant == tenant, hooks.c.name == name)
        row = await self._database.read(lambda connection: connection.execute(wanted).first())
        if row is None:
            raise NotFound(f"there is no webhook {name}")
        plain = await self._vault.decrypt(tenant, _place(name), row._mapping["sealed"])
        return Hook(tenant, _view(row), tuple(_SECRETS.decode(plain)))

    async def put(self, ctx: Context, spec: HookSpec, secrets: Sequence[Secret], *, consumer: str) -> HookView:
        """Make or replace a webhook; it is active and has not failed."""
        await self.prepare()
        sealed = await self._vault.encrypt(ctx.tenant, _place(spec.name), msgspec.json.encode(list(secrets)))
        now = self._clock.now()
        row: dict[str, Any] = {
            "tenant": ctx.tenant,
            "name": spec.name,
            "direction": spec.direction,
            "consumer": consumer,
            "spec": msgspec.json.encode(spec).decode(),
            "sealed": sealed,
            "disabled": False,
            "failures": 0,
            "last_error": "",
            "changed_at": micros(now),
            "changed_by": ctx.principal,
        }

        def work(connection: Connection) -> None:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            changed = {name: value for name, value in row.items() if name not in ("tenant", "name")}
            statement = dialect.insert(hooks).values({**row, "last_done": None})
            connection.execute(statement.on_conflict_do_update(index_elements=["tenant", "name"], set_=changed))

        await self._database.write(ctx, work)
        return HookView(spec, consumer, "active", 0, "", None, now, ctx.principal)

    async def drop(self, ctx: Context, name: str) -> None:
        """Remove a webhook. Raises NotFound."""
        await self.prepare()
        statement = delete(hooks).where(hooks.c.tenant == ctx.tenant, hooks.c.name == name)
        if not await self._database.write(ctx, lambda connection: connection.execute(statement).rowcount):
            raise NotFound(f"there is no webhook {name}")

    async def done(self, ctx: Context, name: str) -> None:
        """Note that it works."""
        await self._note(ctx, name, failures=0, last_error="", last_done=micros(self._clock.now()))

    async def failed(self, ctx: Context, view: HookView, error: str, *, most: int, gone: bool) -> HookView:
        """Note a failure, and disable the webhook at the last one that is borne; as it stands now."""
        failures = view.failures + 1
        disabled = gone or failures >= most
        await self._note(ctx, view.spec.name, failures=failures, last_error=error[:500], disabled=disabled)
        return replace(view, failures=failures, last_error=error[:500], state="disabled" if disabled else "active")

    async def _note(self, ctx: Context, name: str, **values: object) -> None:
        statement = update(hooks).where(hooks.c.tenant == ctx.tenant, hooks.c.name == name).values(values)
        await self._database.write(ctx, lambda connection: connection.execute(statement))

    async def prepare(self) -> None:
        """Make the table, once."""
        async with self._lock:
            if not self._prepared:
                await self._database.prepare(SCHEMA)
                self._prepared = True


def _view(row: Row[Any]) -> HookView:
    of = row._mapping
    done = of["last_done"]
    return HookView(
        msgspec.json.decode(of["spec"], type=HookSpec),
        of["consumer"],
        "disabled" if of["disabled"] else "active",
        of["failures"],
        of["last_error"],
        None if done is None else moment(done),
        moment(of["changed_at"]),
        of["changed_by"],
    )


def _place(name: str) -> str:
    return f"events/hooks/{name}"
