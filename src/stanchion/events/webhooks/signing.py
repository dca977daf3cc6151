"""Signatures of webhooks: HMAC-SHA256 over id, time and body. Source: Standard Webhooks 1.0 (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping, Sequence

from ...core.errors import InvalidInput, NotAuthenticated

PREFIX = "whsec_"
TOLERANCE = 300.0
_LEAST, _MOST = 24, 64
_LONGEST_ID = 256


def new_secret() -> str:
    """A secret nobody else has."""
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes of a secret. Raises InvalidInput unless it is `whsec_` and base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise InvalidInput(f"a webhook's secret is {PREFIX} and the base64 text of {_LEAST} to {_MOST} bytes")
    return key


def signature(secret: str, identity: str, at: int, body: bytes) -> str:
    """`v1,` and the base64 text of the signature."""
    signed = f"{identity}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key_of(secret), signed, "sha256")).decode()


def headers(secrets: Sequence[str], identity: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a signed message: one signature for each secret that holds."""
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signature(secret, identity, at, body) for secret in secrets),
    }


def verify(secrets: Sequence[str], given: Mapping[str, str], body: bytes, *, now: float) -> str:
    """The id of a message that one of the secrets signed within five minutes. Raises NotAuthenticated."""
    identity, at, shown = (given.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not identity or len(identity) > _LONGEST_ID or not identity.isprintable() or not at.isdecimal() or len(at) > 15:
        raise refused()
    if abs(now - int(at)) > TOLERANCE:
        raise refused()
    wanted = [signature(secret, identity, int(at), body) for secret in secrets]
    # Every pair is compared, each in constant time: how long it takes tells nothing.
    found = [
        hmac.compare_digest(a.encode(), b.encode("utf-8", "replace")) for a in wanted for b in shown.split(" ")[:10]
    ]
    if not any(found):
        raise refused()
    return identity


def refused() -> NotAuthenticated:
    """One answer to every fault, so that it tells nothing to who guesses."""
    return NotAuthenticated(
        "there is no such webhook, or the message is not signed for it, or not of the last five minutes",
        next_step="Sign with the webhook's secret as Standard Webhooks says, and check the clock.",
    )
