"""The body of an event: the bytes that are hashed, so there must be exactly one way to write them.

Canonical JSON: keys in order of code points, no white space, UTF-8. Whatever a caller hands over becomes a body,
because an effect whose event cannot be written is rolled back: a text over 200 characters is told by its
digest (`sha256:` and 64 hex digits), a number JSON cannot hold by its text, and facts past the twentieth by
their count (`facts_left_out`). So a long name never costs a change, and a body never passes a few kilobytes.
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import lru_cache

import msgspec

from ...clock import moment
from ...context import Effect, EffectKind
from ..contract import AuditEvent

MAX_TEXT = 200
MAX_FACTS = 20
_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")

Fact = str | int | float | bool | None


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One event as it is hashed and signed for; `at` is in microseconds since the epoch, UTC."""

    action: str
    at: int
    facts: dict[str, Fact]
    kind: EffectKind
    outcome: str
    principal: str
    request_id: str
    resource: str
    seq: int
    tenant: str
    trace_id: str


class Columns(msgspec.Struct, frozen=True, gc=False):
    """The part of a body that stands in columns too. Read alone it costs a third, and verification reads millions."""

    action: str
    at: int
    seq: int
    tenant: str


encode = msgspec.json.Encoder(order="sorted").encode
decode = msgspec.json.Decoder(Body).decode
columns = msgspec.json.Decoder(Columns).decode


def make(effect: Effect, outcome: str, *, seq: int, at: int) -> Body:
    """The body that tells of an effect."""
    return Body(
        action=shortened(effect.action),
        at=at,
        facts=_facts(dict(effect.facts)),
        kind=effect.kind,
        outcome=outcome,
        principal=shortened(effect.principal),
        request_id=shortened(effect.request_id),
        resource=shortened(effect.resource),
        seq=seq,
        tenant=shortened(effect.tenant),
        trace_id=shortened(effect.trace_id),
    )


def event(body: Body, chain: bytes) -> AuditEvent:
    """The body as callers see it."""
    return AuditEvent(
        seq=body.seq,
        at=moment(body.at),
        tenant=body.tenant,
        principal=body.principal,
        action=body.action,
        kind=body.kind,
        resource=body.resource,
        outcome=body.outcome,
        request_id=body.request_id,
        trace_id=body.trace_id,
        facts=body.facts,
        hash=chain.hex(),
    )


def shortened(text: str) -> str:
    """The text, or its digest if it is too long; lone surrogates and NUL, which stores refuse, are replaced."""
    if len(text) <= MAX_TEXT and text.isascii() and "\0" not in text:
        return text
    if len(text) > MAX_TEXT:
        return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _facts(given: dict[str, Fact]) -> dict[str, Fact]:
    facts = {_key(key): _fact(value) for key, value in list(given.items())[:MAX_FACTS]}
    if len(given) > MAX_FACTS:
        facts["facts_left_out"] = len(given) - MAX_FACTS
    return facts


@lru_cache(1024)
def _key(key: str) -> str:
    # A key is written by a programmer; anything else may be data and is told by its digest only.
    return (
        key if _KEY.fullmatch(key) else "key_" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    )


def _fact(value: object) -> Fact:
    if isinstance(value, str):
        return shortened(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else shortened(str(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return shortened(str(value))
