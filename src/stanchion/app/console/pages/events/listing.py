"""The newest events, and one of them: its envelope, its data for those who may read them, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound
from .....events import Envelope, Event, Selection
from ...assets import BASE
from ...rendering import query
from ...shell import Shell
from .room import door
from .tree import grown

_MOST = 50
_SHOWN_BYTES = 20_000
_FIELDS = ("type", "source", "subject", "since", "until")
# Its data are asked for under a right of its own: who sees that events come need not see what they say.
_READS = "events:follow"
_NOTHING: dict[str, Any] = {"branches": (), "left_out": 0, "stuck": (), "picture": None}


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The newest fifty that fit."""
    asked = {name: request.query_params.get(name, "").strip()[:500] for name in _FIELDS}
    try:
        content = await _listed(shell, ctx, asked)
    except InvalidInput as error:
        return shell.page(request, "recent.html", error=error, asked=asked, envelopes=(), full=False, live=None)
    live = f"{BASE}/fragments/events-recent{query(**asked)}"
    return shell.page(request, "recent.html", asked=asked, live=live, **content)


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Their rows alone."""
    asked = {name: request.query_params.get(name, "").strip()[:500] for name in _FIELDS}
    return shell.fragment(request, "_recent.html", asked=asked, **await _listed(shell, ctx, asked))


async def event(shell: Shell, request: Request, ctx: Context) -> Response:
    """One event. Without the right to read data its envelope stands alone."""
    place = request.path_params["place"]
    found = await door(shell).recent(ctx, place=place)
    if not found:
        raise NotFound(
            "the bus holds this event no more", next_step="Events are removed some time after they were handled."
        )
    whole = (await door(shell).recall(ctx, place)).event if shell.permissions.may(ctx, _READS) else None
    live = f"{BASE}/fragments/events-recent/{place}"
    content: dict[str, Any] = {"envelope": found[0], "event": whole, "data": _data(whole), "live": live}
    return shell.page(request, "recent_event.html", **content, **await _after(shell, ctx, found[0]))


async def event_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """What has come of it by now."""
    found = await door(shell).recent(ctx, place=request.path_params["place"])
    grown_by_now = await _after(shell, ctx, found[0]) if found else _NOTHING
    return shell.fragment(request, "_recent_after.html", **grown_by_now)


async def _listed(shell: Shell, ctx: Context, asked: dict[str, str]) -> dict[str, Any]:
    selection = Selection(
        types=tuple(asked["type"].replace(",", " ").split())[:32],
        source=asked["source"],
        subject=asked["subject"],
        since=_moment(asked["since"], "since"),
        until=_moment(asked["until"], "until"),
    )
    found = await door(shell).recent(ctx, selection=selection, limit=_MOST)
    return {"envelopes": found, "full": len(found) == _MOST}


async def _after(shell: Shell, ctx: Context, envelope: Envelope) -> dict[str, Any]:
    """The tree that the event stands in; no branches where it led to nothing and nothing led to it."""
    try:
        return await grown(shell, ctx, envelope.correlation)
    except NotFound:
        return _NOTHING


def _moment(text: str, name: str) -> datetime | None:
    """A moment of a form field, UTC where it names no offset. Raises InvalidInput."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{text[:40]!r} is no moment", next_step=f"Write `{name}` such as 2026-01-31 12:00, in UTC."
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _data(event: Event | None) -> str:
    """The data as text: JSON in lines, as far as it is shown; what is no text is told of by its size."""
    if event is None or event.data is None:
        return ""
    data = event.data
    try:
        text = msgspec.json.format(data, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = data.decode("utf-8", errors="replace")
    if "\ufffd" in text and not event.content_type.startswith("text/"):
        return f"{len(data):,} bytes of {event.content_type}"
    return text if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES]}…"
