"""Tokens of identity providers: the good ones open, every known trick is refused in the same words."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stanchion.core.errors import Misconfigured, NotAuthenticated, Unavailable
from stanchion.core.security.tokens import Issuers
from stanchion.testing.clock import FakeClock

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
JWT_ALGORITHMS = jwt.algorithms.get_default_algorithms()


def jwk(key: Any, algorithm: str, kid: str, **more: object) -> dict[str, object]:
    return {**JWT_ALGORITHMS[algorithm].to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


KEYS = [
    jwk(RSA, "RS256", "rsa"),
    jwk(EC, "ES256", "ec", use="sig", alg="ES256"),
    jwk(ED, "EdDSA", "ed"),
    jwk(P384, "ES384", "p384"),
    jwk(RSA, "RS256", "enc", use="enc"),
    jwk(RSA, "RS256", "twice"),
    jwk(EC, "ES256", "twice"),
    jwk(rsa.generate_private_key(65537, 1024), "RS256", "small"),  # noqa: S505  # too small on purpose
    {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode(), "kid": "oct"},
    {"kty": "RSA", "kid": "broken"},
]


@dataclass(frozen=True)
class Terms:
    issuer: str = "https://id.example"
    audience: str = "stanchion"
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    jwks_url: str | None = "https://id.example/jwks"
    jwks_file: Path | None = None
    tenant_claim: str = "org"
    roles_claim: str = "groups"
    scopes_claim: str = "scope"
    tenants: tuple[str, ...] = ()


class Provider:
    """Serves the keys, or fails to, and counts."""

    def __init__(self) -> None:
        self.keys: list[dict[str, object]] = list(KEYS)
        self.calls = 0
        self.down = False

    async def fetch(self, url: str) -> bytes:
        self.calls += 1
        if self.down:
            raise Unavailable("down")
        return json.dumps({"keys": self.keys}).encode()


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def issuers(provider: Provider, clock: FakeClock) -> Issuers:
    return Issuers([Terms()], clock=clock, fetch=provider.fetch)


@pytest.fixture
def claims(clock: FakeClock) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    return {
        "iss": "https://id.example",
        "aud": "stanchion",
        "sub": "auth0|7",
        "iat": now,
        "exp": now + 600,
        "org": "acme",
        "groups": ["viewer", "system", 7],
        "scope": "serving:predict serving:read",
    }


def sign(claims: dict[str, Any], *, key: Any = RSA, alg: str = "RS256", kid: str | None = "rsa", **head: object) -> str:
    headers = {**head, **({} if kid is None else {"kid": kid})}
    return jwt.encode(claims, key, algorithm=alg, headers=headers)


async def test_a_good_token_names_user_tenant_and_rights(issuers: Issuers, claims: dict[str, Any]) -> None:
    identity = await issuers.verify(sign(claims))
    assert identity.principal == "user:auth0|7"
    assert identity.tenant == "acme"
    assert identity.rights.roles == {"viewer"}
    assert identity.rights.scopes == {"serving:predict", "serving:read"}
    assert identity.expires is not None
    assert identity.expires.timestamp() == claims["exp"]


async def test_each_configured_algorithm_is_taken(issuers: Issuers, claims: dict[str, Any]) -> None:
    for key, alg, kid in ((RSA, "RS256", "rsa"), (RSA, "PS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")):
        await issuers.verify(sign(claims, key=key, alg=alg, kid=kid))
    await issuers.verify(sign(claims, typ="at+jwt"))
    await issuers.verify(sign({**claims, "aud": ["other", "stanchion"]}))


def encoded(part: object) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def with_public_key_as_secret(claims: dict[str, Any]) -> str:
    head = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    body = f"{encoded(head)}.{encoded(claims)}"
    secret = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = base64.urlsafe_b64encode(hmac.digest(secret, body.encode(), "sha256")).rstrip(b"=").decode()
    return f"{body}.{signature}"


def with_name_twice(claims: dict[str, Any]) -> str:
    head, _, signature = sign(claims).split(".")
    text = json.dumps(claims)[:-1] + ', "org": "rival"}'
    return f"{head}.{encoded(text)}.{signature}"


def signed_twice_over(claims: dict[str, Any]) -> str:
    """Signed by the issuer itself, with a name given twice."""
    text = json.dumps(claims)[:-1] + ', "org": "rival"}'
    return jwt.api_jws.encode(text.encode(), RSA, algorithm="RS256", headers={"kid": "rsa", "typ": "JWT"})


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


TRICKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "the public key as a shared secret": with_public_key_as_secret,
    "no algorithm": lambda c: f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{encoded(c)}.",
    "no algorithm, in capitals": lambda c: f"{encoded({'alg': 'NONE', 'kid': 'rsa'})}.{encoded(c)}.",
    "an algorithm not configured": lambda c: sign(c, alg="RS512"),
    "a list as algorithm": lambda c: f"{encoded({'alg': ['RS256'], 'kid': 'rsa'})}.{encoded(c)}.x",
    "another audience": lambda c: sign({**c, "aud": "other"}),
    "another issuer": lambda c: sign({**c, "iss": "https://evil.example"}),
    "an issuer with a slash": lambda c: sign({**c, "iss": "https://id.example/"}),
    "expired": lambda c: sign({**c, "iat": c["iat"] - 900, "exp": c["iat"] - 31}),
    "not yet valid": lambda c: sign({**c, "nbf": c["iat"] + 31}),
    "issued in the future": lambda c: sign({**c, "iat": c["iat"] + 31}),
    "valid for too long": lambda c: sign({**c, "exp": c["iat"] + 86_401}),
    "a truth value as time": lambda c: sign({**c, "nbf": True}),
    "a text as time": lambda c: sign({**c, "exp": str(c["exp"])}),
    "infinite": lambda c: sign({**c, "exp": float("inf")}),
    "no number": lambda c: sign({**c, "exp": float("nan")}),
    "no key id": lambda c: sign(c, kid=None),
    "an unknown key id": lambda c: sign(c, kid="other"),
    "a key of another kind": lambda c: sign(c, kid="ec"),
    "a curve of another algorithm": lambda c: sign(c, key=EC, alg="ES256", kid="p384"),
    "a key for encryption": lambda c: sign(c, kid="enc"),
    "a key id given twice": lambda c: sign(c, kid="twice"),
    "a shared secret from the set": lambda c: sign(c, key=b"x" * 32, alg="HS256", kid="oct"),
    "a foreign key, its address in the header": lambda c: sign(
        c, key=rsa.generate_private_key(65537, 2048), jku="https://evil.example/jwks", x5u="https://evil.example/c"
    ),
    "a foreign key in the header": lambda c: sign(c, key=ED, alg="EdDSA", jwk=jwk(ED, "EdDSA", "rsa")),
    "a critical extension": lambda c: sign(c, crit=["b64"], b64=True),
    "another type of token": lambda c: sign(c, typ="stanchion-context"),
    "a name given twice": with_name_twice,
    "a name given twice by the issuer": signed_twice_over,
    "no tenant": lambda c: sign(without(c, "org")),
    "an odd tenant": lambda c: sign({**c, "org": "../x"}),
    "a list as tenant": lambda c: sign({**c, "org": ["acme"]}),
    "an odd subject": lambda c: sign({**c, "sub": "a b"}),
    "a fourth part": lambda c: sign(c) + ".x",
    "deep nesting": lambda c: f"{'W' * 4000}.{encoded('[' * 3000)}.x",
    "not a token": lambda c: "...",
    "not an object": lambda c: f"{encoded([])}.{encoded([])}.x",
    **{f"no {name}": lambda c, name=name: sign(without(c, name)) for name in ("exp", "iat", "sub", "iss", "aud")},
}


@pytest.mark.parametrize("trick", TRICKS)
async def test_a_token_with_a_fault_is_refused(issuers: Issuers, claims: dict[str, Any], trick: str) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        await issuers.verify(TRICKS[trick](claims))
    assert caught.value.detail == "the credential is unknown, expired, revoked or malformed"


async def test_clocks_may_differ_by_the_leeway(issuers: Issuers, claims: dict[str, Any]) -> None:
    await issuers.verify(sign({**claims, "iat": claims["iat"] - 600, "exp": claims["iat"] - 29}))
    await issuers.verify(sign({**claims, "iat": claims["iat"] + 30, "nbf": claims["iat"] + 30}))


async def test_an_issuer_speaks_for_its_own_tenants_only(
    provider: Provider, clock: FakeClock, claims: dict[str, Any]
) -> None:
    bound = Issuers([replace(Terms(), tenants=("acme",))], clock=clock, fetch=provider.fetch)
    await bound.verify(sign(claims))
    with pytest.raises(NotAuthenticated):
        await bound.verify(sign({**claims, "org": "rival"}))


async def test_a_new_key_is_found_and_unknown_ids_do_not_flood_the_issuer(
    issuers: Issuers, provider: Provider, clock: FakeClock, claims: dict[str, Any]
) -> None:
    await issuers.verify(sign(claims))
    provider.keys.append(jwk(ED, "EdDSA", "new"))
    for _ in range(10):
        with pytest.raises(NotAuthenticated):
            await issuers.verify(sign(claims, key=ED, alg="EdDSA", kid="new"))
    assert provider.calls == 1
    clock.advance(30)
    await issuers.verify(sign(claims, key=ED, alg="EdDSA", kid="new"))
    assert provider.calls == 2


async def test_known_keys_stay_good_while_the_issuer_is_down(
    issuers: Issuers, provider: Provider, clock: FakeClock, claims: dict[str, Any]
) -> None:
    await issuers.verify(sign(claims))
    provider.down = True
    clock.advance(3_600)
    now = int(clock.now().timestamp())
    await issuers.verify(sign({**claims, "iat": now, "exp": now + 60}))
    assert provider.calls == 2


async def test_a_withdrawn_key_is_refused_after_an_hour_at_most(
    issuers: Issuers, provider: Provider, clock: FakeClock, claims: dict[str, Any]
) -> None:
    await issuers.verify(sign(claims))
    provider.keys = [key for key in provider.keys if key["kid"] != "rsa"]
    clock.advance(3_600)
    now = int(clock.now().timestamp())
    with pytest.raises(NotAuthenticated):
        await issuers.verify(sign({**claims, "iat": now, "exp": now + 60}))


async def test_before_any_key_is_known_the_service_is_unavailable(
    issuers: Issuers, provider: Provider, clock: FakeClock, claims: dict[str, Any]
) -> None:
    provider.down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await issuers.verify(sign(claims))
    assert provider.calls == 1
    provider.down = False
    clock.advance(5)
    await issuers.verify(sign(claims))


async def test_keys_may_lie_in_a_file(tmp_path: Path, clock: FakeClock, claims: dict[str, Any]) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": KEYS}))
    issuers = Issuers([replace(Terms(), jwks_url=None, jwks_file=path)], clock=clock)
    assert (await issuers.verify(sign(claims))).tenant == "acme"


@pytest.mark.parametrize(
    "bad",
    [
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
        {"jwks_url": None},
        {"jwks_url": "http://id.example/jwks"},
        {"jwks_file": Path("x")},
    ],
)
def test_unsafe_terms_are_refused_at_the_start(clock: FakeClock, bad: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        Issuers([replace(Terms(), **bad)], clock=clock)
    with pytest.raises(Misconfigured):
        Issuers([Terms(), Terms()], clock=clock)
