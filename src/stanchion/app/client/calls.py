"""What both clients share, without a wire: requests, what an answer means, when to try again and how long to wait."""

from __future__ import annotations

import ipaddress
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from ...core.clock import Clock, SystemClock
from ...core.errors import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    InvalidInput,
    Misconfigured,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    PayloadTooLarge,
    StanchionError,
    Throttled,
    Unavailable,
    from_problem,
)
from ...core.resilience import RetryBudget, RetryRules

if TYPE_CHECKING:
    import ssl

Priority = Literal["interactive", "normal", "bulk"]
# By how much the server's own limit goes first, so that its error and not ours tells what happened.
_GRACE = 1.0
_BY_STATUS: dict[int, type[StanchionError]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    413: PayloadTooLarge,
    429: Throttled,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request: sent again after a passing failure, as all of a client's calls may be."""

    method: Literal["GET", "POST"]
    path: str
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a prediction asks for besides its outcome."""

    explain: bool = False
    priority: Priority = "normal"
    unit: str = ""

    def body(self, model: str, **given: object) -> bytes:
        """The body of a prediction. Raises InvalidInput where an instance has no form in JSON."""
        document: dict[str, object] = {"model_id": model, **given}
        if self.explain:
            document["explain"] = "timing"
        options: dict[str, str] = {} if self.priority == "normal" else {"priority": self.priority}
        if self.unit:
            options["unit"] = self.unit
        if options:
            document["options"] = options
        return encoded(document)


def encoded(document: object) -> bytes:
    """The document as JSON. Raises InvalidInput."""
    try:
        return msgspec.json.encode(document)
    except (TypeError, ValueError, UnicodeError) as error:
        raise InvalidInput(f"the request has no form in JSON: {error}") from error


def plain(item: Any) -> Mapping[str, Any]:
    """An instance as plain data: a mapping, or a pydantic model in whole."""
    dump = getattr(item, "model_dump", None)
    if dump is None:
        return dict(item)
    found: Mapping[str, Any] = dump(mode="json")
    return found


class Policy:
    """Retries of one client: rules for each call, and one budget for them all. Safe to share between threads."""

    def __init__(
        self,
        rules: RetryRules | None = None,
        *,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.rules = rules or RetryRules()
        self.clock = clock or SystemClock()
        self.draw = draw
        self._budget = RetryBudget(clock=self.clock)
        self._lock = threading.Lock()

    def called(self) -> None:
        """Count a call's first attempt."""
        with self._lock:
            self._budget.called()

    def take(self) -> bool:
        """Whether one more retry is within the budget."""
        with self._lock:
            return self._budget.take()


class Tries:
    """The attempts of one call within its time."""

    def __init__(self, policy: Policy, timeout: float) -> None:
        self._policy = policy
        self._ends = policy.clock.monotonic() + timeout
        self._failed = 0
        policy.called()

    def headers(self, call: Call) -> dict[str, str]:
        """What the next attempt tells the server: also the time it has. Raises DeadlineExceeded."""
        time_left = {"Request-Timeout": f"{self.left():.3f}"}
        return time_left if call.body is None else {**time_left, "Content-Type": "application/json"}

    def left(self) -> float:
        """Seconds left of the call. Raises DeadlineExceeded if there are none."""
        left = self._ends - self._policy.clock.monotonic()
        if left <= 0.001:
            raise DeadlineExceeded("the client's time limit passed")
        return left

    def patience(self) -> float:
        """Seconds to wait for the server on the wire: its own limit goes first."""
        return self.left() + _GRACE

    def wait(self, error: StanchionError) -> float:
        """Seconds to wait before the next attempt. Raises the error itself if there shall be none."""
        rules = self._policy.rules
        self._failed += 1
        if self._failed >= rules.attempts or not self._passing(error):
            raise error
        drawn = self._policy.draw() * min(rules.maximum, rules.base * 2.0 ** min(self._failed - 1, 32))
        seconds = max(drawn, error.retry_after or 0.0)
        late = self._policy.clock.monotonic() + seconds >= self._ends
        if seconds > rules.maximum or late or not self._policy.take():
            raise error
        return seconds

    def _passing(self, error: StanchionError) -> bool:
        if isinstance(error, CircuitOpen):
            return self._policy.rules.circuit_open
        return isinstance(error, Unavailable | Throttled) and not isinstance(error, BudgetExceeded)


def failure(status: int, headers: Mapping[str, str], body: bytes) -> StanchionError:
    """The error that an answer tells of; its trace id, if it has one, is a note on it."""
    document: Any = None
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if isinstance(document, dict) and "code" in document:
        error = from_problem(document)
        if "trace_id" in document:
            error.add_note(f"trace {document['trace_id']}")
    else:
        # Not of ours: something stands between, such as a proxy.
        error = _BY_STATUS.get(status, StanchionError)(f"the answer was HTTP {status} and no problem document")
    if error.retry_after is None:
        error.retry_after = _retry_after(headers.get("retry-after"))
    return error


def _retry_after(value: str | None) -> float | None:
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def decoded(body: bytes) -> Any:
    """The JSON of a good answer. Raises StanchionError if it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StanchionError(
            "the answer is not JSON", next_step="Check that the address is that of the API."
        ) from error


def address(url: str, *, key: str | None, insecure: bool) -> str:
    """The address without its last slash. Raises Misconfigured where a key would travel in the clear."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured(f"{url!r} is no http or https address", next_step="Give one such as https://host:8443.")
    if parts.scheme == "http" and key is not None and not insecure and not _loopback(parts.hostname):
        raise Misconfigured(
            f"the key would travel unencrypted to {parts.hostname}",
            next_step="Use https, or say insecure=True if the network is trusted.",
        )
    return url.rstrip("/")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def trust(authority: str | Path | ssl.SSLContext | None) -> ssl.SSLContext | bool:
    """What servers' certificates are checked against: the system's authorities, a PEM file, or a given context."""
    if authority is None:
        return True
    if isinstance(authority, str | Path):
        import ssl

        try:
            return ssl.create_default_context(cafile=str(authority))
        except OSError as error:
            raise Misconfigured(
                f"the authority {authority} cannot be used: {error.strerror or error}",
                next_step="Name a PEM file with the certificate of the authority.",
            ) from error
    return authority


def missing(error: ModuleNotFoundError) -> Misconfigured:
    """What to tell where the extra is not installed."""
    return Misconfigured(
        f"the client needs {error.name}, which is not installed", next_step="Install stanchion[client]."
    )


class Events:
    """Server-sent events out of pieces of bytes. Source: HTML Living Standard, section 9.2.6."""

    def __init__(self) -> None:
        self._rest = b""

    def fed(self, piece: bytes) -> Sequence[tuple[str, Any]]:
        """The events that this piece completes, each as its name and its data."""
        # By hand and not by lines of text: JSON may hold characters that Python takes for line ends.
        *whole, self._rest = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        return [_event(each) for each in whole if each.strip()]


def _event(block: bytes) -> tuple[str, Any]:
    name, data = "message", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode()
        elif field == b"data":
            data.append(value)
    return name, decoded(b"\n".join(data))
