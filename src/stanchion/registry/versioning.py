"""Which number the next version gets (https://semver.org), and when two schemas are the same interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..core.values import Json
from .contract import Draft, ModelVersion
from .manifest import canonical

FIRST = "1.0.0"

# Annotations of JSON Schema (2020-12, Meta-Data vocabulary) that no caller's request depends on. A default is not
# among them: with another default the same request has another answer.
_PROSE = frozenset({"title", "description", "examples", "$comment"})
# Here keys are names chosen by the author, so that a field called `title` is a field.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"const", "default"})
_UNORDERED = frozenset({"required", "type", "enum"})


def next_version(newest: ModelVersion | None, draft: Draft) -> str:
    """The number after the newest one: other schema raises major, other weights minor, other packaging patch."""
    if newest is None:
        return FIRST
    major, minor, patch = (int(part) for part in newest.version.split("."))
    if not (
        same_interface(newest.input_schema, draft.input_schema)
        and same_interface(newest.output_schema, draft.output_schema)
    ):
        return f"{major + 1}.0.0"
    if newest.weights_sha256 != draft.weights_sha256:
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"


def same_interface(one: Mapping[str, Json], other: Mapping[str, Json]) -> bool:
    """Whether two JSON Schemas ask the same of a document; titles, descriptions and examples do not count."""
    return canonical(_shape(dict(one))) == canonical(_shape(dict(other)))


def _shape(schema: Json) -> Json:
    if isinstance(schema, list):
        return [_shape(item) for item in schema]
    if isinstance(schema, dict):
        return {key: _part(key, value) for key, value in schema.items() if key not in _PROSE}
    return _number(schema)


def _part(key: str, value: Json) -> Json:
    if key in _NAMED and isinstance(value, dict):
        return {name: _shape(schema) for name, schema in value.items()}
    if key in _VALUES:
        return value
    if key in _UNORDERED and isinstance(value, list):
        return cast(list[Json], sorted(value, key=canonical))  # list is invariant: the same items, sorted
    return _shape(value)


def _number(value: Json) -> Json:
    # For JSON Schema 1.0 is the integer 1 (validation, 6.1.1).
    return int(value) if isinstance(value, float) and value.is_integer() else value
