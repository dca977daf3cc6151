"""The Cedar schema, made from the actions that contracts name: nothing is declared twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...contract import Action
from ...errors import Misconfigured

CALLER = (
    "entity Caller = { tenant: String, kind: String, roles: Set<String>, scopes: Set<String>, limit?: Set<String> };"
)
"""`kind` is key, user, service or system; `limit` is present where the rights were narrowed on the way."""

_CONTEXT = "{ names: Set<String> }"
_TYPES = frozenset({"String", "Long", "Bool", "Set<String>"})

Attributes = Mapping[str, Mapping[str, str]]
"""Resource type to attribute to Cedar type, `String`, `Long`, `Bool` or `Set<String>`; a `?` after it: optional."""


def cedar_schema(actions: Iterable[Action], attributes: Attributes | None = None) -> str:
    """The schema as Cedar text.

    Every action `module:verb` is a member of `Action::"module:NAME"` and `Action::"effect:EFFECT"`. Every resource
    has `tenant`, and what `attributes` adds for its type. `context.names` holds `*`, `module:*` and `module:verb`.
    Raises Misconfigured if one action is given two effects or an attribute an unknown type.
    """
    effects: dict[str, str] = {}
    resources: dict[str, set[str]] = {}
    for action in actions:
        if effects.setdefault(action.name, action.effect) != action.effect:
            raise Misconfigured(f"the action {action.name} is named with two effects")
        resources.setdefault(action.name, set()).add(action.resource)
    modules = sorted({name.partition(":")[0] for name in effects})
    groups = [f"module:{module}" for module in modules] + ["effect:read", "effect:write", "effect:outward"]
    types = sorted({kind for kinds in resources.values() for kind in kinds} | set(attributes or {}))
    lines = [CALLER, *(_entity(kind, (attributes or {}).get(kind, {})) for kind in types)]
    lines += [f'action "{group}";' for group in groups]
    lines += [
        f'action "{name}" in [Action::"module:{name.partition(":")[0]}", Action::"effect:{effects[name]}"] appliesTo '
        f"{{ principal: [Caller], resource: [{', '.join(sorted(resources[name]))}], context: {_CONTEXT} }};"
        for name in sorted(effects)
    ]
    return "\n".join(lines)


def _entity(kind: str, attributes: Mapping[str, str]) -> str:
    parts = ["tenant: String"]
    for name, declared in sorted(attributes.items()):
        if declared.rstrip("?") not in _TYPES:
            raise Misconfigured(f"the attribute {kind}.{name} has the unknown type {declared}")
        parts.append(f"{name}{'?' if declared.endswith('?') else ''}: {declared.rstrip('?')}")
    return f"entity {kind} = {{ {', '.join(parts)} }};"
