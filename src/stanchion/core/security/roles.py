"""The built-in roles as one table: what each permits, and which of the others it may give away.

The table is read twice: `policy/builtin.py` writes it as Cedar policies, which decide, and `lacking` decides which
rights a caller may put into a key. A test proves on every contract action that `over` tells the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..context import Rights, scope_covers


@dataclass(frozen=True, slots=True)
class Role:
    """A bundle of permissions.

    `permits` and `excepts` hold `*`, `effect:read`, `effect:write`, `effect:outward`, `module:NAME` or one action.
    An action named in `permits` itself is permitted even where `excepts` names its module.
    """

    about: str
    permits: tuple[str, ...]
    excepts: tuple[str, ...] = ()
    over: tuple[str, ...] = ()


_CONTENT = (
    "telemetry:read_content", "serving:read_journal", "review:see", "review:claim", "review:export", "review:erase",
    "pipelines:read_content",
)  # fmt: skip
"""Rights of their own: to see how a system runs is no right to see what people sent it, nor to erase it."""

_RELEASE = ("registry:promote", "registry:alias", "serving:rollout", "serving:unload", "gateway:route")
"""What decides which version answers people, or which model."""

_MONEY = ("gateway:write_budget", "gateway:write_team")
"""Who spends does not say how much."""

_CALLS = ("gateway:complete", "gateway:batch", "gateway:score", "gateway:read")

_DRILL = "serving:drill"
"""To make a system fail on purpose is nobody's daily work."""

ROLES: Mapping[str, Role] = {
    "admin": Role(
        "Everything in its tenant.", permits=("*",), over=("operator", "developer", "auditor", "viewer", "predictor")
    ),
    "operator": Role(
        "Runs the system: everything but making keys, changing policies, drills, and reading or erasing kept content.",
        permits=("*", "keys:list", "policies:read"),
        excepts=("module:keys", "module:policies", _DRILL, *_CONTENT),
        over=("developer", "auditor", "viewer", "predictor"),
    ),
    "developer": Role(
        "Builds: everything but keys, policies, the audit log, kept content and what goes into production.",
        permits=("*", "policies:read"),
        excepts=("module:keys", "module:policies", "module:audit", *_RELEASE, *_MONEY, _DRILL, *_CONTENT),
        over=("viewer", "predictor"),
    ),
    "auditor": Role(
        "Reads everything but kept content, and verifies the audit log; changes nothing.",
        permits=("effect:read", "module:audit"),
        excepts=_CONTENT,
        over=("viewer",),
    ),
    "viewer": Role(
        "Reads everything but keys, the audit log and kept content.",
        permits=("effect:read",),
        excepts=("module:keys", "module:audit", *_CONTENT),
    ),
    "predictor": Role(
        "Asks for predictions, calls models at once or in batches, scores answers: the role of an application's key.",
        permits=("serving:predict", "serving:read", "serving:advise", *_CALLS),
    ),
}

SYSTEM_ROLE = "system"
"""For work that nobody asked for. No key, token or session ever carries it."""


def lacking(maker: Rights, wanted: Rights) -> tuple[str, ...]:
    """The wanted roles and scopes that the maker cannot give away because its own rights do not hold them.

    Only what is certain counts: a scope is held by a scope that covers it, or by the role `admin`; a role is held
    by itself, by a role over it, or by the scope `*`. Rights that a tenant's own policies add are not counted.
    """
    held = maker.scopes | {"*"} if maker.roles & {"admin", SYSTEM_ROLE} else maker.scopes
    scopes = {scope for scope in wanted.scopes if not _covered(scope, held)}
    givable = maker.roles.union(*(ROLES[role].over for role in maker.roles if role in ROLES))
    roles = frozenset() if "*" in held else wanted.roles - givable
    if maker.limit is not None:
        scopes |= {scope for scope in wanted.scopes if not _covered(scope, maker.limit)}
        roles = wanted.roles if "*" not in maker.limit else roles
    return (*sorted(roles), *sorted(scopes))


def _covered(scope: str, by: frozenset[str]) -> bool:
    return any(scope_covers(wide, scope) for wide in by)
