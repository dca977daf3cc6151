"""The column that says when each row was: the moments by which features are joined as they were known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...core.clock import micros
from ...core.errors import FieldProblem, InvalidInput

if TYPE_CHECKING:
    import pyarrow

WANTED = "a moment such as 2026-03-01T12:00:00Z"


def check_kind(name: str, kind: pyarrow.DataType) -> None:
    """Raise InvalidInput if a column of this type can hold no moment: neither timestamps nor text."""
    import pyarrow.types as types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_timestamp(kind) or types.is_null(kind) or types.is_string(kind) or types.is_large_string(kind)):
        fault = FieldProblem(f"$.{name}", f"The column holds {kind}, not moments")
        raise InvalidInput(f"{fault.path[2:]}: {fault.message}", fields=[fault])


def moments(name: str, column: pyarrow.ChunkedArray) -> list[int | str]:
    """Of each row its moment in microseconds, or what is wrong with it. A moment without an offset is in UTC."""
    import pyarrow

    if not pyarrow.types.is_timestamp(column.type):
        return [_of_text(name, value) for value in column.to_pylist()]
    # A naive timestamp and one with a zone hold the same number: that of UTC.
    found = column.cast(pyarrow.timestamp("us", column.type.tz), safe=False).cast(pyarrow.int64()).to_pylist()
    return [_missing(name) if value is None else value for value in found]


def _of_text(name: str, value: Any) -> int | str:
    if value is None:
        return _missing(name)
    text = value.strip()
    try:
        # A day alone is no moment: nobody knows which one of it was meant.
        moment = datetime.fromisoformat(text) if len(text) > len("2026-03-01") else None
    except ValueError:
        moment = None
    if moment is None:
        return f"{name}: Expected {WANTED}"
    return micros(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _missing(name: str) -> str:
    return f"{name}: Required, and missing"
