"""A caller's Context on its way to another process: signed by the sender, for one receiver, for a minute.

A JSON Web Token (RFC 7519) of its own type, signed with the key of the sender's certificate, which travels in the
header (`x5c`, RFC 7515) and must be the one that the TLS connection proved. The receiver needs nobody's key in advance.
The header is the same in every passport of a process, so it is parsed and its chain checked once a minute. That, and
not PyJWT, which looks at each character of it in Python, makes an inspection cost little more than its signature.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ..clock import Clock
from ..context import Budget, Context, Rights, Sensitivity, Trace
from ..errors import Misconfigured, NotAuthenticated
from .identity import Credentials, id_of_certificate
from .keyfile import read_private

TYPE = "stanchion-context"
_ALGORITHM = "ES256"
LASTS_SECONDS = 60
LEEWAY_SECONDS = 30
_LONGEST = 32_768
_MOST_CERTIFICATES = 4
_HALF = 32
_REMEMBERED = 256
_REMEMBERED_SECONDS = 60.0


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token's header; `x5c` is the sender's certificate chain, each in base64 of DER."""

    typ: str
    alg: str
    x5c: list[str]


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a passport says; `left` is the time the call still has, in seconds."""

    iss: str
    aud: str
    sub: str
    iat: int
    exp: int
    jti: str
    tenant: str
    roles: list[str]
    scopes: list[str]
    limit: list[str] | None
    left: float | None
    budget: tuple[float | None, int | None, int | None]
    trace: tuple[str, str, bool]
    labels: list[Sensitivity]
    request: str


_HEAD = msgspec.json.Decoder(_Head)
_CLAIMS = msgspec.json.Decoder(_Claims)


@dataclass(frozen=True, slots=True)
class _Sender:
    """A certificate whose chain was checked not long ago."""

    identity: str
    key: EllipticCurvePublicKey
    until: float


class Passports:
    """Issues passports in the name of this process, and inspects those meant for it.

    Raises Misconfigured if the certificate names no service or its key is not ECDSA P-256.
    """

    def __init__(self, credentials: Credentials, *, clock: Clock) -> None:
        chain = x509.load_pem_x509_certificates(credentials.certificate.read_bytes())
        pem = read_private(credentials.key)
        if pem is None:
            raise Misconfigured(f"there is no private key at {credentials.key}")
        key = load_pem_private_key(pem, password=None)
        try:
            self.identity = id_of_certificate(chain[0])
            public = _p256(chain[0].public_key())
        except NotAuthenticated as error:
            raise Misconfigured(f"{credentials.certificate.name}: {error.detail}") from error
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != public:
            raise Misconfigured(f"{credentials.key.name} is not the key of {credentials.certificate.name}")
        self._key = key
        certificates = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]
        self._head = _encoded(msgspec.json.encode(_Head(TYPE, _ALGORITHM, certificates)))
        self._store = Store(x509.load_pem_x509_certificates(credentials.authority.read_bytes()))
        self._clock = clock
        self._senders: dict[str, _Sender] = {}

    def issue(self, ctx: Context, audience: str) -> str:
        """The Context for the process with this SPIFFE id. The effect under way stays at home."""
        now = int(self._clock.now().timestamp())
        claims = _Claims(
            iss=self.identity,
            aud=audience,
            sub=ctx.principal,
            iat=now,
            exp=now + LASTS_SECONDS,
            jti=secrets.token_hex(12),
            tenant=ctx.tenant,
            roles=sorted(ctx.rights.roles),
            scopes=sorted(ctx.rights.scopes),
            limit=None if ctx.rights.limit is None else sorted(ctx.rights.limit),
            left=None if ctx.deadline is None else ctx.deadline - self._clock.monotonic(),
            budget=(ctx.budget.cost, ctx.budget.tokens, ctx.budget.steps),
            trace=(ctx.trace.trace_id, ctx.trace.span_id, ctx.trace.sampled),
            labels=sorted(ctx.labels),
            request=ctx.request_id,
        )
        body = f"{self._head}.{_encoded(msgspec.json.encode(claims))}"
        return f"{body}.{_encoded(_sign(self._key, body.encode()))}"

    def inspect(self, passport: str, peer: str | None) -> Context:
        """The Context that `peer`, the SPIFFE id of the TLS connection, has signed for this process.

        Raises NotAuthenticated, in the same words whatever is wrong.
        """
        pieces = passport.split(".")
        if len(passport) > _LONGEST or len(pieces) != 3 or not passport.isascii():
            raise _refused()
        head, body, signature = pieces
        sender = self._sender(head)
        try:
            _check(sender.key, _decoded(signature), f"{head}.{body}".encode())
            claims = _CLAIMS.decode(_decoded(body))
        except (InvalidSignature, ValueError, RecursionError) as error:
            raise _refused() from error
        if sender.identity != peer or claims.iss != peer or claims.aud != self.identity:
            raise _refused()
        now = self._clock.now().timestamp()
        if not now - LEEWAY_SECONDS < claims.exp <= claims.iat + LASTS_SECONDS or claims.iat > now + LEEWAY_SECONDS:
            raise _refused()
        return self._context(claims)

    def _context(self, claims: _Claims) -> Context:
        limit = None if claims.limit is None else frozenset(claims.limit)
        return Context(
            tenant=claims.tenant,
            principal=claims.sub,
            rights=Rights(frozenset(claims.roles), frozenset(claims.scopes), limit),
            deadline=None if claims.left is None else self._clock.monotonic() + claims.left,
            budget=Budget(*claims.budget),
            trace=Trace(*claims.trace),
            labels=frozenset(claims.labels),
            request_id=claims.request,
        )

    def _sender(self, head: str) -> _Sender:
        sender = self._senders.get(head)
        if sender is None or sender.until <= self._clock.monotonic():
            sender = self._verified(head)
            if len(self._senders) >= _REMEMBERED:
                self._senders.clear()
            self._senders[head] = sender
        return sender

    def _verified(self, encoded: str) -> _Sender:
        try:
            head = _HEAD.decode(_decoded(encoded))
            if not 1 <= len(head.x5c) <= _MOST_CERTIFICATES:
                raise _refused()
            leaf, *between = [x509.load_der_x509_certificate(base64.b64decode(c, validate=True)) for c in head.x5c]
            PolicyBuilder().store(self._store).time(self._clock.now()).build_client_verifier().verify(leaf, between)
            key = leaf.public_key()
        except (ValueError, VerificationError, UnsupportedAlgorithm) as error:
            raise _refused() from error
        if head.typ != TYPE or head.alg != _ALGORITHM:
            raise _refused()
        return _Sender(id_of_certificate(leaf), _p256(key), self._clock.monotonic() + _REMEMBERED_SECONDS)


def _p256(key: object) -> EllipticCurvePublicKey:
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise NotAuthenticated("the certificate's key is not ECDSA P-256")
    return key


def _sign(key: EllipticCurvePrivateKey, message: bytes) -> bytes:
    """The signature as RFC 7518, 3.4 has it: the two numbers side by side, not in DER."""
    r, s = decode_dss_signature(key.sign(message, ECDSA(SHA256())))
    return r.to_bytes(_HALF) + s.to_bytes(_HALF)


def _check(key: EllipticCurvePublicKey, signature: bytes, message: bytes) -> None:
    if len(signature) != 2 * _HALF:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:_HALF]), int.from_bytes(signature[_HALF:])
    key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _refused() -> NotAuthenticated:
    return NotAuthenticated("the passport is not one for this process by the peer that sent it")
