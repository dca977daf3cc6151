"""Sessions of the web console: a cookie that stands for a key, for a while, in one browser."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..clock import Clock, micros
from ..context import system_context
from ..errors import NotAllowed
from ..storage.contract import Database
from .contract import Identity
from .keyformat import digest_of, id_of
from .tables import sessions
from .verifier import KeyVerifier, refused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

LASTS_SECONDS = 12 * 3600
"""A session ends this long after its login."""
IDLE_SECONDS = 3600
"""A session ends this long after its last request."""

_SECOND = 1_000_000
_SEEN_NOTED_EVERY = 60 * _SECOND


@dataclass(frozen=True, slots=True)
class Session:
    """`token` belongs in a cookie (Secure, HttpOnly, SameSite=Strict), `csrf` in the page's own requests."""

    token: str = field(repr=False)
    csrf: str = field(repr=False)
    identity: Identity


class Sessions:
    """Sessions in the table `sessions`, each as good as its key: they end when it does. Only an HMAC is kept."""

    def __init__(self, database: Database, *, verifier: KeyVerifier, pepper: bytes, clock: Clock) -> None:
        self._database = database
        self._verifier = verifier
        self._pepper = pepper
        self._clock = clock

    async def login(self, secret: str) -> Session:
        """A new session for the holder of an API key. Raises NotAuthenticated."""
        identity = await self._verifier.verify(secret)
        token = f"ss_{secrets.token_urlsafe(32)}"
        now = micros(self._clock.now())
        row = {
            "tenant": identity.tenant,
            "digest": digest_of(token, self._pepper),
            "key_id": id_of(secret),
            "created_at": now,
            "seen_at": now,
        }

        def work(connection: Connection) -> None:
            ended = (sessions.c.seen_at <= now - IDLE_SECONDS * _SECOND) | (
                sessions.c.created_at <= now - LASTS_SECONDS * _SECOND
            )
            connection.execute(sessions.delete().where(sessions.c.tenant == identity.tenant, ended))
            connection.execute(sessions.insert().values(row))

        await self._database.write(system_context(identity.tenant, task="login"), work)
        return Session(token, self.csrf(token), identity)

    async def identify(self, token: str) -> Identity:
        """Who is logged in under this token. Raises NotAuthenticated."""
        digest = digest_of(token, self._pepper)
        query = sessions.select().where(sessions.c.digest == digest)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        now = micros(self._clock.now())
        if row is None or _ended(row, now):
            raise refused()
        identity = await self._verifier.holder(row.key_id)
        if now - row.seen_at >= _SEEN_NOTED_EVERY:
            seen = sessions.update().where(sessions.c.tenant == row.tenant, sessions.c.digest == digest)
            await self._database.write(
                system_context(row.tenant, task="session"),
                lambda connection: connection.execute(seen.values(seen_at=now)),
            )
        return identity

    async def logout(self, token: str) -> None:
        """End the session; ending an unknown one changes nothing."""
        gone = sessions.delete().where(sessions.c.digest == digest_of(token, self._pepper))
        await self._database.write(system_context("*", task="logout"), lambda connection: connection.execute(gone))

    def csrf(self, token: str) -> str:
        """The value that requests of this session which change something must carry besides the cookie."""
        return digest_of(f"csrf:{token}", self._pepper).hex()

    def check_csrf(self, token: str, presented: str | None) -> None:
        """Return if `presented` is the session's own value. Raises NotAllowed."""
        if not hmac.compare_digest(self.csrf(token).encode(), (presented or "").encode()):
            raise NotAllowed(
                "the request does not carry its session's CSRF token", next_step="Reload the page and try again."
            )


def _ended(row: Row[tuple[object, ...]], now: int) -> bool:
    seen: int = row.seen_at
    created: int = row.created_at
    return seen <= now - IDLE_SECONDS * _SECOND or created <= now - LASTS_SECONDS * _SECOND
