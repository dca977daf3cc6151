"""Who holds an API key, decided at the rate of requests without asking the database at that rate."""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

from ..clock import Clock, micros, moment
from ..context import Rights, system_context
from ..errors import NotAuthenticated
from ..storage.contract import Database
from .contract import Identity
from .keyformat import ID_PLACE, digest_of, id_of
from .tables import api_keys

if TYPE_CHECKING:
    from sqlalchemy import Connection

FRESH_SECONDS = 2.0
"""How long a revocation by another process may go unnoticed."""

_USE_NOTED_EVERY = 60 * 1_000_000
_REMEMBERED = 20_000
_BATCH = 500


@dataclass(frozen=True, slots=True)
class _Holder:
    digest: bytes
    identity: Identity
    expires_at: int | None
    revoked: bool
    last_used_at: int


@dataclass(slots=True)
class _Entry:
    """A remembered row. `mark` is set once a key was found genuine: the same key is then known by it."""

    holder: _Holder | None
    until: float
    mark: bytes = b""


class KeyVerifier:
    """Checks presented keys against `api_keys`.

    Rows are remembered for `FRESH_SECONDS` by their public id, absent ones in a memory of their own, so that a flood
    of invented ids cannot push real keys out. Whatever the number of callers, one look-up runs at a time and serves
    all that wait (up to 500 ids): a flood costs a bounded number of queries.
    """

    def __init__(self, database: Database, *, pepper: bytes, clock: Clock) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._present: dict[str, _Entry] = {}
        self._absent: dict[str, _Entry] = {}
        self._wanted: set[str] = set()
        self._loading = asyncio.Lock()
        self._forgotten = 0
        self._used: dict[tuple[str, str], int] = {}
        # What marks are made with: of this process alone, so that a mark says nothing outside of it.
        self._marking = os.urandom(32)

    async def verify(self, secret: str) -> Identity:
        """The identity `key:ID` behind a key. Raises NotAuthenticated, in the same words whatever is wrong."""
        mark = blake2b(secret.encode("utf-8", "surrogatepass"), key=self._marking, digest_size=32).digest()
        entry = self._remembered(secret[ID_PLACE])
        if entry is not None and entry.holder is not None and hmac.compare_digest(mark, entry.mark):
            return self._live(entry.holder)
        key_id = id_of(secret)
        if key_id is None:
            raise refused()
        entry = await self._entry(key_id)
        holder = entry.holder
        presented = digest_of(secret, self._pepper)
        # Compared even where there is no such key: an unknown id takes as long as a forged secret.
        genuine = hmac.compare_digest(presented, holder.digest if holder is not None else bytes(32))
        if holder is None or not genuine:
            raise refused()
        identity = self._live(holder)
        self._note(key_id, holder)
        # OpenSSL's HMAC, the shape and the checksum cost seven times the mark; an entry lives FRESH_SECONDS.
        entry.mark = mark
        return identity

    async def holder(self, key_id: str) -> Identity:
        """The identity of a key whose secret was verified before. Raises NotAuthenticated if it has ended since."""
        holder = (await self._entry(key_id)).holder
        if holder is None:
            raise refused()
        identity = self._live(holder)
        self._note(key_id, holder)
        return identity

    def forget(self, key_id: str) -> None:
        """Look the key up anew at its next use: it has just been changed by this process."""
        self._forgotten += 1
        self._present.pop(key_id, None)
        self._absent.pop(key_id, None)

    async def flush(self) -> None:
        """Store when keys were last used: at most one write a minute for each. Call it every minute and at the end."""
        used, self._used = self._used, {}
        if used:
            await self._database.write(system_context("*", task="key-use"), _write_use(used))

    def _live(self, holder: _Holder) -> Identity:
        if holder.revoked or (holder.expires_at is not None and holder.expires_at <= micros(self._clock.now())):
            raise refused()
        return holder.identity

    def _note(self, key_id: str, holder: _Holder) -> None:
        now = micros(self._clock.now())
        if now - holder.last_used_at >= _USE_NOTED_EVERY:
            self._used[holder.identity.tenant, key_id] = now

    async def _entry(self, key_id: str) -> _Entry:
        entry = self._remembered(key_id)
        if entry is not None:
            return entry
        self._wanted.add(key_id)
        async with self._loading:
            entry = self._remembered(key_id)
            if entry is None:
                await self._load([key_id, *islice(self._wanted - {key_id}, _BATCH - 1)])
                entry = self._present.get(key_id) or self._absent[key_id]
        return entry

    def _remembered(self, key_id: str) -> _Entry | None:
        entry = self._present.get(key_id) or self._absent.get(key_id)
        return entry if entry is not None and entry.until > self._clock.monotonic() else None

    async def _load(self, ids: list[str]) -> None:
        while True:
            changes = self._forgotten
            asked = self._clock.monotonic()
            found = await self._database.read(_read_holders(ids))
            if changes == self._forgotten:
                break
            # A key was changed while the snapshot was read, which may still show it as it was.
        for key_id in ids:
            holder = found.get(key_id)
            memory, other = (self._absent, self._present) if holder is None else (self._present, self._absent)
            other.pop(key_id, None)
            memory.pop(key_id, None)
            while len(memory) >= _REMEMBERED:
                del memory[next(iter(memory))]
            memory[key_id] = _Entry(holder, asked + FRESH_SECONDS)
        self._wanted.difference_update(ids)


def refused() -> NotAuthenticated:
    """The one answer to every credential that is not good."""
    return NotAuthenticated("the credential is unknown, expired, revoked or malformed")


def _read_holders(ids: Iterable[str]) -> Callable[[Connection], dict[str, _Holder]]:
    def work(connection: Connection) -> dict[str, _Holder]:
        rows = connection.execute(api_keys.select().where(api_keys.c.id.in_(list(ids))))
        return {
            row.id: _Holder(
                digest=row.digest,
                identity=Identity(
                    tenant=row.tenant,
                    principal=f"key:{row.id}",
                    rights=Rights(frozenset(row.roles.split()), frozenset(row.scopes.split())),
                    expires=None if row.expires_at is None else moment(row.expires_at),
                ),
                expires_at=row.expires_at,
                revoked=row.revoked_at is not None,
                last_used_at=row.last_used_at or 0,
            )
            for row in rows
        }

    return work


def _write_use(used: dict[tuple[str, str], int]) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        for (tenant, key_id), at in sorted(used.items()):
            earlier = api_keys.c.last_used_at
            connection.execute(
                api_keys.update()
                .where(api_keys.c.tenant == tenant, api_keys.c.id == key_id)
                .where(earlier.is_(None) | (earlier <= at - _USE_NOTED_EVERY))
                .values(last_used_at=at)
            )

    return work
