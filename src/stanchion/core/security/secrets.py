"""Secrets by reference: settings and declarations name where a secret lies, and only this file fetches it."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, assert_never, get_args

from sqlalchemy import select

from ..clock import Clock, micros
from ..context import Context
from ..errors import Misconfigured
from ..storage.contract import Database
from .keyfile import read_private
from .tables import stored_secrets
from .vault import Vault

if TYPE_CHECKING:
    from sqlalchemy import Connection

Kind = Literal["env", "file", "store"]
_KNOWN: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
EVERYWHERE: frozenset[Kind] = frozenset(("env", "file", "store"))
OWN: frozenset[Kind] = frozenset(("store",))
"""What a reference that a tenant wrote may name: its own stored secrets, never the process's environment or files."""


class Secret:
    """A value that no text, log or pickle shows; `reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Use it at once and keep it nowhere."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(Secret)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret does not leave the process")


class SecretSource:
    """Fetches `env:NAME`, `file:/path` and `store:name`; the last are kept in the table `secrets`, sealed."""

    def __init__(self, database: Database, vault: Vault, *, environment: Mapping[str, str], clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._environment = environment
        self._clock = clock

    async def resolve(self, reference: str, *, tenant: str, kinds: frozenset[Kind] = EVERYWHERE) -> Secret:
        """The secret behind a reference, read anew each time. Pass `OWN` where a tenant wrote the reference.

        Raises Misconfigured, which names the reference and never the value.
        """
        kind, _, place = reference.partition(":")
        known = _KNOWN.get(kind)
        value = await self._read(known, place, tenant) if known in kinds and place else None
        if value is None:
            raise Misconfigured(
                f"the secret reference {reference!r} gives nothing",
                next_step=f"Set it, or use one of {', '.join(sorted(f'{k}:...' for k in kinds))}.",
            )
        return Secret(value)

    async def put(self, ctx: Context, name: str, secret: Secret) -> None:
        """Keep a secret of the caller's tenant as `store:name`, in place of an earlier one."""
        sealed = await self._vault.encrypt(ctx.tenant, f"secrets/{name}", secret.reveal().encode())
        row = {"tenant": ctx.tenant, "name": name, "sealed": sealed, "changed_at": micros(self._clock.now())}

        def work(connection: Connection) -> None:
            table = stored_secrets.c
            connection.execute(stored_secrets.delete().where(table.tenant == ctx.tenant, table.name == name))
            connection.execute(stored_secrets.insert().values(row))

        await self._database.write(ctx, work)

    async def _read(self, kind: Kind, place: str, tenant: str) -> str | None:
        match kind:
            case "env":
                return self._environment.get(place) or None
            case "file":
                content = await asyncio.to_thread(read_private, Path(place))
                return None if content is None else content.decode().rstrip("\r\n")
            case "store":
                return await self._stored(place, tenant)
            case _:
                assert_never(kind)

    async def _stored(self, name: str, tenant: str) -> str | None:
        query = select(stored_secrets.c.sealed).where(stored_secrets.c.tenant == tenant, stored_secrets.c.name == name)
        sealed = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        return None if sealed is None else (await self._vault.decrypt(tenant, f"secrets/{name}", sealed)).decode()
