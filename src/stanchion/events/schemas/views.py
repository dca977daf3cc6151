"""A JSON Schema as what it asks of a value: references followed, `allOf` joined, one place for each kind of rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import msgspec

from ...core.errors import FieldProblem, InvalidInput

Node = bool | dict[str, Any]
ALL = frozenset({"null", "boolean", "object", "array", "string", "integer", "number"})
"""`number` stands for numbers that are no integers, so that the two do not overlap."""

_SHAPE = ("properties", "patternProperties", "additionalProperties")
_ITEMS = ("items", "prefixItems", "additionalItems")
_LEAST = ("minLength", "minItems", "minProperties")
_MOST = ("maxLength", "maxItems", "maxProperties")
# Rules that are compared as they stand: a reader may only have those that the writer has, to the letter.
_OPAQUE = (
    "contains", "minContains", "maxContains", "dependentSchemas", "dependencies", "$dynamicRef", "$recursiveRef",
)  # fmt: skip
_WHOLE = ("unevaluatedProperties", "unevaluatedItems")
_NESTED = 64
_encode = msgspec.json.Encoder(order="deterministic").encode


def canonical(value: object) -> str:
    """One text for one value, whatever the order of names; 1 and 1.0 are the same number."""
    return _encode(_numbers(value)).decode()


def _numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return {k: _numbers(v) for k, v in value.items()} if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of numbers."""

    value: float
    open: bool


@dataclass(slots=True)
class View:
    """All rules of one place. `values` is None where any is taken; `opaque` are rules nobody looks into.

    `types` are those that a value can have, `named` those that `type` alone admits.
    """

    parts: list[dict[str, Any]]
    never: bool = False
    types: frozenset[str] = ALL
    named: frozenset[str] = ALL
    values: list[Any] | None = None
    lower: Bound | None = None
    upper: Bound | None = None
    multiples: list[float] = field(default_factory=list)
    least: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    unique: bool = False
    patterns: set[str] = field(default_factory=set)
    formats: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    dependent: dict[str, set[str]] = field(default_factory=dict)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    lists: list[dict[str, Any]] = field(default_factory=list)
    names: list[Node] = field(default_factory=list)
    nots: list[Node] = field(default_factory=list)
    anys: list[list[Node]] = field(default_factory=list)
    ones: list[list[Node]] = field(default_factory=list)
    opaque: set[str] = field(default_factory=set)
    default: bool = False


class Document:
    """One schema document: finds what references name, and makes views of its places."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self._definitions = canonical([root.get("$defs"), root.get("definitions")]) if isinstance(root, dict) else ""

    def same(self, node: Node, other: Document, there: Node) -> bool:
        """Whether both are the same rule to the letter, and references in them name the same rules."""
        text = canonical(node)
        if text != canonical(there):
            return False
        return '"$ref"' not in text or (self._definitions == other._definitions and '"$ref":"#"' not in text)

    def view(self, node: Node) -> View:
        """The rules of a place."""
        return self.joined(self.parts(node))

    def parts(self, node: Node, names: tuple[str, ...] = ()) -> list[dict[str, Any]] | None:
        """The schemas that hold at a place all at once, without `$ref` and `allOf`; None where nothing is valid."""
        if isinstance(node, bool):
            return [] if node else None
        inner: list[Node] = list(node.get("allOf", ()))
        if "$ref" in node:
            name = str(node["$ref"])
            if name in names:
                raise _wrong(name, "refers to nothing but itself")
            names = (*names, name)
            inner.append(self.target(name))
        found = [{k: v for k, v in node.items() if k not in ("$ref", "allOf")}] if node else []
        for each in inner:
            below = self.parts(each, names)
            if below is None:
                return None
            found += below
        return found

    def target(self, reference: str) -> Node:
        """What `#/...` names. Raises InvalidInput for other places and for nothing."""
        if not reference.startswith("#"):
            raise _wrong(reference, "refers to another document, which no registry may fetch")
        found: Any = self.root
        for part in reference[1:].split("/")[1:]:
            step = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            elif isinstance(found, dict) and step in found:
                found = found[step]
            else:
                raise _wrong(reference, "refers to nothing in the schema")
        if not isinstance(found, dict | bool) or (reference != "#" and not reference.startswith("#/")):
            raise _wrong(reference, "refers to no schema by its place")
        return found

    def joined(self, parts: Iterable[dict[str, Any]] | None) -> View:
        """The view of schemas that hold all at once."""
        if parts is None:
            return View([], never=True)
        view = View(list(parts))
        for part in view.parts:
            _add(view, part)
        view.named = view.types
        if any(float(each).is_integer() for each in view.multiples):
            view.types -= {"number"}
        view.never = not view.types or view.values == []
        return view


def check(root: object) -> Node:
    """The schema, if it can be looked through. Raises InvalidInput: no schema, references that lead nowhere."""
    if not isinstance(root, dict | bool):
        raise _wrong("#", "is neither an object nor a Boolean")
    document = Document(root)
    stack: list[tuple[Any, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > _NESTED:
            raise _wrong("#", f"is nested more than {_NESTED} levels deep")
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                document.parts(node)
            stack += [(each, depth + 1) for each in node.values() if isinstance(each, dict | list)]
        else:
            stack += [(each, depth + 1) for each in node if isinstance(each, dict | list)] if node is not root else []
    document.view(root)
    return root


def _add(view: View, part: Mapping[str, Any]) -> None:
    if "type" in part:
        view.types &= _types(part["type"])
    for values in ([part["const"]] if "const" in part else None, part.get("enum")):
        if values is not None:
            kept = [canonical(each) for each in values]
            view.values = list(values) if view.values is None else [v for v in view.values if canonical(v) in kept]
    _add_numbers(view, part)
    view.unique |= part.get("uniqueItems") is True
    view.patterns |= {part["pattern"]} if "pattern" in part else set()
    view.formats |= {part["format"]} if "format" in part else set()
    view.required |= set(part["required"]) if isinstance(part.get("required"), list) else set()
    view.default |= "default" in part
    for name, needed in part.get("dependentRequired", {}).items():
        view.dependent.setdefault(name, set()).update(needed)
    for keywords, place in ((_SHAPE, view.shapes), (_ITEMS, view.lists)):
        if any(k in part for k in keywords):
            place.append({k: part[k] for k in keywords if k in part})
    view.names += [part["propertyNames"]] if "propertyNames" in part else []
    view.nots += [part["not"]] if "not" in part else []
    view.anys += [part["anyOf"]] if "anyOf" in part else []
    view.ones += [part["oneOf"]] if "oneOf" in part else []
    view.opaque |= {canonical([k, part[k]]) for k in _OPAQUE if k in part}
    if "if" in part:
        view.opaque.add(canonical(["if", part["if"], part.get("then"), part.get("else")]))
    if any(k in part for k in _WHOLE):
        view.opaque.add(canonical(part))


def _add_numbers(view: View, part: Mapping[str, Any]) -> None:
    for name in _LEAST:
        if name in part:
            view.least[name] = max(view.least.get(name, 0), part[name])
    for name in _MOST:
        if name in part:
            view.most[name] = min(view.most.get(name, part[name]), part[name])
    view.multiples += [part["multipleOf"]] if "multipleOf" in part else []
    for key, strict, sign in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        # Before draft 6 the strict form was a Boolean beside the limit.
        given = [(part[key], part.get(strict) is True)] if key in part else []
        if strict in part and not isinstance(part[strict], bool):
            given.append((part[strict], True))
        for value, is_open in given:
            bound = Bound(value, is_open)
            if sign > 0:
                view.lower = bound if view.lower is None or within(view.lower, bound, 1) else view.lower
            else:
                view.upper = bound if view.upper is None or within(view.upper, bound, -1) else view.upper


def within(wide: Bound, narrow: Bound, sign: int) -> bool:
    """Whether the narrow limit implies the wide one; `sign` is 1 for lower limits, -1 for upper ones."""
    if wide.value == narrow.value:
        return narrow.open or not wide.open
    return (narrow.value - wide.value) * sign > 0


def _types(given: str | list[str]) -> frozenset[str]:
    named = frozenset([given] if isinstance(given, str) else given)
    return named | {"integer"} if "number" in named else named


def _wrong(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"the JSON schema is not valid: {path} {message}", fields=[FieldProblem(path, message)])
