"""Whether two JSON Schemas have no value in common: what `oneOf` and `not` need to be compared."""

from __future__ import annotations

from .values import accepts, property_rules
from .views import Bound, Document, Node, View


def apart(left: Document, a: View, right: Document, b: View, depth: int = 0) -> bool:
    """Whether it is certain that no value is valid by both."""
    if a.never or b.never or not a.types & b.types:
        return True
    if a.values is not None:
        return not any(accepts(right, b, value) for value in a.values) if not b.opaque and not b.formats else False
    if b.values is not None:
        return not any(accepts(left, a, value) for value in b.values) if not a.opaque and not a.formats else False
    common = a.types & b.types
    if common <= {"integer", "number"} and (_beyond(a.lower, b.upper) or _beyond(b.lower, a.upper)):
        return True
    return common == {"object"} and depth < 3 and _objects(left, a, right, b, depth)


def _objects(left: Document, a: View, right: Document, b: View, depth: int) -> bool:
    """Objects are apart if one requires a property that the other cannot hold, as a discriminator is."""
    return any(
        apart(left, _property(left, a, name), right, _property(right, b, name), depth + 1)
        for name in sorted(a.required | b.required)
    )


def _property(document: Document, view: View, name: str) -> View:
    rules: list[Node] = [node for shape in view.shapes for node in property_rules(shape, name)]
    return document.view({"allOf": rules})


def _beyond(low: Bound | None, high: Bound | None) -> bool:
    if low is None or high is None:
        return False
    return low.value > high.value or (low.value == high.value and (low.open or high.open))
