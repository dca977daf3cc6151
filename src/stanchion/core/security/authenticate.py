"""Every way to prove who one is, behind one door: an API key, a token of an identity provider, a TLS peer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..errors import NotAuthenticated
from .contract import Authenticator, Identity
from .sessions import Sessions
from .verifier import KeyVerifier, refused

_LONGEST = 8192


class Tokens(Protocol):
    """Verifies bearer tokens of identity providers."""

    async def verify(self, token: str) -> Identity:
        """Who the token says the caller is. Raises NotAuthenticated."""
        ...


class Doorkeeper(Authenticator):
    """Combines what is configured; what is not configured is refused in the same words as what is wrong.

    `peers` holds the services that may call in their own name, by SPIFFE id. An Authorization header decides alone:
    a bad one is refused even where the connection is that of a known peer.
    """

    def __init__(
        self,
        *,
        keys: KeyVerifier,
        sessions: Sessions | None = None,
        tokens: Tokens | None = None,
        peers: Mapping[str, Identity] | None = None,
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._tokens = tokens
        self._peers = dict(peers or {})

    async def authenticate(self, authorization: str | None, *, peer: str | None = None) -> Identity:
        if authorization is None:
            identity = None if peer is None else self._peers.get(peer)
            if identity is None:
                raise NotAuthenticated("no credential was sent") if peer is None else refused()
            return identity
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "bearer" or not credential or len(credential) > _LONGEST or not credential.isascii():
            raise refused()
        if credential.startswith("st_"):
            return await self._keys.verify(credential)
        if self._tokens is None:
            raise refused()
        return await self._tokens.verify(credential)

    async def session(self, token: str | None) -> Identity:
        """The caller behind the console's cookie. Raises NotAuthenticated."""
        if self._sessions is None or not token or len(token) > _LONGEST or not token.isascii():
            raise refused()
        return await self._sessions.identify(token)
