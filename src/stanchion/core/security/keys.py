"""The API keys of a tenant: made, listed, rotated, revoked. Only the key's HMAC is kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..clock import Clock, micros, moment
from ..context import Context, Rights
from ..errors import Conflict, FieldProblem, InvalidInput, NotAllowed, NotFound
from ..storage.contract import Database
from .contract import KeyInfo, Keys, NewKey
from .keyformat import digest_of, new_key
from .roles import SYSTEM_ROLE, lacking
from .tables import api_keys
from .verifier import KeyVerifier

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_SCOPE = re.compile(r"\*|[a-z][a-z0-9_]{0,63}:(\*|[a-z][a-z0-9_]{0,63})")
_MOST_RIGHTS = 100
_MOST_DAYS = 3650.0
_MOST_OVERLAP = 30 * 86_400.0


class KeyService(Keys):
    """Keys in the table `api_keys`. Changes made here take effect in `verifier` at once."""

    def __init__(self, database: Database, *, verifier: KeyVerifier, pepper: bytes, clock: Clock) -> None:
        self._database = database
        self._verifier = verifier
        self._pepper = pepper
        self._clock = clock

    async def create(
        self,
        ctx: Context,
        *,
        name: str,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        ttl_days: float | None = None,
    ) -> NewKey:
        wanted = _rights(roles, scopes)
        _may_give(ctx, wanted)
        return await self.mint(ctx, tenant=ctx.tenant, name=name, roles=roles, scopes=scopes, ttl_days=ttl_days)

    async def mint(
        self,
        ctx: Context,
        *,
        tenant: str,
        name: str,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        ttl_days: float | None = None,
    ) -> NewKey:
        """A key for any tenant with any rights: for the command line and the first start, never behind a route.

        Raises InvalidInput.
        """
        rights = _rights(roles, scopes)
        _check_terms(name, ttl_days)
        now = self._clock.now()
        expires = None if ttl_days is None else now + timedelta(days=ttl_days)
        fresh = new_key()
        info = KeyInfo(fresh.id, tenant, name, rights, now, ctx.principal, expires)
        return await self._store(ctx, NewKey(info, fresh.secret))

    async def list(self, ctx: Context, *, after: str = "", limit: int = 100) -> Sequence[KeyInfo]:
        if not 1 <= limit <= 100:
            raise InvalidInput("limit is from 1 to 100", fields=[FieldProblem("$.limit", "is from 1 to 100")])

        def work(connection: Connection) -> list[KeyInfo]:
            query = api_keys.select().where(api_keys.c.tenant == ctx.tenant, api_keys.c.id > after)
            return [_info(row) for row in connection.execute(query.order_by(api_keys.c.id).limit(limit))]

        return await self._database.read(work)

    async def rotate(self, ctx: Context, key_id: str, *, overlap_seconds: float = 86_400) -> NewKey:
        if not 0 <= overlap_seconds <= _MOST_OVERLAP:
            raise InvalidInput(
                "the overlap is too long or negative",
                fields=[FieldProblem("$.overlap_seconds", f"is from 0 to {_MOST_OVERLAP:.0f}")],
            )
        old = await self._database.read(lambda connection: _info(_find(connection, ctx.tenant, key_id)))
        # The successor's secret goes to the caller, so the caller must be able to give these rights.
        _may_give(ctx, old.rights)
        now = self._clock.now()
        expires = None if old.expires_at is None else now + (old.expires_at - old.created_at)
        ends = now + timedelta(seconds=overlap_seconds)
        fresh = new_key()
        info = KeyInfo(fresh.id, old.tenant, old.name, old.rights, now, ctx.principal, expires)
        made = await self._store(ctx, NewKey(info, fresh.secret), replacing=_retire(old, fresh.id, now, ends))
        self._verifier.forget(key_id)
        return made

    async def revoke(self, ctx: Context, key_id: str) -> KeyInfo:
        now = micros(self._clock.now())

        def work(connection: Connection) -> KeyInfo:
            where = (api_keys.c.tenant == ctx.tenant, api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            connection.execute(api_keys.update().where(*where).values(revoked_at=now))
            return _info(_find(connection, ctx.tenant, key_id))

        try:
            return await self._database.write(ctx, work)
        finally:
            # Also where the caller was cancelled: the write may have begun.
            self._verifier.forget(key_id)

    async def _store(
        self, ctx: Context, made: NewKey, *, replacing: Callable[[Connection], None] | None = None
    ) -> NewKey:
        info = made.info
        roles, scopes = " ".join(sorted(info.rights.roles)), " ".join(sorted(info.rights.scopes))
        row = {
            "tenant": info.tenant,
            "id": info.id,
            "name": info.name,
            "digest": digest_of(made.secret, self._pepper),
            "roles": roles,
            "scopes": scopes,
            "created_at": micros(info.created_at),
            "created_by": info.created_by,
            "expires_at": None if info.expires_at is None else micros(info.expires_at),
        }

        def work(connection: Connection) -> None:
            connection.execute(api_keys.insert().values(row))
            if replacing is not None:
                replacing(connection)

        if ctx.effect is not None:
            ctx.effect.note(key_id=info.id, name=info.name, roles=roles, scopes=scopes)
        await self._database.write(ctx, work)
        self._verifier.forget(info.id)
        return made


def _retire(old: KeyInfo, successor: str, now: datetime, ends: datetime) -> Callable[[Connection], None]:
    """End the old key when the overlap does, unless somebody has ended or replaced it first."""
    ends = ends if old.expires_at is None else min(ends, old.expires_at)
    key = api_keys.c

    def work(connection: Connection) -> None:
        changed = connection.execute(
            api_keys.update()
            .where(key.tenant == old.tenant, key.id == old.id, key.revoked_at.is_(None), key.replaced_by.is_(None))
            .where(key.expires_at.is_(None) | (key.expires_at > micros(now)))
            .values(expires_at=micros(ends), replaced_by=successor)
        )
        if changed.rowcount == 0:
            raise Conflict(f"the key {old.id} is revoked, expired or already replaced")

    return work


def _find(connection: Connection, tenant: str, key_id: str) -> Row[tuple[object, ...]]:
    query = api_keys.select().where(api_keys.c.tenant == tenant, api_keys.c.id == key_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("there is no such key")
    return row


def _info(row: Row[tuple[object, ...]]) -> KeyInfo:
    def at(stored: int | None) -> datetime | None:
        return None if stored is None else moment(stored)

    return KeyInfo(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        rights=Rights(frozenset(row.roles.split()), frozenset(row.scopes.split())),
        created_at=moment(row.created_at),
        created_by=row.created_by,
        expires_at=at(row.expires_at),
        revoked_at=at(row.revoked_at),
        replaced_by=row.replaced_by,
        last_used_at=at(row.last_used_at),
    )


def _rights(roles: Sequence[str], scopes: Sequence[str]) -> Rights:
    faults = [FieldProblem(f"$.roles[{i}]", "is no role name") for i, r in enumerate(roles) if not _ROLE.fullmatch(r)]
    faults += [
        FieldProblem(f"$.scopes[{i}]", "is not `*`, `module:*` or `module:verb`")
        for i, scope in enumerate(scopes)
        if not _SCOPE.fullmatch(scope)
    ]
    if SYSTEM_ROLE in roles:
        faults.append(FieldProblem("$.roles", f"{SYSTEM_ROLE} is for internal work only"))
    if not 1 <= len(roles) + len(scopes) <= _MOST_RIGHTS:
        faults.append(FieldProblem("$.scopes", f"a key has 1 to {_MOST_RIGHTS} roles and scopes"))
    if faults:
        raise InvalidInput("the rights of a key are not valid", fields=faults)
    return Rights(frozenset(roles), frozenset(scopes))


def _check_terms(name: str, ttl_days: float | None) -> None:
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidInput("a key needs a name", fields=[FieldProblem("$.name", "has 1 to 100 printable characters")])
    if ttl_days is not None and not (math.isfinite(ttl_days) and 0 < ttl_days <= _MOST_DAYS):
        raise InvalidInput(
            "the lifetime is not valid",
            fields=[FieldProblem("$.ttl_days", f"is more than 0 and at most {_MOST_DAYS:.0f}")],
        )


def _may_give(ctx: Context, wanted: Rights) -> None:
    missing = lacking(ctx.rights, wanted)
    if missing:
        raise NotAllowed(f"{ctx.principal} cannot give rights it does not hold: {', '.join(missing)}")
