"""An item's page: everything that its reviewer needs, and whether it is still what the page shows."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import StanchionError
from .....review import Case, Item
from ...assets import BASE
from ...rendering import query
from ...shell import HEADERS, Shell
from .case import sheet
from .room import address, door

_TITLED = 60


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The item."""
    return await show(shell, request, ctx)


async def state_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Where the item stands, and whether it is still what the page shows."""
    case = await door(shell).get(ctx, request.path_params["item"])
    seen = request.query_params.get("digest", case.digest), request.query_params.get("version", "")
    changed = seen != (case.digest, str(case.item.version))
    return shell.fragment(request, "_review_state.html", case=case, item=case.item, changed=changed)


async def ahead(shell: Shell, request: Request, ctx: Context) -> Response:
    """The page of the item that most likely comes next: it is read, not taken, so no lease runs meanwhile."""
    queue, here = request.query_params.get("queue", "")[:100], request.path_params["item"]
    items = await door(shell).items(ctx, queue=queue, status=("open",), limit=5)
    for item in items:
        if item.id == here or item.author == ctx.principal:
            continue
        marks = (await door(shell).get(ctx, item.id)).history if item.votes else ()
        # A second seat of an item is for somebody else than who has the first.
        if not any(mark.kind == "voted" and mark.by == ctx.principal for mark in marks):
            return await show(shell, request, ctx, item=item.id)
    return Response(status_code=204, headers=HEADERS)


async def taken_back(shell: Shell, request: Request, ctx: Context) -> Item | None:
    """The item that was decided just before, if that can still be undone: the page offers it."""
    name = request.query_params.get("done", "")[:100]
    if not name or not shell.permissions.may(ctx, "review:see", name):
        return None
    try:
        item = (await door(shell).get(ctx, name)).item
    except StanchionError:
        return None
    until = item.undo_until
    return item if until is not None and until > shell.doors.clock.now() else None


async def show(
    shell: Shell,
    request: Request,
    ctx: Context,
    *,
    item: str = "",
    error: StanchionError | None = None,
    given: Mapping[str, str] = {},
) -> Response:
    case = await door(shell).get(ctx, item or request.path_params["item"])
    return shell.page(
        request,
        "review.html",
        error=error,
        given=given,
        case=case,
        item=case.item,
        sheet=sheet(case),
        title_of=case.item.title[:_TITLED] or case.item.id,
        changed=False,
        seconds=left_of(shell, case),
        done=await taken_back(shell, request, ctx) if not item else None,
        action=address(case.item.id),
        live=f"{BASE}/fragments/review/{case.item.id}{query(version=case.item.version, digest=case.digest)}",
    )


def left_of(shell: Shell, case: Case) -> float | None:
    """Seconds for which the caller's lease holds; None without one."""
    return None if case.leased_until is None else (case.leased_until - shell.doors.clock.now()).total_seconds()
