"""Which version answers: the forms that change it. The registry decides whether they may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import cast, get_args
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import InvalidInput, NotFound, StanchionError
from ....registry import Registry, Stage
from ..assets import BASE
from ..flash import Flash
from ..shell import Shell
from .models import show

Change = Callable[[Registry, str], Awaitable[str]]


async def promote(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Ask for a stage, with the evidence for it."""

    async def change(registry: Registry, model: str) -> str:
        _confirmed(form)
        version, to = form.get("version", ""), _stage(form.get("to", ""))
        evidence = form.get("evidence", "").strip()
        if to == "production" and not evidence:
            raise InvalidInput("production needs evidence", next_step="Tell what was compared, with what result.")
        asked = await registry.promote(ctx, model, version, to=to, evidence=evidence)
        if asked.status == "pending":
            return f"Asked for {model} {version} in {to}. Another person must approve it here."
        return f"{model} {version} is now in {to}."

    return await _apply(shell, request, ctx, form, change)


async def approve(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Decide, as the second person, what somebody else asked for."""

    async def change(registry: Registry, model: str) -> str:
        _confirmed(form)
        version, to = form.get("version", ""), _stage(form.get("to", ""))
        done = await registry.promote(ctx, model, version, to=to)
        return f"{model} {version} is now in {to}." if done.status == "done" else f"{model} {version} still waits."

    return await _apply(shell, request, ctx, form, change)


async def rollback(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Put the production version before this one back."""

    async def change(registry: Registry, model: str) -> str:
        _confirmed(form)
        reason = form.get("reason", "").strip()
        if not reason:
            raise InvalidInput("a rollback needs a reason", next_step="Tell in a sentence what went wrong.")
        back = await registry.rollback(ctx, model, reason=reason)
        return f"{model} {back.version} is back in production."

    return await _apply(shell, request, ctx, form, change)


async def alias(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Point an alias at a version, or remove it where no version is chosen."""

    async def change(registry: Registry, model: str) -> str:
        name, version = form.get("alias", "").strip(), form.get("version", "")
        if not name:
            raise InvalidInput("the alias has no name", next_step="Give it one, such as `canary`.")
        await registry.alias(ctx, model, name, version or None)
        return f"{model}@{name} now means {version}." if version else f"{model}@{name} is removed."

    return await _apply(shell, request, ctx, form, change)


async def _apply(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str], change: Change) -> Response:
    """Make the change and say so; a refused one shows the page again with what the form held."""
    registry, model = shell.doors.registry, request.path_params["model"]
    if registry is None:
        raise NotFound("no registry is placed here", next_step="Enable the registry module.")
    try:
        message = await change(registry, model)
    except NotFound:
        raise
    except StanchionError as error:
        return await show(shell, request, ctx, error=error, given=form)
    return shell.leave(request, f"{BASE}/models/{quote(model, safe='')}", Flash("ok", message))


def _confirmed(form: Mapping[str, str]) -> None:
    if form.get("confirm") != "yes":
        raise InvalidInput("the change was not confirmed", next_step="Tick the box above the button.")


def _stage(text: str) -> Stage:
    if text not in get_args(Stage):
        raise InvalidInput(f"there is no stage {text!r}", next_step=f"Choose one of {', '.join(get_args(Stage))}.")
    # The line above proves it; a checker cannot narrow a str by get_args.
    return cast(Stage, text)
