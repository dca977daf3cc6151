"""Predictions over a WebSocket: ids, order of readiness, room, limits, and an end for what nobody waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from stanchion.core.context import Context, new_request_id
from stanchion.core.errors import NotAuthenticated, StanchionError
from stanchion.core.http.routes import Connection, Message
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.serving import Prediction, Predictions
from stanchion.serving.protocols.socket import MOST, PredictionSocket


class Slow:
    """A serving whose answers wait until they are let go, by the number in the instance."""

    def __init__(self) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.asked: list[int] = []
        self.cancelled: list[int] = []
        self.deadlines: list[float | None] = []

    def gate(self, number: int) -> asyncio.Event:
        return self.gates.setdefault(number, asyncio.Event())

    async def predict(self, ctx: Context, model: str, instances: Sequence[Mapping[str, Any]], **_: Any) -> Predictions:
        number = instances[0]["n"]
        self.asked.append(number)
        self.deadlines.append(ctx.deadline)
        try:
            await self.gate(number).wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return Predictions(model, "1.0.0", "primary", [Prediction({"n": number})])


class Wire(Connection):
    """Both ends of a connection in one process."""

    def __init__(self, ctx: Context) -> None:
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.given: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.rows: list[LedgerRow] = []
        self.closed: int | None = None
        self.refusal: StanchionError | None = None
        self._ctx = ctx

    def say(self, message: Any) -> None:
        self.given.put_nowait(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def receive(self) -> bytes | None:
        return None if self.closed is not None else await self.given.get()

    async def send(self, content: bytes) -> None:
        self.told.put_nowait(json.loads(content))

    async def close(self, code: int, reason: str) -> None:
        self.closed = code
        self.given.put_nowait(None)

    @asynccontextmanager
    async def message(self) -> AsyncIterator[Message]:
        if self.refusal is not None:
            raise self.refusal
        ctx = self._ctx
        row = LedgerRow(datetime.now(UTC), new_request_id(), ctx.trace.trace_id, "t1", "ada", "")
        self.rows.append(row)
        yield Message(ctx, row)


def ask(number: int, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "model_id": "m", "features": {"n": number}, **more}


@asynccontextmanager
async def spoken(serving: Any, ctx: Context) -> AsyncIterator[Wire]:
    wire = Wire(ctx)
    task = asyncio.create_task(PredictionSocket(serving)(wire))
    yield wire
    wire.given.put_nowait(None)
    await task


async def test_answers_come_when_they_are_ready_with_the_ids_of_their_questions(ctx: Context) -> None:
    serving = Slow()
    async with spoken(serving, ctx) as wire:
        for number in range(3):
            wire.say(ask(number))
        for number in (2, 0, 1):
            serving.gate(number).set()
            told = await wire.told.get()
            assert (told["id"], told["answer"]["n"]) == (str(number), number)
    assert [row.subject for row in wire.rows] == ["m", "m", "m"]


async def test_no_more_is_read_while_so_many_are_under_way(ctx: Context) -> None:
    serving = Slow()
    async with spoken(serving, ctx) as wire:
        for number in range(3 * MOST):
            wire.say(ask(number))
        while len(serving.asked) < MOST:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        # As many again are read ahead, and one is in hand on either side of that queue.
        assert (len(serving.asked), wire.given.qsize()) == (MOST, MOST - 2)
        for number in range(3 * MOST):
            serving.gate(number).set()
        assert len({(await wire.told.get())["id"] for _ in range(3 * MOST)}) == 3 * MOST


async def test_that_the_other_side_goes_is_noticed_while_all_room_is_taken(ctx: Context) -> None:
    serving = Slow()
    async with spoken(serving, ctx) as wire:
        for number in range(MOST + 10):
            wire.say(ask(number))
        while len(serving.asked) < MOST:
            await asyncio.sleep(0)
    assert len(serving.cancelled) == MOST


async def test_what_is_under_way_ends_when_the_other_side_goes(ctx: Context) -> None:
    serving = Slow()
    async with spoken(serving, ctx) as wire:
        wire.say(ask(1))
        wire.say(ask(2))
        while len(serving.asked) < 2:
            await asyncio.sleep(0)
    assert sorted(serving.cancelled) == [1, 2]


async def test_a_faulty_message_is_answered_and_the_connection_goes_on(ctx: Context) -> None:
    serving = Slow()
    serving.gate(9).set()
    faulty: list[tuple[Any, str | None, str]] = [
        (b"{", None, "malformed_request"),
        (b'{"id": "a", "id": "a"}', "a", "malformed_request"),
        ({"model_id": "m", "features": {}}, None, "invalid_input"),
        ({"id": "a", "model_id": "m"}, "a", "invalid_input"),
        ({"id": "a", "model_id": "m", "features": {}, "extra": 1}, "a", "invalid_input"),
        ({"id": "a", "model_id": "m", "features": {}, "timeout": 0}, "a", "invalid_input"),
        ({"id": "x" * 200, "model_id": "m", "features": {}}, None, "invalid_input"),
    ]
    async with spoken(serving, ctx) as wire:
        for message, identity, code in faulty:
            wire.say(message)
            told = await wire.told.get()
            assert (told["id"], told["error"]["code"]) == (identity, code)
            assert told["error"]["trace_id"] == ctx.trace.trace_id
        wire.say(ask(9))
        assert (await wire.told.get())["answer"]["n"] == 9


async def test_an_id_that_is_still_under_way_is_not_taken_twice(ctx: Context) -> None:
    serving = Slow()
    async with spoken(serving, ctx) as wire:
        wire.say(ask(1))
        wire.say(ask(1))
        assert (await wire.told.get())["error"]["code"] == "conflict"
        serving.gate(1).set()
        assert (await wire.told.get())["answer"]["n"] == 1
        wire.say(ask(1))
        assert (await wire.told.get())["answer"]["n"] == 1


async def test_a_message_may_bring_its_own_time_limit(ctx: Context) -> None:
    serving = Slow()
    serving.gate(1).set()
    async with spoken(serving, ctx) as wire:
        wire.say(ask(1, timeout=5))
        await wire.told.get()
    assert serving.deadlines[0] is not None


async def test_a_credential_that_has_ended_ends_the_connection(ctx: Context) -> None:
    async with spoken(Slow(), ctx) as wire:
        wire.refusal = NotAuthenticated("revoked")
        wire.say(ask(1))
        assert (await wire.told.get())["error"]["code"] == "not_authenticated"
    assert wire.closed == 1008
