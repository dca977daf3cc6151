"""Whether one value is valid by a JSON Schema: the registry asks it of each value that an `enum` names."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from .views import Document, Node, View, canonical

_Rule = Callable[["Document", View, Any], bool]


def accepts(document: Document, view: View, value: Any) -> bool:
    """Whether the value keeps every rule of the view. Rules that nobody looks into are taken as broken."""
    if view.never or kind_of(value) not in view.types or view.opaque:
        return False
    if view.values is not None and canonical(value) not in [canonical(each) for each in view.values]:
        return False
    rule = _RULES.get(kind_of(value))
    if rule is not None and not rule(document, view, value):
        return False
    return _joined(document, view, value)


def kind_of(value: Any) -> str:
    """The schema's word for the value's type; 1.0 is an integer."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) or value.is_integer() else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _joined(document: Document, view: View, value: Any) -> bool:
    def ok(node: Node) -> bool:
        return accepts(document, document.view(node), value)

    return (
        not any(ok(node) for node in view.nots)
        and all(any(ok(node) for node in group) for group in view.anys)
        and all(sum(ok(node) for node in group) == 1 for group in view.ones)
    )


def _number(document: Document, view: View, value: Any) -> bool:
    low, high = view.lower, view.upper
    if low is not None and (value < low.value or (low.open and value == low.value)):
        return False
    if high is not None and (value > high.value or (high.open and value == high.value)):
        return False
    return all(divides(each, value) for each in view.multiples)


def divides(step: float, value: float) -> bool:
    """Whether the value is a whole number of steps, as decimals are written: 0.3 is three times 0.1."""
    return (Fraction(str(value)) / Fraction(str(step))).denominator == 1


def _string(document: Document, view: View, value: Any) -> bool:
    return (
        view.least.get("minLength", 0) <= len(value) <= view.most.get("maxLength", len(value))
        and all(re.search(pattern, value) for pattern in view.patterns)
        and not view.formats
    )


def _array(document: Document, view: View, value: Any) -> bool:
    if not view.least.get("minItems", 0) <= len(value) <= view.most.get("maxItems", len(value)):
        return False
    if view.unique and len({canonical(each) for each in value}) < len(value):
        return False
    return all(
        accepts(document, document.view(item_rule(rules, i)), each)
        for rules in view.lists
        for i, each in enumerate(value)
    )


def _object(document: Document, view: View, value: Any) -> bool:
    size = len(value)
    if not view.least.get("minProperties", 0) <= size <= view.most.get("maxProperties", size):
        return False
    if not view.required <= set(value):
        return False
    if any(name in value and not needed <= set(value) for name, needed in view.dependent.items()):
        return False
    if not all(accepts(document, document.view(node), name) for node in view.names for name in value):
        return False
    return all(
        accepts(document, document.view({"allOf": property_rules(shape, name)}), each)
        for shape in view.shapes
        for name, each in value.items()
    )


def property_rules(shape: dict[str, Any], name: str) -> list[Node]:
    """The schemas that a property of this name must keep."""
    found: list[Node] = [shape["properties"][name]] if name in shape.get("properties", ()) else []
    found += [node for pattern, node in shape.get("patternProperties", {}).items() if re.search(pattern, name)]
    return found or [shape.get("additionalProperties", True)]


def item_rule(rules: dict[str, Any], place: int) -> Node:
    """The schema that the item at a place must keep."""
    given = rules.get("items", True)
    # Until 2020-12 a list of schemas was called `items`, and what follows it `additionalItems`.
    first, rest = (given, rules.get("additionalItems", True)) if isinstance(given, list) else (
        rules.get("prefixItems", []), given,
    )  # fmt: skip
    found: Node = first[place] if place < len(first) else rest
    return found


_RULES: dict[str, _Rule] = {
    "integer": _number,
    "number": _number,
    "string": _string,
    "array": _array,
    "object": _object,
}
