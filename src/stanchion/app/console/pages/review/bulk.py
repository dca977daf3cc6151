"""One decision for many items: those in hand are shown beside each other, and the chosen ones are decided alike.

Each item is still decided under its own lease, on the version and digest of what this page showed of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....review import Case, Settled, Submission, Verdict
from ...flash import Flash
from ...forms import number
from ...rendering import query
from ...shell import Shell
from .case import Sheet, sheet
from .room import HOME, door, refused, told

# A form has at most 50 fields, and each item has a box to tick.
MOST = 25
_HERE = f"{HOME}/bulk"
# An edit is of one proposal; it has no meaning for many.
VERDICTS: tuple[Verdict, ...] = tuple(each for each in get_args(Verdict) if each != "edit")


@dataclass(frozen=True, slots=True)
class Row:
    """An item in hand. `ticket` is what its box sends: id, version, lease and digest of what is shown."""

    case: Case
    sheet: Sheet
    ticket: str


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """What the caller holds of a queue."""
    return await _show(shell, request, ctx, request.query_params.get("queue", ""))


async def take(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Take so many more items of a queue."""
    queue = form.get("queue", "")
    try:
        wanted = number(form.get("number", "10"), name="the number", least=1, most=MOST)
        if not queue:
            raise InvalidInput("no queue was chosen", next_step="Choose one: its items share their reasons.")
        cases = await door(shell).claim(ctx, queue=queue, limit=int(wanted))
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, queue, error=error)
    said = f"{len(cases)} more are yours." if cases else "Nothing more is open that you could decide."
    return shell.leave(request, f"{_HERE}{query(queue=queue)}", Flash("ok", said))


async def decide(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Decide the chosen items alike, or give them back."""
    queue = form.get("queue", "")
    try:
        tickets = [_read(value) for name, value in form.items() if name.startswith("item-")]
        if not tickets:
            raise InvalidInput("no item was chosen", next_step="Tick those that are meant.")
        if form.get("what") == "release":
            for item, _, token, _ in tickets:
                await door(shell).release(ctx, item, token)
            return shell.leave(request, f"{_HERE}{query(queue=queue)}", Flash("ok", f"{len(tickets)} are given back."))
        settled = await door(shell).decide(ctx, _submissions(tickets, form))
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, queue, error=error, given=form)
    faults = [each for each in settled if each.error is not None]
    if faults:
        return await _show(shell, request, ctx, queue, faults=faults, decided=len(settled) - len(faults), given=form)
    return shell.leave(request, f"{_HERE}{query(queue=queue)}", Flash("ok", f"{len(settled)} are decided."))


async def heartbeat(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Prolong the leases of an open page; for how many of them that went well, as JSON."""
    kept = 0
    for ticket in form.get("tickets", "").split("\n")[:MOST]:
        try:
            item, _, token, _ = _read(ticket)
            await door(shell).heartbeat(ctx, item, token)
        except StanchionError as error:
            if error.status >= 500:
                return refused(error)
            continue
        kept += 1
    return told(kept=kept)


async def _show(
    shell: Shell,
    request: Request,
    ctx: Context,
    queue: str,
    *,
    error: StanchionError | None = None,
    faults: Sequence[Settled] = (),
    decided: int = 0,
    given: Mapping[str, str] = {},
) -> Response:
    queues = await door(shell).queues(ctx)
    rows = await _held(shell, ctx, queue) if any(each.name == queue for each in queues) else []
    return shell.page(
        request,
        "review_bulk.html",
        error=error,
        queues=queues,
        queue=queue,
        rows=rows,
        reasons=rows[0].case.reasons if rows else {},
        verdicts=VERDICTS,
        faults=[(each.item, each.error or {}) for each in faults],
        decided=decided,
        given=given,
        chosen={_read(value)[0] for name, value in given.items() if name.startswith("item-") and value.count(" ") == 3},
        most=MOST,
        here=_HERE,
    )


async def _held(shell: Shell, ctx: Context, queue: str) -> list[Row]:
    """The items under a lease of the caller's."""
    reviews = door(shell)
    items = await reviews.items(ctx, queue=queue, status=("open", "claimed"), mine=True, limit=4 * MOST)
    cases = [await reviews.get(ctx, item.id) for item in items if ctx.principal in item.holders]
    return [_row(case) for case in cases if case.token is not None][:MOST]


def _row(case: Case) -> Row:
    ticket = f"{case.item.id} {case.item.version} {case.token} {case.digest}"
    return Row(case, sheet(case), ticket)


def _read(ticket: str) -> tuple[str, int, int, str]:
    parts = ticket.split(" ")
    if len(parts) != 4 or not all(each.isascii() and each.isdecimal() and len(each) < 18 for each in parts[1:3]):
        raise InvalidInput("the form does not say what was shown", next_step="Reload the page.")
    return parts[0], int(parts[1]), int(parts[2]), parts[3]


def _submissions(tickets: Sequence[tuple[str, int, int, str]], form: Mapping[str, str]) -> list[Submission]:
    verdict = next((each for each in VERDICTS if each == form.get("verdict")), None)
    if verdict is None:
        raise InvalidInput("the form holds no decision", next_step=f"Choose one of {', '.join(VERDICTS)}.")
    words: dict[str, Any] = {"reason": form.get("reason", "").strip(), "note": form.get("note", "").strip()}
    return [Submission(item, version, digest, token, verdict, **words) for item, version, token, digest in tickets]
