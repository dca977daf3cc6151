"""What the pages of review share: the door itself, addresses, and how many items are open."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....review import Reviews
from ...assets import BASE
from ...shell import HEADERS, Shell

HOME = f"{BASE}/review"


def door(shell: Shell) -> Reviews:
    """The reviews. Raises NotFound where the system has none."""
    if shell.doors.reviews is None:
        raise NotFound("no review queue is part of this system", next_step="Declare a queue in system.py.")
    return shell.doors.reviews


def address(item: str) -> str:
    """The page of an item."""
    return f"{HOME}/{quote(item, safe='')}"


async def open_items(shell: Shell, ctx: Context) -> int:
    """How many items of all queues have a free seat."""
    return sum(queue.open for queue in await door(shell).queues(ctx))


def token_of(form: Mapping[str, str]) -> int:
    """The lease that a form names. Raises InvalidInput."""
    text = form.get("token", "")
    if not text.isdecimal() or len(text) > 18:
        raise InvalidInput("the form names no lease", next_step="Take the item first.")
    return int(text)


def by_script(request: Request) -> bool:
    """Whether the page's own script asks, which goes on by itself."""
    return "application/json" in request.headers.get("accept", "")


def told(**content: object) -> Response:
    """An answer for the page's script."""
    return JSONResponse(content, headers=dict(HEADERS))


def refused(error: StanchionError) -> Response:
    """A refusal for the page's script, which shows its words."""
    words = {"detail": error.detail, "hint": error.hint, "code": error.code}
    return JSONResponse(words, error.status, headers=dict(HEADERS))
