"""What an event must be to be taken, and which types a pattern names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from ...core.errors import FieldProblem, InvalidInput, PayloadTooLarge
from .event import EXPIRY, PRIORITY, Event

MOST_BYTES = 1 << 20
MOST_EXTENSIONS = 32
LONGEST = 512
LONGEST_VALUE = 4_096
PRIORITIES = ("high", "normal", "low")
_EXTENSION = re.compile(r"[a-z0-9]{1,40}")
_PATTERN = re.compile(r"\*|[^\s*]+(\.\*)?")
_CORE = frozenset(
    ("specversion", "type", "source", "id", "subject", "time", "data", "data_base64", "datacontenttype", "dataschema")
)
_INT32 = 1 << 31
_BROKEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def check(events: Iterable[Event]) -> None:
    """Return if every event may be published.

    Raises InvalidInput with each fault's path (`$[0].type`), PayloadTooLarge for data of more than 1 MB.
    """
    faults: list[FieldProblem] = []
    for number, event in enumerate(events):
        if event.data is not None and len(event.data) > MOST_BYTES:
            raise PayloadTooLarge(f"event {number} has {len(event.data)} bytes of data; at most {MOST_BYTES} are taken")
        faults += [FieldProblem(f"$[{number}].{path}", message) for path, message in _faults(event)]
    if faults:
        raise InvalidInput(f"{len(faults)} faults in the events; nothing was published", fields=faults[:50])


def _faults(event: Event) -> Iterator[tuple[str, str]]:
    for name in ("type", "source", "id"):
        yield from _text(name, getattr(event, name), least=1)
    yield from _text("subject", event.subject, least=0)
    yield from _text("schema", event.schema, least=0)
    yield from _text("content_type", event.content_type, least=1 if event.data is not None else 0)
    if "*" in event.type:
        yield "type", "must hold no *"
    if event.time is not None and event.time.tzinfo is None:
        yield "time", "must have a time zone"
    if event.extensions:
        yield from _extensions(event)


def _text(path: str, value: str, *, least: int) -> Iterator[tuple[str, str]]:
    if not least <= len(value) <= LONGEST:
        yield path, f"must have {least} to {LONGEST} characters"
    elif not value.isprintable() and _BROKEN.search(value):
        yield path, "must hold no control characters"


def _extensions(event: Event) -> Iterator[tuple[str, str]]:
    if len(event.extensions) > MOST_EXTENSIONS:
        yield "extensions", f"must be at most {MOST_EXTENSIONS}"
    for name, value in event.extensions.items():
        if _EXTENSION.fullmatch(name) is None or name in _CORE:
            yield (
                f"extensions.{name[:40]}",
                "needs a name of 1 to 40 lower-case letters and digits, and not an attribute's",
            )
        elif isinstance(value, str):
            if len(value) > LONGEST_VALUE or _BROKEN.search(value):
                yield f"extensions.{name}", f"must have at most {LONGEST_VALUE} characters and no control characters"
        elif not isinstance(value, bool) and not -_INT32 <= value < _INT32:
            yield f"extensions.{name}", "must be a 32-bit integer"
    if event.extensions.get(PRIORITY, "normal") not in PRIORITIES:
        yield f"extensions.{PRIORITY}", f"must be one of {', '.join(PRIORITIES)}"
    if EXPIRY in event.extensions and expiry(event) is None:
        yield f"extensions.{EXPIRY}", "must be a time of RFC 3339 with its offset"


def expiry(event: Event) -> datetime | None:
    """The moment after which nobody is given the event, None: never."""
    given = event.extensions.get(EXPIRY) if event.extensions else None
    if not isinstance(given, str):
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(UTC)


def matches(patterns: Sequence[str], kind: str) -> bool:
    """Whether a pattern names the type: the type itself, `prefix.*` for all below it, `*` for all."""
    return any(
        pattern in ("*", kind) or (pattern.endswith(".*") and kind.startswith(pattern[:-1])) for pattern in patterns
    )


def check_patterns(patterns: Sequence[str]) -> None:
    """Return if each is a type, `prefix.*` or `*`. Raises InvalidInput."""
    wrong = [pattern for pattern in patterns if _PATTERN.fullmatch(pattern) is None]
    if wrong or not patterns:
        raise InvalidInput(
            f"{wrong[0]!r} is no pattern of event types" if wrong else "no event types are named",
            next_step="Name a type, `prefix.*` for all below it, or `*`.",
        )
