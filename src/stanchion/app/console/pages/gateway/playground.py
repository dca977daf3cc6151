"""The playground: one question to two models side by side, streamed, with what each answer took and cost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .....core.context import Context
from .....core.errors import StanchionError
from .....core.http.routes import ROW
from .....core.telemetry.contract import LedgerRow
from .....gateway import Account, Gateway, Piece
from ...figures import duration, pico, sentence
from ...shell import HEADERS, Shell
from .asking import Question, ask_of, question_of
from .room import HOME, door
from .speaking import Speech, spoken

_MODELS = 200
_PICO = 10**12


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side said. `problem` is why it said no more; figures are empty where there are none."""

    text: str = ""
    problem: str = ""
    who: str = ""
    first: str = ""
    total: str = ""
    tokens: str = ""
    cost: str = ""


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The form, without an answer."""
    return await _show(shell, request, ctx, Question(), _chosen(request.query_params))


async def ask(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """The page with both answers: what browsers without scripts get."""
    question, chosen = question_of(form), _chosen(form)
    try:
        ask_of("", question)
    except StanchionError as error:
        return await _show(shell, request, ctx, question, chosen, error=error)
    gateway = door(shell)
    answers = await asyncio.gather(*(_whole(gateway, ctx, model, question) for model in chosen))
    return await _show(shell, request, ctx, question, chosen, answers=answers)


async def stream(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """One side's answer as it comes: lines of JSON, each with `text`, `done` or `problem`."""
    told = ask_of(form.get("model", ""), question_of(form), stream=True)
    row = cast("LedgerRow | None", request.scope.get(ROW))
    pieces = cast("AsyncGenerator[Piece, None]", door(shell).stream(ctx, told))
    return StreamingResponse(_lines(pieces, row), media_type="application/x-ndjson", headers=HEADERS)


async def _lines(pieces: AsyncGenerator[Piece, None], row: LedgerRow | None) -> AsyncIterator[bytes]:
    started, first, speech = time.perf_counter(), None, Speech()
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                if piece.opening is not None:
                    yield _line(who=_who(piece.opening))
                if text := speech.take(piece.data):
                    first = first or time.perf_counter()
                    yield _line(text=text)
                if piece.account is not None:
                    _learn(row, piece.account)
                    yield _line(done=asdict(_figures(piece.account, started, first)))
    except StanchionError as error:
        # The status is sent by now: the line tells what the status would have.
        if row is not None:
            row.outcome = error.code
        yield _line(problem=_problem(error))


async def _whole(gateway: Gateway, ctx: Context, model: str, question: Question) -> Answer | None:
    if not model:
        return None
    started = time.perf_counter()
    try:
        reply = await gateway.complete(ctx, ask_of(model, question))
    except StanchionError as error:
        return Answer(problem=_problem(error))
    made = _figures(reply.account, started, None)
    return Answer(spoken(reply.body), "", made.who, made.first, made.total, made.tokens, made.cost)


async def _show(
    shell: Shell,
    request: Request,
    ctx: Context,
    question: Question,
    chosen: tuple[str, str],
    *,
    answers: list[Answer | None] | None = None,
    error: StanchionError | None = None,
) -> Response:
    models = [model.name for model in await door(shell).models(ctx) if "chat" in model.shapes][:_MODELS]
    defaults = [*models, "", ""]
    sides = [name or ("" if any(chosen) else defaults[place]) for place, name in enumerate(chosen)]
    return shell.page(
        request,
        "gateway_playground.html",
        error=error,
        models=models,
        question=question,
        sides=list(zip("ab", sides, answers or [None, None], strict=True)),
        action=f"{HOME}/playground",
    )


def _chosen(form: Mapping[str, str]) -> tuple[str, str]:
    return form.get("model-a", "").strip()[:200], form.get("model-b", "").strip()[:200]


def _figures(account: Account, started: float, first: float | None) -> Answer:
    usage = account.usage
    about = "~" if usage.estimated else ""
    return Answer(
        who=_who(account),
        first="" if first is None else duration((first - started) * 1000),
        total=duration((time.perf_counter() - started) * 1000),
        tokens=f"{about}{usage.tokens_in:,} in, {about}{usage.tokens_out:,} out",
        cost=pico(account.cost) if account.priced else "no price known",
    )


def _who(account: Account) -> str:
    """Who answered, in words: the model, its upstream, the rung, and the cache where that was it."""
    place = f"{account.model} at {account.upstream}, {account.rung}"
    tried = "".join(f"; {model} failed: {code}" for model, code in account.tried)
    return place + tried + (f", from the cache ({account.cache})" if account.cache not in ("", "miss") else "")


def _problem(error: StanchionError) -> str:
    return f"{sentence(error.detail)} ({error.code}). {error.hint}"


def _learn(row: LedgerRow | None, account: Account) -> None:
    """Complete the request's ledger row, as the gateway's own paths do: what it cost is money all the same."""
    if row is not None:
        row.subject = f"route:{account.route}" if account.route else account.model
        row.version, row.rung, row.cache = account.model, account.rung, account.cache
        row.tokens_in, row.tokens_out = account.usage.tokens_in, account.usage.tokens_out
        row.cost = account.cost / _PICO


def _line(**told: Any) -> bytes:
    return json.dumps(told).encode() + b"\n"
