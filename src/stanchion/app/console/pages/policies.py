"""Policies: the built-in ones to read, the tenant's own to write, and a question to try them with."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import InvalidInput, StanchionError
from ....core.security.contract import Verdict
from ..assets import BASE
from ..flash import Flash
from ..forms import words
from ..shell import Shell


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """Both texts, and the verdict where a question stands in the address."""
    return await _show(shell, request, ctx)


async def save(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Replace the tenant's own policies; a refused text stays in the editor."""
    try:
        version = form.get("version", "")
        if not version.isdecimal():
            raise InvalidInput("the form has no version", next_step="Reload the page and edit again.")
        saved = await shell.doors.policies.put(ctx, form.get("text", ""), version=int(version))
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error, given=form)
    message = f"Policies saved as version {saved.version}. They hold from now on."
    return shell.leave(request, f"{BASE}/govern/policies", Flash("ok", message))


async def _show(
    shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None, given: Mapping[str, str] = {}
) -> Response:
    asked = {name: request.query_params.get(name, "").strip() for name in ("roles", "scopes", "action", "resource")}
    verdict: Verdict | None = None
    if asked["action"]:
        try:
            verdict = await shell.doors.policies.check(
                ctx,
                roles=words(asked["roles"]),
                scopes=words(asked["scopes"]),
                action=asked["action"],
                resource=asked["resource"] or "*",
            )
        except InvalidInput as refused:
            error = error or refused
    return shell.page(
        request,
        "policies.html",
        error=error,
        given=given,
        own=await shell.doors.policies.get(ctx),
        built_in=await shell.doors.policies.built_in(ctx),
        asked=asked,
        verdict=verdict,
        actions=shell.permissions.names(),
    )
