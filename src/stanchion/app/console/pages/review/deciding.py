"""Decisions: each on exactly what was shown, and taken back while nobody has heard of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import get_args

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError, from_problem
from .....core.values import Json
from .....review import Submission, Verdict
from ...flash import Flash
from ...forms import whole
from ...rendering import query
from ...shell import Shell
from .room import HOME, address, by_script, door, refused, token_of, told
from .showing import show

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_SAID = {"approve": "approved", "edit": "approved with the edit", "reject": "rejected", "escalate": "escalated"}


async def decide(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Take the decision on exactly what was shown, and go on to the next item. Scripts get JSON and go themselves."""
    item = request.path_params["item"]
    try:
        submission = await _submission(shell, ctx, item, form)
        [settled] = await door(shell).decide(ctx, [submission])
        if settled.error is not None:
            raise from_problem(settled.error)
    except NotFound:
        raise
    except StanchionError as error:
        return refused(error) if by_script(request) else await show(shell, request, ctx, error=error, given=form)
    if by_script(request):
        return told(done=item, said=_SAID[submission.verdict], undo=settled.status == "settling")
    queue = form.get("queue", "")
    following = await door(shell).claim(ctx, queue=queue)
    target = address(following[0].item.id) if following else HOME
    return shell.leave(request, f"{target}{query(done=item, queue='' if following else queue)}")


async def undo(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Take the caller's decision back, and take the item again."""
    item = request.path_params["item"]
    try:
        await door(shell).undo(ctx, item)
        await door(shell).claim(ctx, ids=[item])
    except NotFound:
        raise
    except StanchionError as error:
        return await show(shell, request, ctx, error=error)
    return shell.leave(request, address(item), Flash("ok", "The decision is taken back; nobody has heard of it."))


async def _submission(shell: Shell, ctx: Context, item: str, form: Mapping[str, str]) -> Submission:
    verdict = next((each for each in VERDICTS if each == form.get("verdict")), None)
    if verdict is None:
        raise InvalidInput("the form holds no decision", next_step=f"Choose one of {', '.join(VERDICTS)}.")
    version = whole(form.get("version", ""), name="the version", least=0, most=2**53)
    if version is None or not form.get("digest"):
        raise InvalidInput("the form does not say what was shown", next_step="Reload the page.")
    value: Json = None
    if verdict == "edit":
        value = await _edited(shell, ctx, item, form.get("value", ""))
    return Submission(
        item,
        version,
        form["digest"],
        token_of(form),
        verdict,
        reason=form.get("reason", "").strip(),
        note=form.get("note", "").strip(),
        value=value,
    )


async def _edited(shell: Shell, ctx: Context, item: str, text: str) -> Json:
    """What the proposal was changed to: words where it is words, else JSON."""
    case = await door(shell).get(ctx, item)
    if isinstance(case.shown.get("proposal"), str):
        return text
    try:
        value: Json = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"the edited proposal is no JSON: {error}", next_step="Correct it; it is kept.") from error
    return value
