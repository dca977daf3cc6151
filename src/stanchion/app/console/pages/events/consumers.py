"""Consumers: what they handle, how far they lag, and the buttons that hold one and let it go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import NotFound, StanchionError
from ...assets import BASE
from ...flash import Flash
from ...shell import Shell
from .room import HOME, door

_MOST = 90


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every consumer, those in trouble first."""
    return await _show(shell, request, ctx)


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Their rows alone."""
    csrf = shell.doors.sessions.csrf(request)
    return shell.fragment(request, "_consumers.html", csrf=csrf, **await _listed(shell, ctx))


async def change(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Hold a consumer, or let it go on."""
    name, paused = request.path_params["consumer"], form.get("paused") == "yes"
    try:
        await (door(shell).pause(ctx, name) if paused else door(shell).resume(ctx, name))
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error)
    said = "is held; what it has in hand is finished." if paused else "goes on where it stopped."
    return shell.leave(request, HOME, Flash("ok", f"{name} {said}"))


async def _show(shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None) -> Response:
    content = await _listed(shell, ctx)
    return shell.page(request, "consumers.html", error=error, **content, live=f"{BASE}/fragments/events")


async def _listed(shell: Shell, ctx: Context) -> dict[str, Any]:
    found = sorted(await door(shell).consumers(ctx), key=lambda each: (not each.dead, -each.behind, each.name))
    return {
        "consumers": found[:_MOST],
        "left_out": max(0, len(found) - _MOST),
        "totals": {
            "behind": sum(each.behind for each in found),
            "waiting": sum(each.waiting for each in found),
            "dead": sum(each.dead for each in found),
            "paused": sum(each.paused for each in found),
        },
    }
