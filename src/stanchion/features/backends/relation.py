"""From a source's columns to the relation that windows are made of: typed as declared, or refused."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.errors import InvalidInput
from ..contract import SourceSpec
from ..ports import Span
from ..windows.definition import usable_sql
from ..windows.plan import Column, Kind, Plan, kinds_of, quoted
from ..windows.sql import select

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_NUMBERS = (*_INTEGERS, "UBIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_FIT: Mapping[Kind, tuple[str, ...]] = {
    "int": (*_INTEGERS, "UBIGINT"),
    "float": _NUMBERS,
    "bool": ("BOOLEAN",),
    "text": ("VARCHAR", "ENUM", "UUID"),
    "moment": ("TIMESTAMP",),
    "day": ("DATE",),
    "json": ("",),
}


def is_whole(kind: str) -> bool:
    """Whether an SQL type holds whole numbers that fit in 64 bits."""
    return kind in _INTEGERS


def table_rows(plan: Plan, source: SourceSpec, types: Mapping[str, str], raw: str, key: str, span: Span | None) -> str:
    """The relation of a table's rows. `types` are the SQL types of its columns, `key` that of the spine's key.

    Raises InvalidInput if a column is missing or is not of its declared type.
    """
    _check(plan, source, types)
    time = quoted(source.time)
    at = f"epoch_us({time}::TIMESTAMPTZ)"
    known = at if source.known is None else f"coalesce(epoch_us({quoted(source.known)}::TIMESTAMPTZ), {at})"
    event = "''" if source.event is None else f"coalesce({quoted(source.event)}::VARCHAR, '')"
    made = [
        f"{quoted(plan.entity)}::{key} AS k",
        f"{at} AS a",
        f"{known} AS w",
        f"{event} AS e",
        *(f"{typed(column, types)} AS p{i}" for i, column in enumerate(plan.plain)),
        *(f"{typed(column, types)} AS c{i}" for i, column in enumerate(plan.columns)),
    ]
    kept = [f"{quoted(plan.entity)} IS NOT NULL", f"{time} IS NOT NULL"]
    if span is not None:
        # On the column itself: so that a Parquet file's own statistics can pass over what is not needed.
        kept.append(f"{time}::TIMESTAMPTZ >= make_timestamptz({span.start})")
        kept.append(f"{time}::TIMESTAMPTZ < make_timestamptz({span.end})")
    return select(", ".join(made), raw, "WHERE", " AND ".join(kept))


def log_rows(plan: Plan, types: Mapping[str, str], raw: str, key: str) -> str:
    """The relation of pushed rows, which have _k, _a, _w and _e beside their columns."""
    made = [
        f"_k::{key} AS k",
        "_a AS a",
        "_w AS w",
        "_e AS e",
        *(f"{typed(column, types)} AS p{i}" for i, column in enumerate(plan.plain)),
        *(f"{typed(column, types)} AS c{i}" for i, column in enumerate(plan.columns)),
    ]
    return select(", ".join(made), raw)


def typed(column: Column, types: Mapping[str, str]) -> str:
    """The column's value as windows hold it."""
    match column.kind:
        case "float":
            return usable_sql(f"({column.sql})::DOUBLE")
        case "moment":
            return f"epoch_us(({column.sql})::TIMESTAMPTZ)"
        case "json":
            return column.sql if types.get(column.name) == "VARCHAR" else f"to_json({column.sql})::VARCHAR"
        case "int":
            return f"({column.sql})::BIGINT"
        case "bool":
            return f"({column.sql})::BOOLEAN"
        case "day":
            return f"({column.sql})::DATE"
        case _:
            return f"({column.sql})::VARCHAR"


def _check(plan: Plan, source: SourceSpec, types: Mapping[str, str]) -> None:
    declared = kinds_of(source.row)
    selected = plan.spec.select
    wanted = {plan.entity, source.time, *(c.name for c in plan.plain if c.name not in selected)}
    wanted |= {c.name for c in plan.columns} | {each for each in (source.known, source.event) if each is not None}
    for name in sorted(wanted):
        if name not in types:
            raise InvalidInput(f"the table of the source {source.name} has no column {name!r}")
        if not types[name].startswith(_FIT[declared[name]]):
            raise InvalidInput(
                f"the column {name!r} of the source {source.name} is {types[name]}, declared as {declared[name]}",
                next_step="Declare the column as it is, or correct the table.",
            )
