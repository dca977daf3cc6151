"""Upstreams and their models: breakers, times, tokens, cost and errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import StanchionError
from .....gateway import LanguageModel, RungView, UpstreamView, UsageLine
from ...assets import BASE
from ...charts import Axis, Chart, Series, bars
from ...figures import pico
from ...flash import Flash
from ...shell import Shell
from .room import HOME, Sums, door, month

_MODELS, _DAYS, _LAYERS = 80, 30, 6


@dataclass(frozen=True, slots=True)
class Provided:
    """A model at its upstream. `rung` is None where no route asks it; `sums` are this month's."""

    model: LanguageModel
    rung: RungView | None
    sums: Sums


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every model, by upstream, and the cost of the last thirty days."""
    return await _show(shell, request, ctx)


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The models as they do now."""
    csrf = shell.doors.sessions.csrf(request)
    return shell.fragment(request, "_gateway_providers.html", csrf=csrf, **await _provided(shell, ctx))


async def drain(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Send an upstream no more calls, or send them again."""
    name, drained = request.path_params["upstream"], form.get("drained") == "yes"
    try:
        await door(shell).drain(ctx, name, drained=drained)
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error)
    said = "gets no more calls; those under way come to their end." if drained else "gets calls again."
    return shell.leave(request, f"{HOME}/providers", Flash("ok", f"{name} {said}"))


async def _show(shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None) -> Response:
    return shell.page(
        request,
        "gateway_providers.html",
        error=error,
        **await _provided(shell, ctx),
        picture=await _picture(shell, ctx),
        live=f"{BASE}/fragments/gateway/providers",
    )


async def _provided(shell: Shell, ctx: Context) -> dict[str, Any]:
    gateway = door(shell)
    rungs = {rung.model: rung for view in await gateway.routes(ctx) for rung in view.rungs}
    sums: defaultdict[tuple[str, str], Sums] = defaultdict(Sums)
    for line in await month(shell, ctx):
        key = (line.group["provider"], line.group["model"])
        sums[key] = sums[key].plus(line)
    models = [model for model in await gateway.models(ctx) if model.upstream]
    upstreams: defaultdict[str, list[Provided]] = defaultdict(list)
    for model in sorted(models, key=lambda each: (each.upstream, each.name))[:_MODELS]:
        made = Provided(model, rungs.get(model.name), sums[model.upstream, model.model])
        upstreams[model.upstream].append(made)
    views: dict[str, UpstreamView] = {view.name: view for view in await gateway.upstreams(ctx)}
    return {
        "upstreams": [(name, views.get(name), provided) for name, provided in upstreams.items()],
        "left_out": max(0, len(models) - _MODELS),
        "counted": shell.permissions.may(ctx, "gateway:read_usage"),
    }


async def _picture(shell: Shell, ctx: Context) -> Chart | None:
    if not shell.permissions.may(ctx, "gateway:read_usage"):
        return None
    end = shell.doors.clock.now().date() + timedelta(days=1)
    start = end - timedelta(days=_DAYS)
    lines = await door(shell).usage(ctx, start=start, end=end, by=("day", "provider"))
    return _cost([start + timedelta(days=n) for n in range(_DAYS)], lines)


def _cost(days: Sequence[date], lines: Sequence[UsageLine]) -> Chart | None:
    """Cost by day and provider; None where nothing was spent."""
    spent: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for line in lines:
        if line.cost:
            spent[line.group["provider"]][line.group["day"]] = line.cost
    if not spent:
        return None
    dearest = sorted(spent, key=lambda name: -sum(spent[name].values()))
    layers: list[tuple[str, Mapping[str, int]]] = [(name, spent[name]) for name in dearest[: _LAYERS - 1]]
    rest: defaultdict[str, int] = defaultdict(int)
    for name in dearest[_LAYERS - 1 :]:
        for day, cost in spent[name].items():
            rest[day] += cost
    if rest:
        layers.append(("others", rest))
    names = [day.isoformat() for day in days]
    shown = {n: day.strftime("%d %b") for n, day in enumerate(days) if n % 5 == 2}
    series = [Series(name, [by_day.get(day, 0) / 10**12 for day in names]) for name, by_day in layers]
    return bars(
        "Cost by provider",
        Axis([day.strftime("%d %b") for day in days], shown),
        series,
        write=lambda dollars: pico(dollars * 10**12),
        about="US dollars. Each bar is one day in UTC.",
    )
