"""The queues and their items, the most urgent first, and what a reviewer takes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import NotFound, StanchionError
from .....review import Item, Status
from ...assets import BASE
from ...figures import span_of
from ...flash import Flash
from ...rendering import query
from ...shell import Shell
from .room import HOME, address, door, open_items
from .showing import taken_back

_LIMIT, _QUEUES = 50, 40
STATUSES: tuple[Status, ...] = get_args(Status)
_UNDECIDED: tuple[Status, ...] = ("open", "claimed", "waiting", "deferred", "settling")


@dataclass(frozen=True, slots=True)
class Due:
    """How an item stands to its deadline."""

    state: Literal["ok", "warn", "bad", "off"]
    text: str


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The list, 50 items a page."""
    return await _show(shell, request, ctx)


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The queues and the items alone."""
    return shell.fragment(request, "_reviews.html", **await _listed(shell, request, ctx))


async def badge(shell: Shell, request: Request, ctx: Context) -> Response:
    """How many items are open, for the menu."""
    return shell.fragment(request, "_review_badge.html", number=await open_items(shell, ctx))


async def take(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Claim what the caller should work on next, and go there."""
    queue, done = form.get("queue", ""), form.get("done", "")
    try:
        cases = await door(shell).claim(ctx, queue=queue)
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error)
    if not cases:
        said = "Nothing more is open that you could decide."
        return shell.leave(request, f"{HOME}{query(queue=queue, done=done)}", Flash("ok", said))
    return shell.leave(request, f"{address(cases[0].item.id)}{query(done=done)}")


async def _show(shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None) -> Response:
    content = await _listed(shell, request, ctx)
    return shell.page(
        request,
        "reviews.html",
        error=error,
        **content,
        statuses=STATUSES,
        done=await taken_back(shell, request, ctx),
        live=f"{BASE}/fragments/review{query(**content['asked'], after=content['after'])}",
    )


async def _listed(shell: Shell, request: Request, ctx: Context) -> dict[str, Any]:
    reviews = door(shell)
    queues = await reviews.queues(ctx)
    asked = {name: request.query_params.get(name, "").strip()[:100] for name in ("queue", "status", "mine")}
    wanted = [status for status in STATUSES if status == asked["status"]] or _UNDECIDED
    queue = asked["queue"] if any(each.name == asked["queue"] for each in queues) else ""
    after = request.query_params.get("after", "")[:100]
    items = await reviews.items(ctx, queue=queue, status=wanted, mine=asked["mine"] == "yes", after=after, limit=_LIMIT)
    now = shell.doors.clock.now()
    older = query(**asked, after=items[-1].id) if len(items) == _LIMIT else ""
    return {
        "asked": asked,
        "after": after,
        "queues": queues[:_QUEUES],
        "items": [(item, due(item, now)) for item in items],
        "newest": f"{HOME}{query(**asked)}" if after else None,
        "older": f"{HOME}{older}" if older else None,
        "totals": {
            "open": sum(each.open for each in queues),
            "claimed": sum(each.claimed for each in queues),
            "warned": sum(each.warned for each in queues),
            "escalated": sum(each.escalated for each in queues),
        },
    }


def due(item: Item, now: datetime) -> Due:
    """The deadline in words, and how bad it is."""
    if item.status in ("decided", "expired"):
        return Due("off", f"{item.verdict or item.status}{', expired' if item.status == 'expired' else ''}")
    if item.status == "settling":
        return Due("off", f"{item.verdict}, can be undone")
    left = item.due_at - now
    if left < timedelta(0):
        return Due("bad", f"overdue for {span_of(left)}")
    return Due("warn" if now >= item.warn_at else "ok", f"due in {span_of(left)}")
