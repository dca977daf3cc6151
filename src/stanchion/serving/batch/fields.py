"""What a field of the input schema admits, in a form that whole columns can be checked against.

Only what is fully understood is checked by column: a schema word that is not known here makes the field `other`,
and each of its values goes through the check of single instances. Never the other way round: a column check may
refuse what that check admits, and must not admit what it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["number", "integer", "boolean", "string", "other"]
_NOTES = frozenset({"title", "description", "default", "examples", "role", "deprecated", "format"})
_KNOWN: Mapping[str, frozenset[str]] = {
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "boolean": frozenset(),
    "string": frozenset({"minLength", "maxLength"}),
}
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One property. `allowed` are the values of an enum; bounds are None where there are none.

    `default` is meaningful only if `defaulted`; a field that is neither required nor defaulted may just be absent.
    """

    name: str
    kind: Kind
    nullable: bool
    required: bool
    defaulted: bool
    default: Any
    identifier: bool
    allowed: tuple[Any, ...] = ()
    bounds: Mapping[str, float] = field(default_factory=dict)

    @property
    def may_be_absent(self) -> bool:
        """Whether a row without a value is a row all the same."""
        return self.nullable or not self.required


def rules_of(schema: Mapping[str, Any]) -> Sequence[FieldRule]:
    """One rule for each property, in order."""
    required, defs = set(schema.get("required", ())), schema.get("$defs", {})
    return [_rule(name, each, defs, name in required) for name, each in schema["properties"].items()]


def _rule(name: str, schema: Mapping[str, Any], defs: Mapping[str, Any], required: bool) -> FieldRule:
    branches = [_followed(each, defs) for each in schema.get("anyOf", [schema])]
    real = [each for each in branches if each.get("type") != "null"]
    kind: Kind = "other"
    found: Mapping[str, Any] = {}
    if len(real) == 1:
        found = real[0]
        kind = _kind(found)
    default = schema.get("default", _ABSENT)
    return FieldRule(
        name=name,
        kind=kind,
        nullable=len(real) < len(branches),
        required=required,
        defaulted=default is not _ABSENT,
        default=None if default is _ABSENT else default,
        identifier=schema.get("role") == "identifier",
        allowed=tuple(found.get("enum", [found["const"]] if "const" in found else ())),
        bounds={word: found[word] for word in _KNOWN.get(kind, ()) if word in found},
    )


def _followed(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(schema.get("allOf", ())) == 1:
        return _followed({**schema["allOf"][0], **{k: v for k, v in schema.items() if k in _NOTES}}, defs)
    if "$ref" in schema:
        found: Mapping[str, Any] = defs.get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
        return found
    return schema


def _kind(schema: Mapping[str, Any]) -> Kind:
    named = schema.get("type")
    words = set(schema) - _NOTES - {"type", "enum", "const"}
    values = schema.get("enum", [schema["const"]] if "const" in schema else ())
    for kind in ("number", "integer", "boolean", "string"):
        if named == kind and words <= _KNOWN[kind]:
            wanted: Any = str if kind == "string" else int
            fits = all(isinstance(value, wanted) and not isinstance(value, bool) for value in values)
            # A bound beside an enum, or an enum of fractions, is rare enough to go the slow way.
            return kind if not values or (fits and not words and kind in ("string", "integer")) else "other"
    return "other"
