"""What a declaration of features must be, said where it is written and not where it is first used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from ...core.errors import Misconfigured
from .declarations import Aggregate, OnDemandSpec, ServiceSpec, SourceSpec, ViewSpec

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NUMERIC = ("sum", "mean")
_NUMBERS = {"integer", "number"}


def check_source(spec: SourceSpec) -> None:
    """Raise Misconfigured unless the source's time columns are moments of its row type and its name can be used."""
    _check_name("source", spec.name)
    fields = _properties(spec.row)
    for role, column in (("time", spec.time), ("known", spec.known)):
        if column is None:
            continue
        if column not in fields:
            raise _wrong(
                f"the source {spec.name} has no column {column!r} for `{role}`", f"Name one of {_list(fields)}."
            )
        if not any(kind.get("format") == "date-time" for kind in _options(fields[column])):
            raise _wrong(f"the column {column!r} of the source {spec.name} is no moment", "Declare it as `datetime`.")
    if spec.event is not None and spec.event not in fields:
        raise _wrong(
            f"the source {spec.name} has no column {spec.event!r} for `event`", f"Name one of {_list(fields)}."
        )
    table = spec.table
    if table is not None and not table.place.strip():
        raise _wrong(f"the table of the source {spec.name} has no place", "Give a path, or a query for `sql`.")
    if table is not None and (table.format == "sql") != (table.connection is not None):
        raise _wrong(
            f"the table of the source {spec.name} needs `connection` for `sql`, and only then",
            'Name the secret that holds the database\'s address: Table("sql", query, connection="sales").',
        )


def check_view(spec: ViewSpec) -> None:
    """Raise Misconfigured for a name, a lifetime, or a field that nothing fills or two things fill."""
    _check_name("feature view", spec.name)
    if spec.ttl <= timedelta(0):
        raise _wrong(f"the feature view {spec.name} needs a ttl above zero", "Say how old a value may be served.")
    if not spec.entity:
        raise _wrong(f"the feature view {spec.name} names no entity", "Name the key by which its rows are found.")
    if spec.source is None:
        if spec.select or spec.aggregates:
            raise _wrong(f"the feature view {spec.name} computes fields but has no source", "Declare its `source`.")
        return
    check_source(spec.source)
    _check_sourced(spec, spec.source)


def check_on_demand(spec: OnDemandSpec, views: Mapping[str, ViewSpec]) -> None:
    """Raise Misconfigured for unknown views, or a field that two of the transform's inputs have."""
    _check_name("transform", spec.name)
    seen: dict[str, str] = {}
    for view in _known(f"the transform {spec.name}", spec.views, views):
        _claim(seen, feature_fields(view), view.name, f"the inputs of {spec.name}")
    if spec.request is not None:
        _claim(seen, spec.request.model_fields, "the request", f"the inputs of {spec.name}")
    if not spec.views and spec.request is None:
        raise _wrong(f"the transform {spec.name} has no inputs", "Give it views, a request type, or both.")
    if not spec.output.model_fields:
        raise _wrong(f"the output of the transform {spec.name} has no fields", "Declare what it computes.")


def check_service(spec: ServiceSpec, views: Mapping[str, ViewSpec], on_demand: Mapping[str, OnDemandSpec]) -> None:
    """Raise Misconfigured for unknown parts, a feature that two parts give, or a transform whose views are not read."""
    _check_name("feature service", spec.name)
    seen: dict[str, str] = {}
    used = _known(f"the feature service {spec.name}", spec.views, views)
    for view in used:
        _claim(seen, feature_fields(view), view.name, f"the feature service {spec.name}")
    for name in spec.on_demand:
        if name not in on_demand:
            raise _wrong(f"the feature service {spec.name} reads the transform {name!r}", "Declare it, or drop it.")
        transform = on_demand[name]
        if missing := [view for view in transform.views if view not in spec.views]:
            raise _wrong(
                f"the transform {name} reads {_list(missing)}, which the feature service {spec.name} does not",
                "Add the views to the service.",
            )
        _claim(seen, transform.output.model_fields, name, f"the feature service {spec.name}")
    for name in spec.on_demand:
        # A training set has the request's fields beside the features: one name cannot stand for both.
        request = on_demand[name].request
        if both := sorted(seen.keys() & (request.model_fields if request is not None else {})):
            raise _wrong(
                f"the request of {name} and {seen[both[0]]} both have a field {both[0]!r} in {spec.name}",
                "Rename it in one of their types.",
            )
    if len({*spec.views}) != len(spec.views) or len({*spec.on_demand}) != len(spec.on_demand):
        raise _wrong(f"the feature service {spec.name} names a part twice", "Name each once.")
    if not used:
        raise _wrong(f"the feature service {spec.name} reads no view", "Name at least one.")


def feature_fields(spec: ViewSpec) -> Sequence[str]:
    """The fields of a view that are features: all but its entity's key."""
    return [name for name in _properties(spec.row) if name != spec.entity]


def _check_sourced(spec: ViewSpec, source: SourceSpec) -> None:
    columns, fields = _properties(source.row), _properties(spec.row)
    if spec.entity not in columns:
        raise _wrong(
            f"the source {source.name} has no column {spec.entity!r}, the entity of the feature view {spec.name}",
            f"Name one of {_list(columns)}.",
        )
    if spec.limit < 1:
        raise _wrong(f"the limit of the feature view {spec.name} is below 1", "Say how many events a window may hold.")
    if both := set(spec.select) & set(spec.aggregates):
        raise _wrong(f"{spec.name} both selects and aggregates {_list(both)}", "Fill each field once.")
    if strange := (set(spec.select) | set(spec.aggregates)) - set(fields):
        raise _wrong(f"{spec.name} computes {_list(strange)}, which its type has not", "Add the fields to its type.")
    for name in fields:
        if name in spec.select and not spec.select[name].strip():
            raise _wrong(f"the expression of {spec.name}.{name} is empty", "Write an SQL expression over one row.")
        if name in spec.aggregates:
            _check_aggregate(f"{spec.name}.{name}", spec.aggregates[name], fields[name], columns)
        elif name not in spec.select and name not in columns:
            raise _wrong(
                f"nothing fills {spec.name}.{name}: the source {source.name} has no such column",
                "Add an entry to `select` or to `aggregates`, or name a column of the source.",
            )


def _check_aggregate(place: str, made: Aggregate, field: Any, columns: Mapping[str, Any]) -> None:
    if made.window < timedelta(seconds=1):
        raise _wrong(f"the window of {place} is shorter than a second", "Give it days, hours, minutes or seconds.")
    if made.hop is not None and not timedelta(0) < made.hop <= made.window:
        raise _wrong(f"the hop of {place} is not between zero and its window", "Leave it out, or make it smaller.")
    if (made.column is None) != (made.function == "count"):
        raise _wrong(f"{place} needs a column, except for count, which takes none", "Correct the aggregate.")
    if made.column is not None and made.column not in columns:
        raise _wrong(f"{place} aggregates {made.column!r}, which the source has not", f"Name one of {_list(columns)}.")
    if made.column is not None and made.function in _NUMERIC and not _kinds(columns[made.column]) & _NUMBERS:
        raise _wrong(f"{place} takes the {made.function} of {made.column!r}, which is no number", "Name a number.")
    kinds = _kinds(field)
    if made.function in ("count", "distinct", "sum", "mean") and not kinds & _NUMBERS:
        raise _wrong(f"{place} is a number", "Declare its field as `int` or `float`.")
    if made.function in ("mean", "min", "max") and "null" not in kinds:
        raise _wrong(f"{place} is null where its window is empty", "Declare its field as optional: `float | None`.")
    if made.function == "mean" and "number" not in kinds:
        raise _wrong(f"{place} is a mean", "Declare its field as `float | None`.")


def _known(reader: str, names: Sequence[str], views: Mapping[str, ViewSpec]) -> Sequence[ViewSpec]:
    if missing := [name for name in names if name not in views]:
        raise _wrong(f"{reader} reads {_list(missing)}, which no feature view is called", "Declare the view.")
    return [views[name] for name in names]


def _claim(seen: dict[str, str], fields: Any, owner: str, where: str) -> None:
    for name in fields:
        if name in seen:
            raise _wrong(
                f"{where}: both {seen[name]} and {owner} have a field {name!r}", "Rename it in one of their types."
            )
        seen[name] = owner


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise _wrong(f"the {kind} {name!r} needs a name of A-Z a-z 0-9 . _ -", "Rename it.")


def _properties(row: type[BaseModel]) -> dict[str, Any]:
    schema = row.model_json_schema(mode="serialization")
    definitions = schema.get("$defs", {})
    return {name: _resolved(field, definitions) for name, field in schema.get("properties", {}).items()}


def _resolved(field: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(field, dict) and "$ref" in field:
        return definitions[str(field["$ref"]).rpartition("/")[2]]
    if isinstance(field, dict) and "anyOf" in field:
        return {**field, "anyOf": [_resolved(option, definitions) for option in field["anyOf"]]}
    return field


def _options(field: Any) -> Sequence[Any]:
    return list(field.get("anyOf", [field]))


def _kinds(field: Any) -> set[str]:
    return {str(option.get("type", "any")) for option in _options(field)}


def _list(names: Any) -> str:
    return ", ".join(sorted(names))


def _wrong(detail: str, next_step: str) -> Misconfigured:
    return Misconfigured(detail, next_step=next_step)
