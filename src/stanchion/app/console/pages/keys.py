"""API keys: who may come in. A secret is shown once, in the answer that made it, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context, Rights
from ....core.errors import InvalidInput, NotFound, StanchionError
from ....core.security.contract import KeyInfo
from ....core.security.roles import ROLES, lacking
from ..assets import BASE
from ..figures import moment
from ..flash import Flash
from ..forms import number, words
from ..shell import Shell

_LIMIT = 50
_MOST_DAYS = 3650.0
_MOST_OVERLAP_HOURS = 720.0
State = Literal["active", "replaced", "expired", "revoked"]


async def first(shell: Shell, request: Request, ctx: Context) -> Response:
    """Govern begins with the first tab the caller may see."""
    tabs = (("keys:list", "keys"), ("policies:read", "policies"), ("audit:read", "audit"))
    tab = next((name for action, name in tabs if shell.permissions.may(ctx, action)), "keys")
    return shell.leave(request, f"{BASE}/govern/{tab}")


async def listing(shell: Shell, request: Request, ctx: Context) -> Response:
    """Keys by id, 50 a page, and the form for a new one."""
    return await _list(shell, request, ctx)


async def create(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Make a key and show it, in this answer only."""
    try:
        roles = [name for name in ROLES if form.get(f"role-{name}") == "yes"]
        scopes = words(form.get("scopes", ""))
        if not roles and not scopes:
            raise InvalidInput("the key would have no right", next_step="Choose a role, or name a scope.")
        days = form.get("ttl_days", "").strip()
        made = await shell.doors.keys.create(
            ctx,
            name=form.get("name", "").strip(),
            roles=roles,
            scopes=scopes,
            ttl_days=number(days, name="days", least=0.01, most=_MOST_DAYS) if days else None,
        )
    except StanchionError as error:
        return await _list(shell, request, ctx, error=error, given=form)
    return shell.page(request, "new_key.html", status=201, made=made, replaced=None, until=None)


async def detail(shell: Shell, request: Request, ctx: Context) -> Response:
    """One key, with the forms to rotate and to end it."""
    return await _show(shell, request, ctx)


async def rotate(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Make the successor and show it, in this answer only."""
    key_id = request.path_params["key_id"]
    try:
        hours = number(form.get("overlap_hours", "24"), name="hours", least=0, most=_MOST_OVERLAP_HOURS)
        made = await shell.doors.keys.rotate(ctx, key_id, overlap_seconds=hours * 3600)
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error)
    return shell.page(request, "new_key.html", status=201, made=made, replaced=key_id, until=hours)


async def revoke(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """End the key now."""
    try:
        if form.get("confirm") != "yes":
            raise InvalidInput("ending the key was not confirmed", next_step="Tick the box above the button.")
        ended = await shell.doors.keys.revoke(ctx, request.path_params["key_id"])
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error)
    message = f"Key {ended.name} was revoked {moment(ended.revoked_at)} UTC. Calls with it are refused."
    return shell.leave(request, f"{BASE}/govern/keys", Flash("ok", message))


async def _list(
    shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None, given: Mapping[str, str] = {}
) -> Response:
    after = request.query_params.get("after", "")
    keys = (await shell.doors.keys.list(ctx, after=after, limit=_LIMIT))[:_LIMIT]
    now = shell.doors.clock.now()
    return shell.page(
        request,
        "keys.html",
        error=error,
        given=given,
        keys=[(key, state_of(key, now)) for key in keys],
        roles={name: ROLES[name].about for name in ROLES if not lacking(ctx.rights, Rights(roles=frozenset({name})))},
        after=after,
        next=keys[-1].id if len(keys) == _LIMIT else None,
    )


async def _show(shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None) -> Response:
    key = await _find(shell, ctx, request.path_params["key_id"])
    return shell.page(request, "key.html", error=error, key=key, state=state_of(key, shell.doors.clock.now()))


async def _find(shell: Shell, ctx: Context, key_id: str) -> KeyInfo:
    """The key of that id: the list starts just before it, as the contract has no look-up of one key."""
    for key in await shell.doors.keys.list(ctx, after=key_id[:-1], limit=100):
        if key.id == key_id:
            return key
    raise NotFound(f"no key {key_id!r}", next_step="Govern lists the keys there are.")


def state_of(key: KeyInfo, now: datetime) -> State:
    """What the key is good for now."""
    if key.revoked_at is not None and key.revoked_at <= now:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "replaced" if key.replaced_by is not None else "active"
