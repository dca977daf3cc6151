"""Routes of the gateway: how each does now, what a call would find, and the forms that change one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....gateway import Plan, RouteView
from ...assets import BASE
from ...flash import Flash
from ...shell import Shell
from .asking import Question, ask_of, question_of
from .cascades import PREFIX, cascades
from .editing import SLOTS, Draft, draft_of, spec_of
from .room import HOME, door, month, total

_ROUTES, _LOOKED_AT, _VERSIONS = 60, 100, 20
_CACHED = ("hit", "similar", "coalesced")


@dataclass(frozen=True, slots=True)
class Recent:
    """The newest calls of a route, as the ledger has them. `p50_ms` is None where none was answered."""

    calls: int
    failed: int
    cached: int
    p50_ms: float | None
    cost: float
    rungs: Sequence[tuple[str, int]]


async def listing(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every route with its models, and this month's figures."""
    return shell.page(request, "gateway.html", **await _listed(shell, ctx), live=f"{BASE}/fragments/gateway")


async def listing_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The part of it that changes by itself."""
    return shell.fragment(request, "_gateway.html", **await _listed(shell, ctx))


async def detail(shell: Shell, request: Request, ctx: Context) -> Response:
    """One route."""
    return await _show(shell, request, ctx, request.path_params["route"])


async def detail_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Its models, and its newest calls, as they stand now."""
    name = request.path_params["route"]
    view = await _find(shell, ctx, name)
    return shell.fragment(request, "_gateway_route.html", view=view, recent=await _recent(shell, ctx, name))


async def new(shell: Shell, request: Request, ctx: Context) -> Response:
    """The form for a route that does not exist yet."""
    return await _blank(shell, request, ctx, Draft())


async def dry_run(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """What would become of a call, without making it."""
    name, question = request.path_params["route"], question_of(form)
    under: int | None = None
    try:
        under = _version(form, "under") if form.get("under") else None
        plan = await door(shell).plan(ctx, ask_of(f"route:{name}", question), version=under)
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, name, error=error, question=question, under=under)
    return await _show(shell, request, ctx, name, question=question, plan=plan, under=under)


async def create(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Put a route that does not exist yet."""
    name = form.get("name", "").strip()
    try:
        view = await door(shell).put_route(ctx, name, spec_of(name, form), version=0)
    except StanchionError as error:
        return await _blank(shell, request, ctx, draft_of(form), error=error)
    return shell.leave(request, _address(name), Flash("ok", f"The route {name} holds, as version {view.version}."))


async def save(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Put the route's next version."""
    name = request.path_params["route"]
    try:
        present = (await _find(shell, ctx, name)).spec
        view = await door(shell).put_route(ctx, name, spec_of(name, form, present), version=_version(form))
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, name, error=error, draft=draft_of(form))
    return shell.leave(request, _address(name), Flash("ok", f"Version {view.version} of {name} holds."))


async def restore(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Bring back a former version."""
    name = request.path_params["route"]
    try:
        if form.get("confirm") != "yes":
            raise InvalidInput(
                "bringing the version back was not confirmed", next_step="Tick the box above the button."
            )
        restored = _version(form, "restored")
        view = await door(shell).restore_route(ctx, name, restored, version=_version(form))
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, name, error=error)
    said = f"version {view.version}, as version {restored} was" if view.version else "as declared again"
    return shell.leave(request, _address(name), Flash("ok", f"{name} is {said}."))


async def drop(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Take back what was put."""
    name = request.path_params["route"]
    try:
        if form.get("confirm") != "yes":
            raise InvalidInput("taking the route back was not confirmed", next_step="Tick the box above the button.")
        await door(shell).drop_route(ctx, name, version=_version(form))
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, name, error=error)
    left = [view for view in await door(shell).routes(ctx) if view.spec.name == name]
    said = f"{name} is as declared again." if left else f"The route {name} is gone."
    return shell.leave(request, _address(name) if left else HOME, Flash("ok", said))


async def _listed(shell: Shell, ctx: Context) -> dict[str, Any]:
    gateway = door(shell)
    views = await gateway.routes(ctx)
    lines = await month(shell, ctx)
    declared = [model.name for model in await gateway.models(ctx) if model.name.startswith(PREFIX)]
    found, more = await cascades(shell, ctx, [name.removeprefix(PREFIX) for name in declared])
    return {
        "views": views[:_ROUTES],
        "left_out": max(0, len(views) - _ROUTES),
        "sums": total(lines),
        "counted": shell.permissions.may(ctx, "gateway:read_usage"),
        "cascades": found,
        "more_cascades": more,
        "troubled": sum(rung.breaker != "closed" or rung.out > 0 for view in views for rung in view.rungs),
    }


async def _show(
    shell: Shell,
    request: Request,
    ctx: Context,
    name: str,
    *,
    error: StanchionError | None = None,
    draft: Draft | None = None,
    question: Question | None = None,
    plan: Plan | None = None,
    under: int | None = None,
) -> Response:
    view = await _find(shell, ctx, name)
    whole = len(view.spec.models) <= SLOTS
    return shell.page(
        request,
        "gateway_route.html",
        error=error,
        view=view,
        recent=await _recent(shell, ctx, name),
        draft=(draft or draft_of(view.spec)) if whole else None,
        models=await _models(shell, ctx),
        question=question or Question(),
        asked=question is not None,
        plan=plan,
        under=under,
        versions=await door(shell).route_versions(ctx, name, limit=_VERSIONS),
        more_than=_VERSIONS,
        action=_address(name),
        live=f"{BASE}/fragments/gateway/routes/{quote(name, safe='')}",
    )


async def _blank(
    shell: Shell, request: Request, ctx: Context, draft: Draft, *, error: StanchionError | None = None
) -> Response:
    models = await _models(shell, ctx)
    return shell.page(request, "gateway_new_route.html", error=error, draft=draft, models=models, action=_address(""))


async def _find(shell: Shell, ctx: Context, name: str) -> RouteView:
    for view in await door(shell).routes(ctx):
        if view.spec.name == name:
            return view
    raise NotFound(f"there is no route {name!r}", next_step="Gateway lists the routes there are.")


async def _models(shell: Shell, ctx: Context) -> list[str]:
    return [model.name for model in await door(shell).models(ctx) if model.upstream]


async def _recent(shell: Shell, ctx: Context, name: str) -> Recent | None:
    """What the ledger says of the route's newest calls; None for whoever may not read it."""
    if not shell.permissions.may(ctx, "telemetry:read"):
        return None
    rows = await shell.doors.observatory.requests(ctx, subject=f"route:{name}", limit=_LOOKED_AT)
    times = [row.latency_ms for row in rows if row.outcome == "ok"]
    return Recent(
        len(rows),
        sum(row.outcome != "ok" for row in rows),
        sum(row.cache in _CACHED for row in rows),
        median(times) if times else None,
        sum(row.cost for row in rows),
        Counter(f"{row.rung}: {row.version}" for row in rows if row.rung).most_common(),
    )


def _version(form: Mapping[str, str], field: str = "version") -> int:
    text = form.get(field, "")
    if not text.isdecimal() or len(text) > 9:
        raise InvalidInput("the form does not say which version it means", next_step="Reload the page.")
    return int(text)


def _address(name: str) -> str:
    return f"{HOME}/routes/{quote(name, safe='')}" if name else f"{HOME}/routes"
