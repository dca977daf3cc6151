"""Dead letters: what a consumer gave up and why, given to it again or removed for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....events import DeadLetter, Selection
from ...assets import BASE
from ...flash import Flash
from ...forms import number
from ...rendering import query
from ...shell import Shell
from .room import HOME, correlation_of, door

# A form has at most 50 fields, and each letter has a box to tick.
_MOST, _TRIES = 40, 40
_SHOWN_BYTES = 20_000


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The newest forty, of all consumers or of one."""
    return await _show(shell, request, ctx, request.query_params.get("consumer", "")[:100])


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """How many there are by now: of its own, so that news does not untick a box."""
    consumer = request.query_params.get("consumer", "")[:100]
    return shell.fragment(request, "_dead_count.html", **await _counted(shell, ctx, consumer))


async def letter(shell: Shell, request: Request, ctx: Context) -> Response:
    """One dead letter with its data and the error of every attempt."""
    name, consumer = request.path_params["letter"], request.query_params.get("consumer", "")[:100]
    found = await door(shell).dead(ctx, consumer=consumer, selection=Selection(ids=(name,)), limit=1)
    if not found:
        raise NotFound(f"there is no dead letter {name!r}", next_step="It may have been given out again; see the list.")
    return shell.page(
        request,
        "letter.html",
        letter=found[0],
        tries=found[0].history[-_TRIES:],
        data=_data(found[0]),
        correlation=correlation_of(found[0].event),
        action=f"{HOME}/dead",
    )


async def change(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Give letters to their consumer again, or remove them."""
    consumer = form.get("consumer", "")
    try:
        said = await _change(shell, ctx, consumer, form)
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, consumer, error=error)
    return shell.leave(request, f"{HOME}/dead{query(consumer=consumer)}", Flash("ok", said))


async def _change(shell: Shell, ctx: Context, consumer: str, form: Mapping[str, str]) -> str:
    if not consumer:
        raise InvalidInput("the form names no consumer", next_step="Choose one above the list.")
    ids = tuple(value for name, value in form.items() if name.startswith("id-"))
    if form.get("what") == "redrive":
        if not ids and form.get("all") != "yes":
            raise InvalidInput("no letter was chosen", next_step="Tick those that are meant, or the box for all.")
        pace = form.get("rate", "").strip()
        rate = number(pace, name="the rate", least=0.01, most=100_000) if pace else None
        chosen = Selection() if form.get("all") == "yes" else Selection(ids=ids)
        again = await door(shell).redrive(ctx, consumer, chosen, rate=rate)
        return f"{again.number:,} go to {consumer} again{'; more are left, do it once more' if again.more else ''}."
    if form.get("what") == "discard":
        if not ids:
            raise InvalidInput("no letter was chosen", next_step="Tick those that are meant.")
        return f"{await door(shell).discard(ctx, consumer, ids):,} are removed for good."
    raise InvalidInput("nothing was chosen to be done", next_step="Use the buttons of the page.")


async def _show(
    shell: Shell, request: Request, ctx: Context, consumer: str, *, error: StanchionError | None = None
) -> Response:
    content = await _counted(shell, ctx, consumer)
    letters = await door(shell).dead(ctx, consumer=consumer, limit=_MOST)
    return shell.page(
        request,
        "dead.html",
        error=error,
        **content,
        letters=letters,
        full=len(letters) == _MOST,
        action=f"{HOME}/dead",
        live=f"{BASE}/fragments/events-dead{query(consumer=consumer)}",
        shown=sum(each.dead for each in content["consumers"] if consumer in ("", each.name)),
    )


async def _counted(shell: Shell, ctx: Context, consumer: str) -> dict[str, Any]:
    consumers = await door(shell).consumers(ctx)
    dead = sum(each.dead for each in consumers if consumer in ("", each.name))
    return {"consumer": consumer, "consumers": [each for each in consumers if each.dead], "number": dead}


def _data(letter: DeadLetter) -> str:
    """The event's data as text, as far as it is shown."""
    data = letter.event.data
    if data is None:
        return ""
    text = data[:_SHOWN_BYTES].decode("utf-8", errors="replace")
    return text if len(data) <= _SHOWN_BYTES else f"{text}…"
