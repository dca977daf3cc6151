"""Rollouts: how the new version does beside the present one, and the forms that start, stop and decide one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import InvalidInput, NotFound, StanchionError
from ....serving import Rollout, RolloutKind, RolloutPlan, RolloutStep, Serving
from ..assets import BASE
from ..flash import Flash
from ..forms import number
from ..shell import Shell
from .models import show

_SAID = {
    "approve": "The rollout of {0} begins.",
    "pause": "The rollout of {0} is paused; everything goes to {1}.",
    "resume": "The rollout of {0} goes on.",
    "abort": "The rollout of {0} is aborted; {1} stays.",
    "promote": "{2} of {0} is in production.",
    "rollback": "{2} of {0} is taken back; {1} answers.",
}


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """One rollout with all its evidence: the newest, or the one of `?id=`."""
    name = request.path_params["model"]
    report = await _serving(shell).rollout(ctx, name, rollout=request.query_params.get("id", ""))
    others = await _serving(shell).rollouts(ctx, model=name, limit=20)
    return shell.page(request, "rollout.html", model=name, report=report, others=others)


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The rollout's shares and guards as they stand now."""
    report = await _serving(shell).rollout(ctx, request.path_params["model"])
    return shell.fragment(request, "_rollout.html", report=report)


async def start(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Start a rollout of the version that the form names."""
    name = request.path_params["model"]
    try:
        if form.get("confirm") != "yes":
            raise InvalidInput("the rollout was not confirmed", next_step="Tick the box above the button.")
        begun = await _serving(shell).start_rollout(ctx, name, form.get("version", ""), _plan(form))
    except NotFound:
        raise
    except StanchionError as error:
        return await show(shell, request, ctx, error=error, given=form)
    said = "waits for a second person" if begun.state == "waiting" else "has begun"
    return shell.leave(request, _address(name), Flash("ok", f"The {begun.kind} of {name} {begun.candidate} {said}."))


async def change(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Do to the rollout what the pressed button says."""
    name = request.path_params["model"]
    try:
        rollout = await _changed(_serving(shell), ctx, name, form)
    except NotFound:
        raise
    except StanchionError as error:
        return await show(shell, request, ctx, error=error, given=form)
    said = _SAID[form["what"]].format(name, rollout.control, rollout.candidate)
    if rollout.state == "pending":
        said = f"Asked for {rollout.candidate} of {name}. Another person must promote it."
    return shell.leave(request, _address(name), Flash("ok", said))


async def _changed(serving: Serving, ctx: Context, model: str, form: Mapping[str, str]) -> Rollout:
    what, reason = form.get("what", ""), form.get("reason", "").strip()
    if what in ("abort", "promote", "rollback") and form.get("confirm") != "yes":
        raise InvalidInput("the change was not confirmed", next_step="Tick the box above the buttons.")
    match what:
        case "approve":
            return await serving.approve_rollout(ctx, model)
        case "pause":
            return await serving.pause_rollout(ctx, model, reason=reason)
        case "resume":
            return await serving.resume_rollout(ctx, model, reason=reason)
        case "abort":
            return await serving.abort_rollout(ctx, model, reason=reason)
        case "promote":
            return await serving.promote_rollout(ctx, model, evidence=reason)
        case "rollback":
            return await serving.roll_back_rollout(ctx, model, reason=reason)
    raise InvalidInput("the form names no change", next_step="Press one of the buttons of the page.")


def _plan(form: Mapping[str, str]) -> RolloutPlan:
    kind = form.get("kind", "")
    if kind not in get_args(RolloutKind):
        raise InvalidInput(f"there is no rollout of kind {kind!r}", next_step="Choose one of the list.")
    seconds = number(form.get("seconds", "600"), name="seconds", least=0, most=2_592_000)
    samples = int(number(form.get("samples", "200"), name="samples", least=0, most=1e9))
    budget = int(number(form.get("budget", "20"), name="failure budget", least=1, most=1e9))
    percents = [number(each, name="percent", least=0, most=100) for each in form.get("percents", "").split()]
    if kind not in ("canary", "ab"):
        percents = [0.0]
    elif kind == "ab":
        percents = percents[:1] or [50.0]
    steps = tuple(RolloutStep(percent, seconds, samples) for percent in percents)
    # The line above proves that it is one of the literals; a checker cannot narrow a str by get_args.
    return RolloutPlan(kind=cast(RolloutKind, kind), steps=steps, failure_budget=budget)


def _serving(shell: Shell) -> Serving:
    if shell.doors.serving is None:
        raise NotFound("nothing is served here", next_step="Enable the serving module.")
    return shell.doors.serving


def _address(model: str) -> str:
    return f"{BASE}/models/{quote(model, safe='')}"
