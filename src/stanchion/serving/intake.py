"""Instances are checked against a version's JSON Schema, compiled once into a msgspec struct.

Compiled, a check of twenty fields costs well under a microsecond. The compiled type admits what the schema
admits, and is stricter in three ways: unknown fields are refused, numbers must fit float32 (so NaN and the
infinities are refused), and a number is never read from a string or a boolean.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from operator import attrgetter, or_
from types import GenericAlias
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from ..core.errors import FieldProblem, InvalidInput
from ..core.http.routes import fault
from ..core.values import Json
from .package import Column

ROOT = "$.features"
_FLOAT32 = 3.4028234663852886e38
_LISTED = 50
_NAME = 64


class _Field(NamedTuple):
    """A property: its name outside, its attribute inside, its type, and whether it must be given."""

    name: str
    attribute: str
    type: Any
    required: bool
    default: Any
    allowed: Sequence[Any]


class Intake:
    """Checks instances of one input schema; `row` gives a checked one as numbers.

    Raises InvalidInput if the schema is not that of an object, or lacks a column.
    """

    def __init__(self, schema: Mapping[str, Any], columns: Sequence[Column] = ()) -> None:
        self._fields, self.struct = _compiled(schema)
        by_name = {field.name: field for field in self._fields}
        valued = {field.name for field in self._fields if field.required or field.default is not msgspec.UNSET}
        strange = [column.name for column in columns if column.name not in valued]
        if strange:
            raise InvalidInput(f"the input schema lacks the columns {', '.join(strange)}, or their defaults")
        self._read = _reader([by_name[column.name].attribute for column in columns])
        self._places = [
            (place, {value: float(code) for code, value in enumerate(column.categories)})
            for place, column in enumerate(columns)
            if column.kind == "category"
        ]
        for column in columns:
            allowed = by_name[column.name].allowed
            if column.kind == "category" and not (allowed and set(allowed) <= set(column.categories)):
                raise InvalidInput(f"the input schema allows values of {column.name} that the graph does not know")
        self._nullable = [p for p, c in enumerate(columns) if _admits_null(by_name[c.name].type)]

    def checked(self, instance: Mapping[str, Json]) -> Any:
        """The instance as a struct with its defaults. Raises InvalidInput with every faulty field."""
        try:
            return msgspec.convert(instance, self.struct)
        # A lone surrogate in a key cannot be encoded; msgspec lets Python's own error through.
        except (msgspec.ValidationError, UnicodeError) as error:
            raise self._refusal(instance, error) from error

    def row(self, item: Any) -> list[float]:
        """The columns of a checked instance, in order."""
        values = self._read(item)
        for place, codes in self._places:
            values[place] = codes[values[place]]
        for place in self._nullable:
            if values[place] is None:
                values[place] = math.nan
        return values

    def plain(self, item: Any) -> Any:
        """A checked instance as plain JSON data, without fields that have no value."""
        return msgspec.to_builtins(item)

    def _refusal(self, instance: object, error: Exception) -> InvalidInput:
        """Slow on purpose: names every fault at once, where the fast check stops at the first."""
        if not isinstance(instance, Mapping):
            return InvalidInput("an instance must be a JSON object", fields=[FieldProblem(ROOT, "Expected an object")])
        names = {field.name for field in self._fields}
        problems = [
            FieldProblem(_path(str(name)), "No such field") for name in list(instance)[:_LISTED] if name not in names
        ]
        for field in self._fields:
            if field.name in instance:
                problems += _problems(field, instance[field.name])
            elif field.required:
                problems.append(FieldProblem(_path(field.name), "Required, and missing"))
        if not problems:
            problems = [FieldProblem(ROOT, str(error) if isinstance(error, msgspec.ValidationError) else "Not text")]
        first = problems[0]
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return InvalidInput(f"{first.path}: {first.message}{more}", fields=problems[:_LISTED])


def _compiled(schema: Mapping[str, Any]) -> tuple[list[_Field], type[msgspec.Struct]]:
    """The fields and their struct, tried once: msgspec finds only at the first use that it cannot tell types apart."""
    types = _Types(schema.get("$defs", {}))
    try:
        fields = types.fields(schema)
        struct = types.struct(fields, str(schema.get("title", "Instance")))
        with suppress(msgspec.ValidationError):
            msgspec.convert({}, struct)
    except (TypeError, ValueError, AttributeError, re.error) as error:
        raise InvalidInput(f"the input schema cannot be checked: {error}") from error
    return fields, struct


def _reader(attributes: Sequence[str]) -> Callable[[Any], list[Any]]:
    if not attributes:
        return lambda item: []
    read = attrgetter(*attributes)
    return (lambda item: [read(item)]) if len(attributes) == 1 else lambda item: list(read(item))


def _problems(field: _Field, value: object) -> list[FieldProblem]:
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        problem = fault(error, root=_path(field.name))
        # msgspec repeats a value that is in no enum: what a caller sent stays out of errors, and so out of logs.
        if problem.message.startswith("Invalid enum value"):
            allowed = ", ".join(json.dumps(each) for each in field.allowed)
            problem = FieldProblem(problem.path, f"Expected one of {allowed}" if allowed else "Not a declared value")
        return [problem]
    except UnicodeError:
        return [FieldProblem(_path(field.name), "Not text that UTF-8 can hold")]
    return []


def _path(name: str) -> str:
    if name.isidentifier() and name.isascii():
        return f"{ROOT}.{name[:_NAME]}"
    return f"{ROOT}[{json.dumps(name[:_NAME])}]"


def _admits_null(kind: Any) -> bool:
    try:
        msgspec.convert(None, kind)
    except msgspec.ValidationError:
        return False
    return True


class _Types:
    """JSON Schema, as pydantic writes it, in msgspec's types."""

    def __init__(self, defs: Mapping[str, Any]) -> None:
        self._defs = defs
        self._open: set[str] = set()

    def fields(self, schema: Mapping[str, Any]) -> list[_Field]:
        if schema.get("type") != "object" or "properties" not in schema:
            raise InvalidInput("the input schema does not describe an object with properties")
        required = set(schema.get("required", ()))
        return [
            _Field(
                name,
                f"f{place}",
                self.type(each),
                name in required,
                each.get("default", msgspec.UNSET),
                self._allowed(each),
            )
            for place, (name, each) in enumerate(schema["properties"].items())
        ]

    def struct(self, fields: Sequence[_Field], title: str) -> type[msgspec.Struct]:
        """Attributes are numbered: a property may be called what no Python name may be."""
        return msgspec.defstruct(
            title,
            [self._member(field) for field in fields],
            rename={field.attribute: field.name for field in fields},
            forbid_unknown_fields=True,
            kw_only=True,
            frozen=True,
            gc=False,
        )

    def _member(self, field: _Field) -> Any:
        if field.required:
            return field.attribute, field.type
        kind = field.type if field.default is not msgspec.UNSET else or_(field.type, msgspec.UnsetType)
        if isinstance(field.default, list | dict | set):
            copied = json.dumps(field.default)
            return field.attribute, kind, msgspec.field(default_factory=lambda: json.loads(copied))
        return field.attribute, kind, field.default

    def type(self, schema: Mapping[str, Any]) -> Any:
        if "$ref" in schema:
            return self._referred(str(schema["$ref"]).rsplit("/", 1)[-1])
        if "allOf" in schema and len(schema["allOf"]) == 1:
            return self.type(schema["allOf"][0])
        branches = schema.get("anyOf", schema.get("oneOf"))
        if branches is not None:
            return reduce(or_, [self.type(each) for each in branches])
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if values is not None:
            return _literal(values)
        return self._plain(schema)

    def _plain(self, schema: Mapping[str, Any]) -> Any:
        match schema.get("type"):
            case "null":
                return None
            case "boolean":
                return bool
            case "integer":
                return _bounded(int, schema)
            case "number":
                return _bounded(float, {"minimum": -_FLOAT32, "maximum": _FLOAT32, **schema})
            case "string":
                return _sized(str, schema, "minLength", "maxLength")
            case "array":
                return _sized(GenericAlias(list, (self.type(schema.get("items", {})),)), schema, "minItems", "maxItems")
            case "object" if "properties" in schema:
                return self.struct(self.fields(schema), str(schema.get("title", "Part")))
            case "object":
                extra = schema.get("additionalProperties", True)
                return GenericAlias(dict, (str, self.type(extra) if isinstance(extra, Mapping) else Any))
            case _:
                return Any

    def _referred(self, name: str) -> Any:
        if name not in self._defs or name in self._open:
            raise InvalidInput(f"the input schema refers to {name!r}, which is absent or contains itself")
        self._open.add(name)
        try:
            return self.type(self._defs[name])
        finally:
            self._open.discard(name)

    def _allowed(self, schema: Mapping[str, Any]) -> Sequence[Any]:
        if "$ref" in schema:
            return self._allowed(self._defs.get(str(schema["$ref"]).rsplit("/", 1)[-1], {}))
        for each in schema.get("anyOf", ()):
            if allowed := self._allowed(each):
                return allowed
        found = schema.get("enum", [schema["const"]] if "const" in schema else ())
        return tuple(found)


def _literal(values: Sequence[Any]) -> Any:
    if all((isinstance(value, str | int) and not isinstance(value, bool)) or value is None for value in values):
        return Literal[tuple(values)]
    raise InvalidInput("an enum of the input schema holds something besides texts and whole numbers")


def _bounded(kind: type[Any], schema: Mapping[str, Any]) -> Any:
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    given = {ours: schema[theirs] for ours, theirs in names.items() if theirs in schema}
    # msgspec takes one bound of a side; the exclusive one is the stricter of ours.
    for strict, loose in (("gt", "ge"), ("lt", "le")):
        if strict in given:
            given.pop(loose, None)
    if "multipleOf" in schema:
        given["multiple_of"] = schema["multipleOf"]
    return Annotated[kind, msgspec.Meta(**given)] if given else kind


def _sized(kind: Any, schema: Mapping[str, Any], least: str, most: str) -> Any:
    given = {ours: schema[theirs] for ours, theirs in (("min_length", least), ("max_length", most)) if theirs in schema}
    if "pattern" in schema and least == "minLength":
        given["pattern"] = schema["pattern"]
    return Annotated[kind, msgspec.Meta(**given)] if given else kind
