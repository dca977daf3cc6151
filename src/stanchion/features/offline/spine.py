"""The spine of a training set: read from Arrow IPC, and checked before anything is joined to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.errors import FieldProblem, InvalidInput, MalformedRequest, PayloadTooLarge
from ..transforms import Transform

if TYPE_CHECKING:
    import pyarrow

_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a spine may be: bytes as sent, and rows."""

    megabytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Spine:
    """A spine that can be joined; `first` and `last` are its earliest and latest moment, None if it has no rows."""

    table: pyarrow.Table
    time: str
    first: int | None
    last: int | None


def read_spine(content: bytes, *, time: str, entities: Sequence[str], features: Sequence[str], limits: Limits) -> Spine:
    """The spine in these bytes. Raises MalformedRequest, PayloadTooLarge, and InvalidInput by column or by row."""
    import pyarrow
    import pyarrow.compute as compute

    if len(content) > limits.megabytes << 20:
        raise PayloadTooLarge(f"the spine has {len(content):,} bytes; the limit is {limits.megabytes} MB")
    try:
        with pyarrow.ipc.open_stream(pyarrow.BufferReader(content)) as stream:
            table: pyarrow.Table = stream.read_all()
        table.validate(full=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise MalformedRequest(
            f"the spine is no Arrow IPC stream: {error}", next_step="Write it with pyarrow.ipc.new_stream."
        ) from error
    if table.num_rows > limits.rows:
        raise PayloadTooLarge(f"the spine has {table.num_rows:,} rows; the limit is {limits.rows:,}")
    faults = _column_faults(table, time, entities, features)
    if not faults:
        faults = [fault for name in (time, *entities) for fault in _null_faults(table, name)]
    if faults:
        raise InvalidInput(f"{faults[0].path} {faults[0].message}; nothing was joined", fields=faults[:_FAULTS])
    moments = compute.min_max(_micros(table[time]))
    return Spine(table, time, moments["min"].as_py(), moments["max"].as_py())


def moments_of(spine: Spine) -> list[int]:
    """The moment of each row in microseconds."""
    found: list[int] = _micros(spine.table[spine.time]).to_pylist()
    return found


def _micros(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    import pyarrow

    return column.cast(pyarrow.timestamp("us", tz="UTC"), safe=False).cast(pyarrow.int64())


def request_fields(spine: Spine, transforms: Sequence[Transform]) -> list[list[dict[str, Any]]]:
    """By transform, the request's fields of each row as its function gets them. Raises InvalidInput."""
    faults: dict[FieldProblem, None] = {}
    asked = []
    for transform in transforms:
        names = [name for name in transform.request_fields if name in spine.table.column_names]
        rows = spine.table.select(names).to_pylist() if names else [{} for _ in range(spine.table.num_rows)]
        made = []
        for index, row in enumerate(rows):
            fields, wrong = transform.request(row, f"$.spine[{index}]")
            made.append(fields)
            faults |= dict.fromkeys(wrong)
            if len(faults) >= _FAULTS:
                break
        asked.append(made)
    if faults:
        found = list(faults)
        raise InvalidInput(f"{found[0].path} {found[0].message}; nothing was joined", fields=found[:_FAULTS])
    return asked


def _column_faults(
    table: pyarrow.Table, time: str, entities: Sequence[str], features: Sequence[str]
) -> list[FieldProblem]:
    from pyarrow import types

    names = table.column_names
    faults = [
        FieldProblem(f"$.spine.{name}", "stands there twice")
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    faults += [FieldProblem(f"$.spine.{name}", "is missing") for name in (time, *entities) if name not in names]
    faults += [
        FieldProblem(f"$.spine.{name}", "has the name of a feature; rename it") for name in names if name in features
    ]
    if faults:
        return faults
    kind = table.schema.field(time).type
    if not (types.is_timestamp(kind) and kind.tz is not None):
        faults.append(FieldProblem(f"$.spine.{time}", f"must be moments with a time zone, not {kind}"))
    for name in entities:
        kind = table.schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind)):
            faults.append(FieldProblem(f"$.spine.{name}", f"must be keys as text or whole numbers, not {kind}"))
    return faults


def _null_faults(table: pyarrow.Table, name: str) -> list[FieldProblem]:
    import pyarrow.compute as compute

    column = table[name]
    if not column.null_count:
        return []
    places = compute.indices_nonzero(column.is_null()).slice(0, _FAULTS).to_pylist()
    return [FieldProblem(f"$.spine[{place}].{name}", "is missing") for place in places]
