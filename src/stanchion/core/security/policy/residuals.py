"""What Cedar leaves of policies while the resource is unknown, turned into a filter, or refused.

Cedar's partial evaluation is experimental and its residuals are not a stable format, so every shape that is not known
here is refused. Source: the Cedar policy JSON format, https://docs.cedarpolicy.com/policies/json-format.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import NotAllowed
from .filters import ID, Always, And, ContainsAny, Filter, Has, In, Not, Or, Scalar

_UNKNOWN = {"unknown": [{"Value": "resource"}]}
_ALL = {"op": "All"}


def filter_of(residuals: Mapping[str, Any] | None, resource_type: str) -> Filter:
    """Permitted by one policy and forbidden by none. Raises NotAllowed for what cannot be told as a filter."""
    if residuals is None:
        return Always(False)
    permits: list[Filter] = []
    forbids: list[Filter] = []
    for policy in residuals.values():
        kind = {"permit": permits, "forbid": forbids}.get(policy["effect"])
        if kind is None or any(policy[part] != _ALL for part in ("principal", "action", "resource")):
            raise _refused("scope")
        kind.append(_all([_clause(clause, resource_type) for clause in policy["conditions"]]))
    return _all([_any(permits), _not(_any(forbids))])


def _clause(clause: Mapping[str, Any], resource_type: str) -> Filter:
    body = _condition(clause["body"], resource_type)
    if clause["kind"] not in ("when", "unless"):
        raise _refused(str(clause["kind"]))
    return body if clause["kind"] == "when" else _not(body)


def _condition(node: Mapping[str, Any], of_type: str) -> Filter:
    if len(node) != 1:
        raise _refused("expression")
    ((operator, body),) = node.items()
    match operator:
        case "Value" if isinstance(body, bool):
            return Always(body)
        case "&&":
            return _all([_condition(body["left"], of_type), _condition(body["right"], of_type)])
        case "||":
            return _any([_condition(body["left"], of_type), _condition(body["right"], of_type)])
        case "!":
            return _not(_condition(body["arg"], of_type))
        case "==" | "!=":
            same = _equal(body["left"], body["right"], of_type)
            return same if operator == "==" else _not(same)
        case "has" if body["left"] == _UNKNOWN and isinstance(body["attr"], str):
            return Has(body["attr"])
        case "is" if body["left"] == _UNKNOWN and "in" not in body:
            return Always(body["entity_type"] == of_type)
        case "contains":
            return _contains(body["left"], body["right"])
        case "containsAny":
            return _contains_any(body["left"], body["right"])
        case "containsAll" if (attribute := _attribute(body["left"])) is not None:
            return _all([Has(attribute), *(ContainsAny(attribute, (value,)) for value in _strings(body["right"]))])
        case "." if (attribute := _attribute(node)) is not None:
            return In(attribute, (True,))
        case _:
            raise _refused(operator)


def _equal(left: Mapping[str, Any], right: Mapping[str, Any], of_type: str) -> Filter:
    for one, other in ((left, right), (right, left)):
        if one == _UNKNOWN:
            entity = other.get("Value", {})
            if not isinstance(entity, dict) or "__entity" not in entity:
                raise _refused("==")
            named = entity["__entity"]
            return In(ID, (str(named["id"]),)) if named["type"] == of_type else Always(False)
        attribute = _attribute(one)
        if attribute is not None:
            return In(attribute, (_scalar(other),))
    raise _refused("==")


def _contains(group: Mapping[str, Any], member: Mapping[str, Any]) -> Filter:
    attribute = _attribute(group)
    if attribute is not None:
        return ContainsAny(attribute, (_string(member),))
    attribute = _attribute(member)
    if attribute is None:
        raise _refused("contains")
    values = tuple(_scalar(value) for value in _elements(group))
    return In(attribute, values) if values else Always(False)


def _contains_any(left: Mapping[str, Any], right: Mapping[str, Any]) -> Filter:
    for one, other in ((left, right), (right, left)):
        attribute = _attribute(one)
        if attribute is not None:
            return ContainsAny(attribute, _strings(other))
    raise _refused("containsAny")


def _attribute(node: Mapping[str, Any]) -> str | None:
    """The attribute's name, if the node is one of the unknown resource's own."""
    access = node.get(".")
    if access is None or access["left"] != _UNKNOWN or not isinstance(access["attr"], str):
        return None
    return str(access["attr"])


def _elements(node: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if set(node) == {"Set"}:
        return [*node["Set"]]
    if set(node) == {"Value"} and isinstance(node["Value"], list):
        return [{"Value": value} for value in node["Value"]]
    raise _refused("set")


def _strings(node: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_string(element) for element in _elements(node))


def _string(node: Mapping[str, Any]) -> str:
    value = _scalar(node)
    if not isinstance(value, str):
        raise _refused("value")
    return value


def _scalar(node: Mapping[str, Any]) -> Scalar:
    value = node.get("Value")
    if len(node) == 1 and isinstance(value, str | int | bool):
        return value
    raise _refused("value")


def _all(parts: Sequence[Filter]) -> Filter:
    if Always(False) in parts:
        return Always(False)
    left = tuple(part for part in parts if part != Always(True))
    return left[0] if len(left) == 1 else And(left) if left else Always(True)


def _any(parts: Sequence[Filter]) -> Filter:
    if Always(True) in parts:
        return Always(True)
    left = tuple(part for part in parts if part != Always(False))
    return left[0] if len(left) == 1 else Or(left) if left else Always(False)


def _not(condition: Filter) -> Filter:
    return Always(not condition.value) if isinstance(condition, Always) else Not(condition)


def _refused(what: str) -> NotAllowed:
    return NotAllowed(
        f"a policy uses {what!r} on the resource, which cannot be turned into a store filter",
        next_step="Write the policy with ==, in a set, contains, containsAny, has, &&, || and ! on attributes.",
    )
