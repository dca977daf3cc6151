"""The search field of the header: a model's name, a request id or a trace id."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import NotFound
from ..assets import BASE
from ..rendering import query
from ..shell import Shell


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """Leads to the model of that name, else to the requests with that id."""
    asked = request.query_params.get("q", "").strip()[:200]
    if not asked:
        return shell.leave(request, f"{BASE}/observe")
    if await _is_model(shell, ctx, asked):
        return shell.leave(request, f"{BASE}/models/{quote(asked, safe='')}")
    return shell.leave(request, f"{BASE}/observe{query(search=asked)}")


async def _is_model(shell: Shell, ctx: Context, name: str) -> bool:
    registry, serving = shell.doors.registry, shell.doors.serving
    if registry is not None and shell.permissions.may(ctx, "registry:read", name):
        # A whole reference may be malformed, which is no fault of a search; the list tells it without an error.
        before = name[:-1]
        if any(m.model == name for m in await registry.models(ctx, after=before)):
            return True
    if serving is not None and shell.permissions.may(ctx, "serving:read", name):
        try:
            await serving.describe(ctx, name)
        except NotFound:
            return False
        return True
    return False
