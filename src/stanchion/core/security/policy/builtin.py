"""The policies that hold for every tenant, written from the table of roles. Without a permit, Cedar denies."""

from __future__ import annotations

from ..roles import ROLES, SYSTEM_ROLE, Role

_FOUNDATION = f"""\
// Nobody reaches into another tenant, whatever any policy permits.
@id("tenant-wall")
forbid (principal, action, resource)
unless {{ principal.tenant == resource.tenant }};

// Rights that were narrowed on the way stay narrow.
@id("limit")
forbid (principal, action, resource)
when {{ principal has limit && !principal.limit.containsAny(context.names) }};

// A scope permits the actions that it names.
@id("scopes")
permit (principal, action, resource)
when {{ principal.scopes.containsAny(context.names) }};

// Work that nobody asked for, such as a flush at shutdown.
@id("role-{SYSTEM_ROLE}")
permit (principal, action, resource)
when {{ principal.kind == "system" && principal.roles.contains("{SYSTEM_ROLE}") }};
"""


def built_in_text() -> str:
    """The built-in policies as Cedar text."""
    return "\n".join([_FOUNDATION, *(_policies(name, role) for name, role in ROLES.items())])


def _policies(name: str, role: Role) -> str:
    wide = [what for what in role.permits if what == "*" or what.startswith(("effect:", "module:"))]
    exact = [what for what in role.permits if what not in wide]
    texts = [f"// {role.about}"]
    if wide:
        excepts = f"\nunless {{ action in [{_names(role.excepts)}] }}" if role.excepts else ""
        texts.append(_permit(f"role-{name}", name, "action" if "*" in wide else f"action in [{_names(wide)}]", excepts))
    if exact:
        texts.append(_permit(f"role-{name}-named", name, f"action in [{_names(exact)}]", ""))
    return "\n".join(texts) + "\n"


def _permit(policy: str, role: str, action: str, excepts: str) -> str:
    when = f'when {{ principal.roles.contains("{role}") }}'
    return f'@id("{policy}")\npermit (principal, {action}, resource)\n{when}{excepts};'


def _names(actions: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f'Action::"{action}"' for action in actions)
