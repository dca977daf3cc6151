"""Budgets: how full each one is, who holds it, and the forms that change one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....gateway import BudgetSpec, BudgetState, Level, Limit, Window
from ...assets import BASE
from ...figures import count, pico
from ...flash import Flash
from ...forms import whole
from ...shell import Shell
from .room import HOME, door

_ROWS = 90
_MOST = 10**15
WINDOWS: tuple[Window, ...] = get_args(Window)
_NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Bar:
    """One limit. Shares are of the limit, together at most 1; `holder` is the subject in words."""

    level: Level
    holder: str
    used: float
    reserved: float
    state: Literal["ok", "warn", "bad"]
    text: str


async def listing(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every budget with its bars."""
    return shell.page(
        request,
        "gateway_budgets.html",
        **await _listed(shell, ctx),
        given={},
        windows=WINDOWS,
        live=f"{BASE}/fragments/gateway/budgets",
    )


async def listing_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The bars alone."""
    return shell.fragment(request, "_gateway_budgets.html", **await _listed(shell, ctx))


async def detail(shell: Shell, request: Request, ctx: Context) -> Response:
    """One budget."""
    return await _show(shell, request, ctx)


async def detail_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Its bars alone."""
    state = await door(shell).budget(ctx, request.path_params["budget"])
    return shell.fragment(request, "_gateway_budget.html", bars=await _bars(shell, ctx, state.levels[:_ROWS]))


async def create(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Make a budget that does not exist yet."""
    try:
        state = await door(shell).put_budget(ctx, _spec(form.get("name", "").strip(), form), expected=0)
    except StanchionError as error:
        content = await _listed(shell, ctx)
        live = f"{BASE}/fragments/gateway/budgets"
        return shell.page(
            request, "gateway_budgets.html", error=error, **content, given=form, windows=WINDOWS, live=live
        )
    return shell.leave(request, _address(state), Flash("ok", f"The budget {state.spec.name} holds."))


async def save(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Replace the budget."""
    try:
        spec = _spec(request.path_params["budget"], form)
        state = await door(shell).put_budget(ctx, spec, expected=_version(form))
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error, given=form)
    return shell.leave(request, _address(state), Flash("ok", f"Version {state.version} of {spec.name} holds."))


async def delete(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Remove what was put; a declared budget holds again."""
    name = request.path_params["budget"]
    try:
        if form.get("confirm") != "yes":
            raise InvalidInput("removing the budget was not confirmed", next_step="Tick the box above the button.")
        await door(shell).delete_budget(ctx, name, expected=_version(form))
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error)
    return shell.leave(request, f"{HOME}/budgets", Flash("ok", f"What was put as {name} is removed."))


async def _listed(shell: Shell, ctx: Context) -> dict[str, Any]:
    states = await door(shell).budgets(ctx)
    room = _ROWS
    shown: list[tuple[BudgetState, list[Bar], int]] = []
    for state in states:
        fullest = sorted(state.levels, key=lambda level: -_share(level))[: max(1, min(room, 10))] if room else []
        room -= max(1, len(fullest))
        shown.append((state, await _bars(shell, ctx, fullest), len(state.levels) - len(fullest)))
        if room <= 0:
            break
    return {"budgets": shown, "left_out": len(states) - len(shown)}


async def _show(
    shell: Shell,
    request: Request,
    ctx: Context,
    *,
    error: StanchionError | None = None,
    given: Mapping[str, str] | None = None,
) -> Response:
    state = await door(shell).budget(ctx, request.path_params["budget"])
    name = quote(state.spec.name, safe="")
    return shell.page(
        request,
        "gateway_budget.html",
        error=error,
        state=state,
        bars=await _bars(shell, ctx, state.levels[:_ROWS]),
        left_out=max(0, len(state.levels) - _ROWS),
        given=given or _form_of(state.spec),
        windows=WINDOWS,
        action=_address(state),
        live=f"{BASE}/fragments/gateway/budgets/{name}",
    )


async def _bars(shell: Shell, ctx: Context, levels: Sequence[Level]) -> list[Bar]:
    names: dict[str, str] = {}
    if any(level.subject.startswith("key:") for level in levels) and shell.permissions.may(ctx, "keys:list"):
        names = {f"key:{key.id}": key.name for key in await shell.doors.keys.list(ctx)}
    return [_bar(level, names) for level in levels]


def _bar(level: Level, names: Mapping[str, str]) -> Bar:
    write = pico if level.measure == "cost" else count
    used = min(1.0, level.used / level.limit) if level.limit else 1.0
    reserved = min(1.0 - used, level.reserved / level.limit) if level.limit else 0.0
    full = used + reserved
    text = f"{write(level.used)} of {write(level.limit)}"
    return Bar(
        level,
        names.get(level.subject, level.subject),
        used,
        reserved,
        "bad" if full >= 1 else "warn" if full >= _NEAR else "ok",
        f"{text}, {write(level.reserved)} set aside" if level.reserved else text,
    )


def _share(level: Level) -> float:
    return (level.used + level.reserved) / level.limit if level.limit else 1.0


def _spec(name: str, form: Mapping[str, str]) -> BudgetSpec:
    """The budget that the form asks for. Raises InvalidInput; what the numbers mean is checked by the gateway."""
    limits = []
    for window in WINDOWS:
        cost = form.get(f"cost-{window}", "").strip() or None
        tokens = whole(form.get(f"tokens-{window}", ""), name=f"tokens a {window}", least=0, most=_MOST)
        requests = whole(form.get(f"requests-{window}", ""), name=f"calls a {window}", least=0, most=_MOST)
        if any(value is not None for value in (cost, tokens, requests)):
            limits.append(Limit(window, cost, tokens, requests))
    concurrency = whole(form.get("concurrency", ""), name="calls at once", least=1, most=10_000)
    return BudgetSpec(name, form.get("subject", "").strip() or "tenant", tuple(limits), concurrency)


def _form_of(spec: BudgetSpec) -> dict[str, str]:
    form = {"subject": spec.subject, "concurrency": "" if spec.concurrency is None else str(spec.concurrency)}
    for limit in spec.limits:
        for name, value in (("cost", limit.cost), ("tokens", limit.tokens), ("requests", limit.requests)):
            form[f"{name}-{limit.window}"] = "" if value is None else str(value)
    return form


def _version(form: Mapping[str, str]) -> int:
    text = form.get("version", "")
    if not text.isdecimal() or len(text) > 9:
        raise InvalidInput("the form does not say which version it replaces", next_step="Reload the page.")
    return int(text)


def _address(state: BudgetState) -> str:
    return f"{HOME}/budgets/{quote(state.spec.name, safe='')}"
