"""POST /v1/predictions/stream: an event for each answer as it is ready, then one that ends the stream.

`answer` has the place of the instance with its outcome, or its own error, `error` ends the stream early with a problem
document, `end` closes a whole one. A stream without either broke off.
Source: server-sent events, HTML Living Standard, section 9.2.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.routing import Route

from ...core.context import Context, new_request_id
from ...core.errors import FieldProblem, InvalidInput, PayloadTooLarge, StanchionError
from ...core.http.door import problem_of
from ...core.http.limits import read_body
from ...core.http.routes import BODY, CONTEXT, ROW, decoded
from ...core.tasks import end_tasks
from ...core.telemetry.contract import LedgerRow
from ..answers import FEATURES, Ask, Instance, instances_of, marks, moved, named, options_of
from ..contract.predictions import Predictions, PredictOptions, Predicts

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATH = "/v1/predictions/stream"
MOST = 10_000
_TOGETHER = 8
_BODY = 8 << 20  # where no door has read the body already, as in a test
_DECODER = msgspec.json.Decoder(Ask)
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # A proxy that collects answers would make one late lump of the stream.
    (b"x-accel-buffering", b"no"),
)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to the instance at one place: predictions of that one, or why it was refused.

    Each is a request of its own to whoever keeps predictions, so that feedback can name it.
    """

    place: int
    request_id: str
    predictions: Predictions | None = None
    refused: InvalidInput | None = None


async def each_answered(
    serving: Predicts, ctx: Context, model: str, instances: Sequence[Instance], options: PredictOptions
) -> AsyncGenerator[Answered, None]:
    """Every instance's answer as it is ready, a few under way at a time.

    An instance that is not valid has an answer of its own; any other error ends the rest and is raised. Whoever stops
    reading ends what is under way.
    """
    waiting = enumerate(instances)
    running: dict[asyncio.Task[Predictions], tuple[int, str]] = {}
    try:
        while True:
            while len(running) < _TOGETHER and (following := next(waiting, None)) is not None:
                place, instance = following
                own = replace(ctx, request_id=new_request_id())
                task = asyncio.ensure_future(serving.predict(own, model, [instance], options=options))
                running[task] = place, own.request_id
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=running.__getitem__):
                place, request_id = running.pop(task)
                yield _outcome(place, request_id, task)
    finally:
        await end_tasks(*running)


def _outcome(place: int, request_id: str, task: asyncio.Task[Predictions]) -> Answered:
    try:
        return Answered(place, request_id, task.result())
    except InvalidInput as error:
        # What is wrong with the instance itself concerns it alone; a model's name that is none concerns them all.
        if not any(each.path.startswith(FEATURES) for each in error.fields):
            raise moved(error, f"$.instances[{place}]") from error
        return Answered(place, request_id, None, moved(error, f"$.instances[{place}]"))


class EventStream:
    """The ASGI application of the route, over a gated serving."""

    def __init__(self, serving: Predicts) -> None:
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get(BODY)
        if body is None:
            body = await read_body(receive, _BODY)
        row: LedgerRow = scope[ROW]
        work = asyncio.ensure_future(self._answer(scope[CONTEXT], row, decoded(body, _DECODER), send))
        left = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            else:
                # Nobody reads any more, so nothing further is computed.
                row.outcome = "cancelled"
        finally:
            await end_tasks(work, left)

    async def _answer(self, ctx: Context, row: LedgerRow, ask: Ask, send: Send) -> None:
        started = time.perf_counter()
        instances = instances_of(ask)
        if not instances:
            raise InvalidInput("there is no instance", fields=[FieldProblem("$.instances", "Give at least one")])
        if len(instances) > MOST:
            raise PayloadTooLarge(f"{len(instances)} instances are more than {MOST} in one call")
        row.items, refused = len(instances), 0
        named(row, ask.model_id)
        async with aclosing(each_answered(self._serving, ctx, ask.model_id, instances, options_of(ask))) as answers:
            # Until the first answer is known no status has been sent: what refuses them all is a proper answer.
            first = await anext(answers)
            headers = [*_HEADERS, (b"x-trace-id", ctx.trace.trace_id.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            refused += await _tell(send, row, ask, first)
            try:
                async for answer in answers:
                    refused += await _tell(send, row, ask, answer)
            except StanchionError as error:
                row.outcome = error.code
                await _event(send, "error", problem_of(error, row), more=False)
                return
        end = {
            "request_id": ctx.request_id,
            "trace_id": ctx.trace.trace_id,
            "model_id": row.subject,
            "answered": len(instances) - refused,
            "refused": refused,
            "latency_ms": round((time.perf_counter() - started) * 1000, 3),
        }
        await _event(send, "end", end, more=False)


async def _tell(send: Send, row: LedgerRow, ask: Ask, answer: Answered) -> bool:
    """Send the event of one answer; whether its instance was refused."""
    if answer.predictions is None:
        error = None if answer.refused is None else problem_of(answer.refused, row)
        await _event(send, "answer", {"index": answer.place, "error": error}, place=answer.place)
        return True
    found = answer.predictions
    row.subject, row.version, row.rung, row.cache = found.model, found.version, found.served_by, found.cache
    item = found.items[0]
    told: dict[str, Any] = {
        "index": answer.place,
        "request_id": answer.request_id,
        "model_id": found.model,
        "model_version": found.version,
        "served_by": found.served_by,
        **marks(item),
    }
    if found.arm:
        told["arm"] = found.arm
    if ask.explain is not msgspec.UNSET:
        told["timing_ms"] = {stage: round(ms, 3) for stage, ms in found.timings.items()}
    told |= {"outcome": item.values} if item.error is None else {"error": item.error}
    await _event(send, "answer", told, place=answer.place)
    return item.error is not None


async def _event(send: Send, name: str, data: object, *, place: int | None = None, more: bool = True) -> None:
    identity = "" if place is None else f"id: {place}\n"
    # JSON holds no bare line break, so it is one line of data.
    body = b"".join((f"event: {name}\n{identity}data: ".encode(), _encode(data), b"\n\n"))
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event_route(serving: Predicts) -> Route:
    """The route over a gated serving."""
    return Route(PATH, EventStream(serving), methods=["POST"])
