"""Envelope encryption: each tenant's data under its own key, and that key under a master key from outside.

AES-256-GCM throughout (NIST SP 800-38D). What is sealed is bound to its tenant and its place, so a row moved to another
place or tenant does not open. Nonces are random: one data key seals at most 2^32 messages, so rotate long before.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from ..clock import Clock, micros
from ..context import Context, system_context
from ..errors import Conflict, Misconfigured, NotFound, NotTrustworthy
from ..storage.contract import Database
from .tables import data_keys

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FORMAT = 1
_HEAD = struct.Struct(">BI")
_NONCE = 12
_FRESH_SECONDS = 60.0
_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """Key-encryption keys by name, 32 bytes each; new data keys are wrapped under `current`."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.current not in self.keys or any(len(key) != 32 for key in self.keys.values()):
            raise Misconfigured("a master key is missing or is not 32 bytes long")

    @classmethod
    def single(cls, material: bytes, *former: bytes) -> MasterKeys:
        """Master keys derived from secrets of 32 bytes or more; `former` still open what they wrapped.

        Raises Misconfigured if one is shorter.
        """
        if any(len(secret) < 32 for secret in (material, *former)):
            raise Misconfigured("a master key needs at least 32 bytes", next_step="Make one with `openssl rand 32`.")
        derived = [hmac.digest(secret, b"stanchion master key", "sha256") for secret in (material, *former)]
        names = [hmac.digest(key, b"stanchion master key name", "sha256").hex()[:16] for key in derived]
        return cls(names[0], dict(zip(names, derived, strict=True)))


class _DataKey(NamedTuple):
    version: int
    key: bytes


class _Row(NamedTuple):
    version: int
    master: str
    wrapped: bytes


@dataclass(slots=True)
class _Ring:
    """A tenant's data keys as last read; the newest seals."""

    until: float
    newest: int
    keys: dict[int, bytes | None]


class Vault:
    """Seals and opens. Data keys are remembered for a minute: so long may another process miss a change to them."""

    def __init__(self, database: Database, masters: MasterKeys, *, clock: Clock) -> None:
        self._database = database
        self._masters = masters
        self._clock = clock
        self._rings: dict[str, _Ring] = {}

    async def encrypt(self, tenant: str, place: str, plaintext: bytes) -> bytes:
        """The content sealed for one place, such as `content/<row id>`: 33 bytes longer than it was.

        The tenant's first data key is made at the first use.
        """
        version, key = await self._newest(tenant)
        head = _HEAD.pack(_FORMAT, version)
        return head + _seal(key, plaintext, _bound("data", tenant, place, head))

    async def decrypt(self, tenant: str, place: str, sealed: bytes) -> bytes:
        """What was sealed for this tenant and place.

        Raises NotTrustworthy if it was changed or belongs elsewhere, NotFound if its key was destroyed.
        """
        if len(sealed) < _HEAD.size or sealed[0] != _FORMAT:
            raise NotTrustworthy("a sealed item is not in a known format")
        head = sealed[: _HEAD.size]
        version: int = _HEAD.unpack(head)[1]
        ring = await self._ring(tenant)
        if version not in ring.keys:
            # Made by another process since, or for another tenant.
            ring = await self._load(tenant)
        if version not in ring.keys:
            raise NotTrustworthy("a sealed item names a key that its tenant never had")
        key = ring.keys[version]
        if key is None:
            raise NotFound("the key of this item has been destroyed")
        return _open(key, sealed[_HEAD.size :], _bound("data", tenant, place, head))

    async def rotate(self, ctx: Context, *, tenant: str) -> int:
        """Seal with a new data key from now on; its version. What earlier keys sealed still opens."""
        key = os.urandom(32)
        version = await self._database.write(ctx, self._insert(tenant, key, always=True))
        self._rings.pop(tenant, None)
        return version

    async def rewrap(self, ctx: Context) -> int:
        """Wrap every data key under the current master key; how many were not. Sealed data stays as it is."""
        current = self._masters.current

        def work(connection: Connection) -> int:
            table = data_keys.c
            stale = connection.execute(data_keys.select().where(table.master != current, table.wrapped != b"")).all()
            for row in stale:
                key = self._unwrap(row.tenant, _Row(row.version, row.master, row.wrapped))
                connection.execute(
                    data_keys.update()
                    .where(table.tenant == row.tenant, table.version == row.version, table.wrapped == row.wrapped)
                    .values(master=current, wrapped=self._wrap(row.tenant, row.version, key))
                )
            return len(stale)

        return await self._database.write(ctx, work)

    async def forget(self, ctx: Context, *, tenant: str) -> int:
        """Destroy the tenant's data keys, and with them all that they sealed; how many there were.

        Copies of the database from before still hold the wrapped keys: destroy those, or the master key.
        """

        def work(connection: Connection) -> int:
            where = (data_keys.c.tenant == tenant, data_keys.c.wrapped != b"")
            return connection.execute(data_keys.update().where(*where).values(wrapped=b"")).rowcount

        count = await self._database.write(ctx, work)
        self._rings.pop(tenant, None)
        return count

    async def _newest(self, tenant: str) -> _DataKey:
        ring = await self._ring(tenant)
        key = ring.keys.get(ring.newest)
        if key is None:
            ctx = system_context(tenant, task="data-key")
            # On a conflict another process was first: its key is the one to use.
            with contextlib.suppress(Conflict):
                await self._database.write(ctx, self._insert(tenant, os.urandom(32), always=False))
            ring = await self._load(tenant)
            key = ring.keys.get(ring.newest)
        if key is None:
            raise Conflict("the tenant's keys were destroyed meanwhile")
        return _DataKey(ring.newest, key)

    async def _ring(self, tenant: str) -> _Ring:
        ring = self._rings.get(tenant)
        return ring if ring is not None and ring.until > self._clock.monotonic() else await self._load(tenant)

    async def _load(self, tenant: str) -> _Ring:
        until = self._clock.monotonic() + _FRESH_SECONDS
        rows = await self._database.read(lambda connection: _rows(connection, tenant))
        keys = {row.version: self._unwrap(tenant, row) if row.wrapped else None for row in rows}
        ring = _Ring(until, max(keys, default=0), keys)
        if len(self._rings) >= _REMEMBERED:
            self._rings.clear()
        if rows:
            self._rings[tenant] = ring
        return ring

    def _insert(self, tenant: str, key: bytes, *, always: bool) -> Callable[[Connection], int]:
        """Store a data key under the next version; unless `always`, only where there is none to seal with."""
        now = micros(self._clock.now())

        def work(connection: Connection) -> int:
            from sqlalchemy.exc import IntegrityError

            rows = _rows(connection, tenant)
            if rows and rows[-1].wrapped and not always:
                return rows[-1].version
            version = rows[-1].version + 1 if rows else 1
            row = {
                "tenant": tenant,
                "version": version,
                "master": self._masters.current,
                "wrapped": self._wrap(tenant, version, key),
                "created_at": now,
            }
            try:
                connection.execute(data_keys.insert().values(row))
            except IntegrityError as error:
                raise Conflict("the tenant's data key was changed by another process") from error
            return version

        return work

    def _wrap(self, tenant: str, version: int, key: bytes) -> bytes:
        master = self._masters.keys[self._masters.current]
        return _seal(master, key, _bound("key", tenant, str(version), b""))

    def _unwrap(self, tenant: str, row: _Row) -> bytes:
        master = self._masters.keys.get(row.master)
        if master is None:
            raise Misconfigured(
                f"data is sealed under the master key {row.master}, which is not configured",
                next_step="Configure the former master key besides the new one until `rewrap` has run.",
            )
        return _open(master, row.wrapped, _bound("key", tenant, str(row.version), b""))


def _rows(connection: Connection, tenant: str) -> list[_Row]:
    table = data_keys.c
    query = select(table.version, table.master, table.wrapped).where(table.tenant == tenant).order_by(table.version)
    return [_Row(*row) for row in connection.execute(query)]


def _bound(kind: str, tenant: str, place: str, head: bytes) -> bytes:
    """The associated data; lengths before the parts, so that no two triples share an encoding."""
    parts = (kind.encode(), tenant.encode(), place.encode(), head)
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _seal(key: bytes, plaintext: bytes, bound: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound)


def _open(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
    except (InvalidTag, ValueError) as error:
        raise NotTrustworthy("a sealed item was changed, or belongs to another place or tenant") from error
