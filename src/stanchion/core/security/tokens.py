"""JSON Web Tokens of identity providers (RFC 7519, checked as RFC 8725 advises)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from ..clock import Clock, moment
from ..context import Rights
from ..errors import Misconfigured
from .contract import Identity
from .jwks import FAMILIES, Fetch, KeySet, fetch_https
from .roles import SYSTEM_ROLE
from .verifier import refused

LEEWAY_SECONDS = 30
"""How far the issuer's clock may be from ours."""
LONGEST_SECONDS = 86_400
"""A token issued for longer than this is refused."""

_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORD = re.compile(r"[\x21-\x7e]{1,128}")
_SUBJECT = re.compile(r"[\x21-\x7e]{1,180}")


class Terms(Protocol):
    """On what terms an issuer's tokens are taken.

    Exactly one of `jwks_url` and `jwks_file` is set. `tenants` are those for which it may speak; empty: any.
    Scopes come from the claim `scopes_claim`, a list or a string of words as in RFC 8693.
    """

    @property
    def issuer(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def algorithms(self) -> Sequence[str]: ...
    @property
    def jwks_url(self) -> str | None: ...
    @property
    def jwks_file(self) -> Path | None: ...
    @property
    def tenant_claim(self) -> str: ...
    @property
    def roles_claim(self) -> str: ...
    @property
    def scopes_claim(self) -> str: ...
    @property
    def tenants(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class _Trusted:
    terms: Terms
    keys: KeySet


class Issuers:
    """Verifies tokens of the trusted issuers; the principal is `user:<sub>`.

    The algorithms are those of the settings, never the token's choice; key addresses in a token are ignored.
    """

    def __init__(self, terms: Sequence[Terms], *, clock: Clock, fetch: Fetch = fetch_https) -> None:
        self._clock = clock
        self._trusted: dict[str, _Trusted] = {}
        for one in terms:
            if one.issuer in self._trusted or not one.algorithms or not set(one.algorithms) <= _ALGORITHMS:
                raise Misconfigured(
                    f"the token issuer {one.issuer!r} is given twice, or its algorithms are not among "
                    + ", ".join(sorted(_ALGORITHMS))
                )
            keys = KeySet(url=one.jwks_url, file=one.jwks_file, fetch=fetch, clock=clock)
            self._trusted[one.issuer] = _Trusted(one, keys)

    async def verify(self, token: str) -> Identity:
        """Who the token says the caller is.

        Raises NotAuthenticated, in the same words whatever is wrong; Unavailable while an issuer's keys cannot be had.
        """
        import jwt

        head, claims = _parts(token)
        trusted = self._trusted.get(str(claims.get("iss")))
        algorithm, kid = str(head.get("alg")), head.get("kid")
        if trusted is None or algorithm not in trusted.terms.algorithms or not isinstance(kid, str) or "crit" in head:
            raise refused()
        if str(head.get("typ", "jwt")).lower() not in _TYPES:
            raise refused()
        key = await trusted.keys.key(kid)
        if key is None or key.kty != FAMILIES[algorithm[:2]] or key.algorithm not in (None, algorithm):
            raise refused()
        try:
            # Times are checked below, against the clock that was given.
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                issuer=trusted.terms.issuer,
                audience=trusted.terms.audience,
                options={
                    "require": ["exp", "iat", "sub", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise refused() from error
        return _identity(claims, trusted.terms, self._expiry(claims))

    def _expiry(self, claims: dict[str, Any]) -> float:
        times = [claims["exp"], claims["iat"], claims.get("nbf", claims["iat"])]
        if any(isinstance(time, bool) or not isinstance(time, int | float) for time in times):
            raise refused()
        expires, issued, begins = times
        now = self._clock.now().timestamp()
        sound = now - LEEWAY_SECONDS < expires <= issued + LONGEST_SECONDS
        if not sound or max(issued, begins) > now + LEEWAY_SECONDS:
            raise refused()
        return float(expires)


def _identity(claims: dict[str, Any], terms: Terms, expires: float) -> Identity:
    tenant, subject = claims.get(terms.tenant_claim), claims["sub"]
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant) or (terms.tenants and tenant not in terms.tenants):
        raise refused()
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise refused()
    roles = _words(claims.get(terms.roles_claim)) - {SYSTEM_ROLE}
    return Identity(
        tenant=tenant,
        principal=f"user:{subject}",
        rights=Rights(roles, _words(claims.get(terms.scopes_claim))),
        expires=moment(0) + timedelta(seconds=expires),
    )


def _words(claim: object) -> frozenset[str]:
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(word for word in words if isinstance(word, str) and _WORD.fullmatch(word))


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, not yet to be believed. A name given twice is refused: readers differ in which they take."""
    pieces = token.split(".")
    if len(pieces) != 3:
        raise refused()
    try:
        head, claims = (
            json.loads(base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)), object_pairs_hook=_once)
            for piece in pieces[:2]
        )
    except (ValueError, binascii.Error, RecursionError) as error:
        raise refused() from error
    if not isinstance(head, dict) or not isinstance(claims, dict):
        raise refused()
    return head, claims


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)
