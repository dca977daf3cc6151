"""A view with a source, worked out once: which column fills which field, and which windows share their tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from ...core.errors import Misconfigured
from ..contract import Aggregate, SourceSpec, ViewSpec, check_view, feature_fields
from ..contract.declarations import Function
from . import definition

Kind = Literal["int", "float", "bool", "text", "moment", "day", "json"]
_LIMITS = (1, 100_000)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Column:
    """One value of each row: its name, its kind, and the SQL expression over a row of the source that gives it."""

    name: str
    kind: Kind
    sql: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One aggregated field: `column` is the position among the plan's columns, None for a count of events."""

    field: str
    function: Function
    column: int | None
    kind: Kind
    gives: Kind


@dataclass(frozen=True, slots=True)
class Group:
    """The measures over one window; they share its tiles."""

    width: int
    hop: int
    measures: tuple[Measure, ...]

    def far_end(self, at: int) -> int:
        """The earliest event time in the window when it is read at `at`."""
        return definition.far_end(at, self.width, self.hop)

    def far_end_sql(self, at: str) -> str:
        """The same as SQL."""
        return definition.far_end_sql(at, self.width, self.hop)


class Plan:
    """How a view's fields are filled. A view without a source has its pushed rows as one.

    `plain` are the fields taken from the newest row, `columns` what the windows are over. Raises Misconfigured.
    """

    def __init__(self, spec: ViewSpec) -> None:
        check_view(spec)
        self.spec = spec
        self.name = spec.name
        self.entity = spec.entity
        self.ttl = spec.ttl // _MICROSECOND
        self.source: SourceSpec | None = spec.source
        self.fields = tuple(feature_fields(spec))
        self.has_key = spec.entity in spec.row.model_fields
        kinds = kinds_of(spec.row)
        self.kinds: Mapping[str, Kind] = {name: kinds[name] for name in self.fields}
        self.plain = tuple(
            Column(name, kinds[name], spec.select.get(name, quoted(name)))
            for name in self.fields
            if name not in spec.aggregates
        )
        self.columns, self.groups = self._windows(spec, kinds)
        self.limit = spec.limit
        if not _LIMITS[0] <= spec.limit <= _LIMITS[1]:
            raise Misconfigured(f"the limit of the feature view {spec.name} must be {_LIMITS[0]} to {_LIMITS[1]:,}")

    @property
    def memory(self) -> int:
        """For how many microseconds an entity is remembered after its newest event: then it is unknown, not stale."""
        return max([2 * self.ttl, *(group.width + group.hop for group in self.groups)])

    def reach(self, at: int) -> int:
        """The earliest event time that any window needs when the view is read at `at`."""
        return min(group.far_end(at) for group in self.groups)

    def reach_sql(self, at: str) -> str:
        """The same as SQL."""
        return f"least({', '.join(group.far_end_sql(at) for group in self.groups)})"

    def _windows(self, spec: ViewSpec, kinds: Mapping[str, Kind]) -> tuple[tuple[Column, ...], tuple[Group, ...]]:
        if spec.source is None:
            return (), ()
        types = kinds_of(spec.source.row)
        columns: dict[str, Column] = {}
        groups: dict[tuple[int, int], list[Measure]] = {}
        for field in self.fields:
            made = spec.aggregates.get(field)
            if made is None:
                continue
            name = made.column
            if name is not None:
                columns.setdefault(name, Column(name, types[name], quoted(name)))
            measure = Measure(
                field,
                made.function,
                None if name is None else list(columns).index(name),
                "int" if name is None else types[name],
                kinds[field],
            )
            _check(f"{spec.name}.{field}", made, measure)
            groups.setdefault((definition.width(made), definition.hop(made)), []).append(measure)
        found = tuple(Group(width, hop, tuple(measures)) for (width, hop), measures in groups.items())
        return tuple(columns.values()), found


def _check(place: str, made: Aggregate, measure: Measure) -> None:
    if made.hop is not None and not timedelta(0) < made.hop <= made.window:
        raise Misconfigured(f"the hop of {place} must be above zero and at most its window")
    if measure.kind == "json":
        raise Misconfigured(f"{place} aggregates {made.column!r}, which is no plain value")
    if made.function == "sum" and measure.kind == "float" and measure.gives == "int":
        raise Misconfigured(f"{place} is a sum of fractions", next_step="Declare its field as `float`.")
    same = measure.kind == measure.gives or (measure.kind == "int" and measure.gives == "float")
    if made.function in ("min", "max") and not same:
        raise Misconfigured(f"{place} must have the type of the column {made.column!r}")


def kinds_of(row: type[BaseModel]) -> dict[str, Kind]:
    """The kind of each field of a type, by its JSON schema."""
    schema = row.model_json_schema(mode="serialization")
    definitions = schema.get("$defs", {})
    return {name: _kind(field, definitions) for name, field in schema.get("properties", {}).items()}


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _kind(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Kind:
    if "$ref" in field:
        return _kind(definitions[str(field["$ref"]).rpartition("/")[2]], definitions)
    options = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    if len(options) != 1:
        return "json"
    option = options[0]
    if "$ref" in option:
        return _kind(option, definitions)
    match option.get("type"), option.get("format"):
        case "integer", _:
            return "int"
        case "number", _:
            return "float"
        case "boolean", _:
            return "bool"
        case "string", "date-time":
            return "moment"
        case "string", "date":
            return "day"
        case "string", _:
            return "text"
        case _:
            return "json"
