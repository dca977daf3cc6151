"""A key as JSON fields, the same over HTTP and on the command line; by itself, since it needs no web framework."""

from __future__ import annotations

from ..core.security.contract import KeyInfo


def key_view(info: KeyInfo) -> dict[str, object]:
    """The key as JSON fields."""
    times = {
        name: moment.isoformat() if moment is not None else None
        for name, moment in (
            ("expires_at", info.expires_at),
            ("revoked_at", info.revoked_at),
            ("last_used_at", info.last_used_at),
        )
    }
    return {
        "id": info.id,
        "name": info.name,
        "roles": sorted(info.rights.roles),
        "scopes": sorted(info.rights.scopes),
        "created_at": info.created_at.isoformat(),
        "created_by": info.created_by,
        "replaced_by": info.replaced_by,
        **times,
    }
