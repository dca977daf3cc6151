"""Runs, newest first; schedules and declared pipelines; queues and the runs that need somebody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import NotFound, StanchionError
from .....pipelines import RunStatus
from ...assets import BASE
from ...flash import Flash
from ...rendering import query
from ...shell import Shell
from .room import HOME, door

_LIMIT, _NAMES, _DEAD = 50, 40, 40
STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)


async def first(shell: Shell, request: Request, ctx: Context) -> Response:
    """The runs, or the consumers of a system that has events and no pipelines."""
    if shell.doors.pipelines is None and shell.doors.events is not None:
        return shell.leave(request, f"{BASE}/events")
    return await runs(shell, request, ctx)


async def runs(shell: Shell, request: Request, ctx: Context) -> Response:
    """The newest fifty, by pipeline and status."""
    content = await _runs(shell, request, ctx)
    live = f"{BASE}/fragments/pipelines{query(**content['asked'], before=content['before'])}"
    names = [each.name for each in await door(shell).declared(ctx)][:_NAMES]
    return shell.page(request, "runs.html", **content, names=names, statuses=STATUSES, live=live)


async def runs_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Their rows alone."""
    return shell.fragment(request, "_runs.html", **await _runs(shell, request, ctx))


async def schedules(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every schedule with its next moment, and every declared pipeline."""
    return await _schedules(shell, request, ctx)


async def pause(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Hold a schedule, or let it fire again."""
    name, paused = request.path_params["schedule"], form.get("paused") == "yes"
    try:
        await door(shell).pause(ctx, name, paused=paused)
    except NotFound:
        raise
    except StanchionError as error:
        return await _schedules(shell, request, ctx, error=error)
    said = "is held" if paused else "fires again from its next moment on"
    return shell.leave(request, f"{HOME}/schedules", Flash("ok", f"The schedule {name} {said}."))


async def queues(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every queue, and the runs that need somebody."""
    content = await _queues(shell, ctx)
    return shell.page(request, "queues.html", **content, live=f"{BASE}/fragments/pipelines-queues")


async def queues_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Their rows alone."""
    return shell.fragment(request, "_queues.html", **await _queues(shell, ctx))


async def _runs(shell: Shell, request: Request, ctx: Context) -> dict[str, Any]:
    asked = {name: request.query_params.get(name, "").strip()[:200] for name in ("pipeline", "status")}
    before = request.query_params.get("before", "")[:200]
    wanted = next((status for status in STATUSES if status == asked["status"]), None)
    pipelines = door(shell)
    found = await pipelines.list(
        ctx, pipeline=asked["pipeline"] or None, status=wanted, before=before or None, limit=_LIMIT
    )
    counts: Counter[str] = Counter()
    for queue in await pipelines.queues(ctx):
        counts.update(queue.counts)
    older = query(**asked, before=found[-1].id) if len(found) == _LIMIT else ""
    return {
        "asked": asked,
        "before": before,
        "runs": found,
        "counts": {status: counts[status] for status in STATUSES},
        "newest": f"{HOME}{query(**asked)}" if before else None,
        "older": f"{HOME}{older}" if older else None,
    }


async def _schedules(shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None) -> Response:
    pipelines = door(shell)
    found, declared = await pipelines.schedules(ctx), await pipelines.declared(ctx)
    return shell.page(
        request,
        "schedules.html",
        error=error,
        schedules=found[:_NAMES],
        declared=declared[:_NAMES],
        left_out=max(0, len(found) - _NAMES) + max(0, len(declared) - _NAMES),
    )


async def _queues(shell: Shell, ctx: Context) -> dict[str, Any]:
    found = await door(shell).queues(ctx)
    dead = await door(shell).dead(ctx, limit=_DEAD)
    return {"queues": found[:_NAMES], "dead": dead, "statuses": STATUSES, "full": len(dead) == _DEAD}
