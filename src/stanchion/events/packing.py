"""An event and its author as bytes: how they lie in a bus, and how a broker's are known to be untouched.

MessagePack of an array, without names. The author's rights are packed once for each call of `publish` and read once
for each set of rights, as thousands of events share them.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import Literal, Protocol
from zlib import crc32

import msgspec

from ..core.clock import micros, moment
from ..core.context import Context, Sensitivity
from ..core.errors import NotTrustworthy
from ..core.security.signing import Signer
from .contract import CAUSATION, CORRELATION, PARTITION_KEY, PRIORITY, Author, Event, Value
from .ports import SLOTS, Entry

_PURPOSE = "events-author"
_SEAL_BYTES = 32
_BLOCK = 64


class Who(msgspec.Struct, frozen=True, array_like=True):
    """Whose rights an event carries."""

    tenant: str
    principal: str
    roles: list[str]
    scopes: list[str]
    limit: list[str] | None
    labels: list[Sensitivity]


class Packet(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event as it lies in the bus; times are microseconds since the epoch."""

    type: str
    source: str
    id: str
    subject: str
    time: int | None
    data: bytes | None
    content_type: str
    schema: str
    extensions: dict[str, Value] | None
    who: msgspec.Raw
    trace_id: str
    span_id: str
    sampled: bool
    correlation: str
    causation: str
    inner: bool
    published: int

    @property
    def event(self) -> Event:
        """The event as handlers see it."""
        return Event(
            type=self.type,
            source=self.source,
            id=self.id,
            subject=self.subject,
            time=None if self.time is None else moment(self.time),
            data=self.data,
            content_type=self.content_type,
            schema=self.schema,
            extensions=self.extensions or {},
        )

    @property
    def key(self) -> str:
        """As `Event.key`, without making the event."""
        given = self.extensions.get(PARTITION_KEY) if self.extensions else None
        return str(given) if given is not None else self.subject or self.id

    @property
    def tenant(self) -> str:
        """The author's tenant."""
        return who_of(bytes(self.who)).tenant

    @property
    def author(self) -> Author:
        """Who brought the event about."""
        who = who_of(bytes(self.who))
        return Author(
            tenant=who.tenant,
            principal=who.principal,
            roles=frozenset(who.roles),
            scopes=frozenset(who.scopes),
            limit=None if who.limit is None else frozenset(who.limit),
            labels=frozenset(who.labels),
            trace_id=self.trace_id,
            span_id=self.span_id,
            sampled=self.sampled,
            correlation=self.correlation,
            causation=self.causation,
            inner=self.inner,
        )


_PACKET = msgspec.msgpack.Decoder(Packet)
_WHO = msgspec.msgpack.Decoder(Who)
_ENCODER = msgspec.msgpack.Encoder()


@lru_cache(maxsize=4_096)
def who_of(packed: bytes) -> Who:
    """The rights that these bytes hold. Raises NotTrustworthy for bytes that hold none."""
    try:
        return _WHO.decode(packed)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise NotTrustworthy(f"the event's author cannot be read: {error}") from error


def packed_who(ctx: Context) -> msgspec.Raw:
    """The caller's rights, as they travel with its events."""
    rights = ctx.rights
    limit = None if rights.limit is None else sorted(rights.limit)
    who = Who(ctx.tenant, ctx.principal, sorted(rights.roles), sorted(rights.scopes), limit, sorted(ctx.labels))
    return msgspec.Raw(_ENCODER.encode(who))


def lane_of(tenant: str, key: str, priority: Value) -> int:
    """Where events of this key lie: their slot by hash, their row of lanes by priority."""
    slot = crc32(f"{tenant}\0{key}".encode()) % SLOTS
    return slot + (SLOTS if priority == "normal" else 0 if priority == "high" else 2 * SLOTS)


class Seal(Protocol):
    """Makes bodies tamper-evident where others can write to the bus."""

    def close(self, body: bytes) -> bytes:
        """The body as it is appended."""
        ...

    def open(self, body: bytes) -> bytes:
        """The body as it was given to `close`. Raises NotTrustworthy for any other."""
        ...


class NoSeal(Seal):
    """For a bus to which only the house can write."""

    def close(self, body: bytes) -> bytes:
        return body

    def open(self, body: bytes) -> bytes:
        return body


class KeyedSeal(Seal):
    """HMAC-SHA256 under a key that only holders of the house's signing key can make.

    Ed25519 signatures are deterministic (RFC 8032), so the signature of a fixed text, which is never given out, is a
    secret that all processes of the house share. A signature for each event would cost fifty times as much.
    """

    def __init__(self, signer: Signer) -> None:
        key = hashlib.sha256(signer.sign(b"seal", purpose=_PURPOSE)).digest().ljust(_BLOCK, b"\0")
        # The halves of HMAC (RFC 2104) begun with the key, and copied for each body: half the time of `hmac.digest`.
        self._inner = hashlib.sha256(bytes(each ^ 0x36 for each in key))
        self._outer = hashlib.sha256(bytes(each ^ 0x5C for each in key))

    def close(self, body: bytes) -> bytes:
        return self._code(body) + body

    def open(self, body: bytes) -> bytes:
        inside = body[_SEAL_BYTES:]
        if not hmac.compare_digest(self._code(inside), body[:_SEAL_BYTES]):
            raise NotTrustworthy("the event was not sealed by this house, or was changed since")
        return inside

    def _code(self, body: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(body)
        outer.update(inner.digest())
        return outer.digest()


class Cause(msgspec.Struct):
    """The event that is being handled, as the cause of what its handler publishes; `led` once it did."""

    correlation: str
    id: str
    led: bool = False


def entry_of(
    event: Event,
    ctx: Context,
    who: msgspec.Raw,
    *,
    at: int,
    seal: Seal,
    cause: Cause | None = None,
    origin: Literal["door", "house"] = "door",
) -> Entry:
    """The event as it is appended, with its author and its place in the chain of causes."""
    extensions = dict(event.extensions) or None
    given = extensions or {}
    correlation = str(given.get(CORRELATION, "")) or (cause.correlation if cause else event.id)
    causation = str(given.get(CAUSATION, "")) or (cause.id if cause else "")
    packet = Packet(
        event.type,
        event.source,
        event.id,
        event.subject,
        at if event.time is None else micros(event.time),
        event.data,
        event.content_type,
        event.schema,
        extensions,
        who,
        ctx.trace.trace_id,
        ctx.trace.span_id,
        ctx.trace.sampled,
        correlation,
        causation,
        origin == "house",
        at,
    )
    lane = lane_of(ctx.tenant, event.key, given.get(PRIORITY, "normal"))
    return Entry(lane, ctx.tenant, event.type, seal.close(_ENCODER.encode(packet)))


def unpack(body: bytes, seal: Seal) -> Packet:
    """The event in a body of the bus. Raises NotTrustworthy."""
    try:
        return _PACKET.decode(seal.open(body))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise NotTrustworthy(f"the event cannot be read: {error}") from error
