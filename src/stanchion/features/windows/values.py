"""Values of each kind as they are stored, compared and told: moments as microseconds inside, as JSON outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from pydantic import TypeAdapter

from ...core.clock import micros, moment
from ...core.values import Json
from .definition import usable
from .plan import Kind

_MOMENTS = TypeAdapter(datetime)


def inner(kind: Kind, value: Any) -> Any:
    """A JSON value, or one that an engine gave, as windows hold it; None stays None. A whole number is microseconds."""
    if value is None:
        return None
    match kind:
        case "float":
            return usable(float(value))
        case "moment":
            if isinstance(value, int):
                return value
            return micros(utc(_MOMENTS.validate_python(value)))
        case "day":
            return value.isoformat() if isinstance(value, date) else value
        case "json":
            return msgspec.json.decode(value) if isinstance(value, str | bytes) else value
        case _:
            return value


def outer(kind: Kind, value: Any) -> Json:
    """What windows hold as the JSON value that readers get."""
    if kind == "moment" and value is not None:
        text: str = _MOMENTS.dump_python(moment(value), mode="json")
        return text
    found: Json = float(value) if kind == "float" and value is not None else value
    return found


def utc(value: datetime) -> datetime:
    """A moment; one without an offset is in UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def rank(values: Sequence[Any]) -> tuple[tuple[bool, Any], ...]:
    """How rows that are alike in all else are told apart: by their values in order, null first."""
    return tuple((value is not None, _comparable(value)) for value in values)


def _comparable(value: Any) -> Any:
    if value is None:
        return 0
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
