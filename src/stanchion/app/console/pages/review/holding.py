"""What a reviewer does with an item besides deciding: take it, keep it, give it back, ask, and hand it on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from ...flash import Flash
from ...forms import number
from ...shell import Shell
from .room import HOME, address, by_script, door, refused, token_of, told
from .showing import left_of, show

_MOST_MINUTES = 7 * 24 * 60


async def claim(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Take this very item. Scripts get its lease as JSON."""
    item = request.path_params["item"]
    try:
        [case] = await door(shell).claim(ctx, ids=[item])
    except NotFound:
        raise
    except StanchionError as error:
        return refused(error) if by_script(request) else await show(shell, request, ctx, error=error)
    if by_script(request):
        return told(token=case.token, version=case.item.version, digest=case.digest, seconds=left_of(shell, case))
    return shell.leave(request, address(item))


async def heartbeat(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Prolong the lease of an open page; for how many seconds it holds now, as JSON."""
    try:
        until = await door(shell).heartbeat(ctx, request.path_params["item"], token_of(form))
    except StanchionError as error:
        return refused(error)
    return told(seconds=(until - shell.doors.clock.now()).total_seconds())


async def put_off(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Give the item back, put it off, ask its author, or hand it to somebody."""
    item, what = request.path_params["item"], form.get("what", "")
    reviews = door(shell)
    try:
        if what == "release":
            await reviews.release(ctx, item, token_of(form))
        elif what == "defer":
            minutes = number(form.get("minutes", ""), name="minutes", least=1, most=_MOST_MINUTES)
            until = shell.doors.clock.now() + timedelta(minutes=minutes)
            await reviews.defer(ctx, item, token_of(form), until, note=form.get("note", "").strip())
        elif what == "ask":
            await reviews.need_info(ctx, item, token_of(form), form.get("note", ""))
        elif what == "delegate":
            await reviews.delegate(ctx, item, form.get("to", "").strip(), note=form.get("note", "").strip())
        else:
            raise InvalidInput(f"nothing is called {what[:40]!r}", next_step="Use the buttons of the page.")
    except NotFound:
        raise
    except StanchionError as error:
        return await show(shell, request, ctx, error=error, given=form)
    said = {"release": "given back", "defer": "put off", "ask": "waiting for its author", "delegate": "handed on"}
    return shell.leave(request, HOME, Flash("ok", f"The item is {said[what]}."))


async def inform(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Answer what a reviewer has asked."""
    item = request.path_params["item"]
    try:
        await door(shell).inform(ctx, item, form.get("note", ""))
    except NotFound:
        raise
    except StanchionError as error:
        return await show(shell, request, ctx, error=error, given=form)
    return shell.leave(request, address(item), Flash("ok", "The item is open again, with your answer."))
