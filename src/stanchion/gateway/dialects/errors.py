"""An upstream's refusal or failure as one of our errors, so that the ladder knows what another rung may cure.

What the client did wrong is its own to mend and goes back with the upstream's reason. What is wrong between the gateway
and the upstream (its key, its quota, its state) is never shown as the client's fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from ...core.errors import (
    InvalidInput,
    PayloadTooLarge,
    StanchionError,
    Throttled,
    Unavailable,
)

_SHOWN = 500
_LONGEST_WAIT = 86_400.0
_KEY = "Check the upstream's key, and what it may use, where the upstream is declared."
_MODEL = "Check the upstream's name of the model and its base URL where the upstream is declared."
# Types and codes of errors inside a stream, or in an answer with status 200, where there is no status to go by.
_STATUS: Mapping[str, int] = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def failure(
    status: int, body: bytes, headers: Mapping[str, str], *, upstream: str, now: datetime | None = None
) -> StanchionError:
    """The error for a response that is no success.

    Names of `headers` are lower case; without `now` a Retry-After that is a date is not read.
    """
    return _error(status, reason_of(body), upstream, retry_after(headers, now))


def failure_in(error: object, *, upstream: str) -> StanchionError:
    """The error for an error document, or text, that came within a stream or with status 200."""
    document: Mapping[str, Any] = error if isinstance(error, Mapping) else {"message": str(error or "")}
    status = document.get("status") or document.get("status_code")
    for word in (document.get("code"), document.get("type")):
        if not isinstance(status, int):
            status = word if isinstance(word, int) else _STATUS.get(str(word))
        if isinstance(word, str) and word.isdecimal() and len(word) == 3:
            status = int(word)
    known = status if isinstance(status, int) and status >= 400 else 500
    return _error(known, _text(document) or "an error without a reason", upstream, None)


def reason_of(body: bytes) -> str:
    """What an upstream's error document says, shortened; empty for a body that is none, such as a proxy's page."""
    try:
        held = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if isinstance(held, list) and held:
        held = held[0]
    return _text(held)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that an upstream asks to wait, as a number of milliseconds or seconds or as a date; None without."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name, "").strip()
        try:
            seconds = float(given) * unit
        except ValueError:
            seconds = _until(given, now) if unit == 1.0 and given else -1.0
        if seconds >= 0:
            return min(seconds, _LONGEST_WAIT)
    return None


def _until(given: str, now: datetime | None) -> float:
    try:
        moment = parsedate_to_datetime(given)
    except ValueError:
        return -1.0
    if now is None:
        return -1.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _text(held: object) -> str:
    """The reason in the forms that are in use: {error: {message}}, {error: text}, {message}, {detail}, {errors}."""
    for name in ("error", "message", "detail", "errors", "reason"):
        inner = held.get(name) if isinstance(held, Mapping) else None
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if isinstance(inner, str) and inner:
            return inner[:_SHOWN]
        if isinstance(inner, Mapping):
            return _text(inner) or str(inner.get("msg") or inner.get("type") or inner.get("code") or "")[:_SHOWN]
    return ""


def _error(status: int, reason: str, upstream: str, wait: float | None) -> StanchionError:
    said = f"{upstream} answered {status}" + (f": {reason}" if reason else "")
    if status == 429:
        return Throttled(said, retry_after=wait)
    if status in (401, 402, 403):
        return Unavailable(f"{upstream} does not accept the gateway's own key ({status})", next_step=_KEY)
    if status == 413:
        return PayloadTooLarge(said)
    if status in (400, 422):
        return InvalidInput(said, next_step="Correct what the upstream names in `detail`, or ask another model.")
    if status in (404, 405, 410):
        return Unavailable(said, next_step=_MODEL)
    return Unavailable(said, retry_after=wait)
