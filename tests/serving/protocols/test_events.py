"""Predictions as server-sent events: each answer as it is ready, in-band errors, an end, and nothing for nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2
import pytest

from stanchion.core.context import Context
from stanchion.core.errors import FieldProblem, InvalidInput, NotFound, Unavailable
from stanchion.core.http.routes import CONTEXT, ROW
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.serving import Prediction, Predictions, PredictOptions
from stanchion.serving.protocols.events import EventStream

Handler = Callable[[Mapping[str, Any]], Any]


class Slow:
    """A serving whose answers wait until they are let go, by the number in the instance."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.cancelled: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.requests: list[str] = []
        self.fault: dict[int, Exception] = {}

    def gate(self, number: int) -> asyncio.Event:
        return self.gates.setdefault(number, asyncio.Event())

    async def predict(
        self, ctx: Context, model: str, instances: Sequence[Mapping[str, Any]], *, options: PredictOptions
    ) -> Predictions:
        number = instances[0]["n"]
        self.asked.append(number)
        self.requests.append(ctx.request_id)
        try:
            await self.gate(number).wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if number in self.fault:
            raise self.fault[number]
        return Predictions(model, "1.0.0", "primary", [Prediction({"n": number})])


class Listener:
    """Runs the stream as a server would, and tells of each event as it arrives."""

    def __init__(self, serving: Slow, row: LedgerRow, ctx: Context, body: object) -> None:
        self.events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.status: int | None = None
        self.left = asyncio.Event()
        self._body: bytes | None = json.dumps(body).encode()
        scope = {"type": "http", CONTEXT: ctx, ROW: row}
        self.task = asyncio.create_task(EventStream(serving)(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        lines = dict(line.split(": ", 1) for line in message["body"].decode().strip().split("\n"))
        self.events.put_nowait((lines["event"], json.loads(lines["data"])))


@pytest.fixture
def row(ctx: Context) -> LedgerRow:
    from datetime import UTC, datetime

    return LedgerRow(datetime.now(UTC), ctx.request_id, ctx.trace.trace_id, "t1", "ada", "")


def ask(count: int) -> dict[str, Any]:
    return {"model_id": "m", "instances": [{"n": number} for number in range(count)]}


async def test_an_answer_is_sent_as_soon_as_it_is_ready(ctx: Context, row: LedgerRow) -> None:
    serving = Slow()
    heard = Listener(serving, row, ctx, ask(3))
    for number in (2, 0, 1):
        serving.gate(number).set()
        name, data = await heard.events.get()
        assert (name, data["index"], data["outcome"]) == ("answer", number, {"n": number})
        assert (data["model_version"], data["served_by"]) == ("1.0.0", "primary")
    name, data = await heard.events.get()
    assert (name, data["answered"], data["refused"], data["model_id"]) == ("end", 3, 0, "m")
    await heard.task
    assert (row.subject, row.version, row.rung, row.items, row.outcome) == ("m", "1.0.0", "primary", 3, "ok")


async def test_each_answer_is_a_request_of_its_own(ctx: Context, row: LedgerRow) -> None:
    serving = Slow()
    heard = Listener(serving, row, ctx, ask(3))
    for number in range(3):
        serving.gate(number).set()
    await heard.task
    told = [heard.events.get_nowait()[1]["request_id"] for _ in range(3)]
    assert sorted(told) == sorted(serving.requests)
    assert len({*told, ctx.request_id}) == 4


async def test_only_a_few_instances_are_under_way_at_once(ctx: Context, row: LedgerRow) -> None:
    serving = Slow()
    heard = Listener(serving, row, ctx, ask(100))
    serving.gate(0).set()
    await heard.events.get()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(serving.asked) == 9
    heard.left.set()
    await heard.task


async def test_whoever_leaves_ends_what_is_under_way(ctx: Context, row: LedgerRow) -> None:
    serving = Slow()
    heard = Listener(serving, row, ctx, ask(5))
    serving.gate(1).set()
    await heard.events.get()
    heard.left.set()
    await heard.task
    assert sorted(serving.cancelled) == [0, 2, 3, 4]
    assert row.outcome == "cancelled"


async def test_whoever_leaves_before_the_first_answer_ends_it_too(ctx: Context, row: LedgerRow) -> None:
    serving = Slow()
    heard = Listener(serving, row, ctx, ask(2))
    while len(serving.asked) < 2:
        await asyncio.sleep(0)
    heard.left.set()
    await heard.task
    assert (serving.cancelled, heard.status) == ([0, 1], None)


async def test_a_refused_instance_is_an_answer_of_its_own(ctx: Context, row: LedgerRow) -> None:
    serving = Slow()
    serving.fault[1] = InvalidInput("$.features.n: no", fields=[FieldProblem("$.features.n", "no")])
    heard = Listener(serving, row, ctx, ask(3))
    for number in range(3):
        serving.gate(number).set()
    await heard.task
    found = [heard.events.get_nowait() for _ in range(4)]
    assert [name for name, _ in found] == ["answer", "answer", "answer", "end"]
    [refused] = [data for _, data in found if "error" in data]
    assert (refused["index"], refused["error"]["errors"][0]["path"]) == (1, "$.instances[1].n")
    assert (found[3][1]["answered"], found[3][1]["refused"]) == (2, 1)


async def test_an_error_in_the_middle_is_told_in_band_and_ends_the_stream(ctx: Context, row: LedgerRow) -> None:
    serving = Slow()
    serving.fault[1] = Unavailable("away")
    heard = Listener(serving, row, ctx, ask(20))
    serving.gate(0).set()
    await heard.events.get()
    serving.gate(1).set()
    await heard.task
    name, problem = heard.events.get_nowait()
    assert (name, problem["code"], problem["trace_id"]) == ("error", "unavailable", ctx.trace.trace_id)
    assert heard.events.empty()
    assert (row.outcome, heard.status) == ("unavailable", 200)
    assert serving.cancelled


@pytest.mark.parametrize("error", [NotFound("no such model"), Unavailable("away")])
async def test_an_error_before_the_first_answer_is_raised(error: Exception, ctx: Context, row: LedgerRow) -> None:
    serving = Slow()
    serving.fault[0] = error
    serving.gate(0).set()
    heard = Listener(serving, row, ctx, ask(3))
    with pytest.raises(type(error)):
        await heard.task
    assert heard.status is None


async def test_a_name_that_is_no_model_concerns_the_whole_call(client: httpx2.AsyncClient, customer: Any) -> None:
    answer = await client.post("/v1/predictions/stream", json={"model_id": "a b", "instances": [customer]})
    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["$.model_id"]


@pytest.mark.parametrize("body", [{"model_id": "churn"}, {"model_id": "churn", "instances": []}, {"features": {}}])
async def test_a_body_without_an_instance_is_refused(body: Any, client: httpx2.AsyncClient) -> None:
    assert (await client.post("/v1/predictions/stream", json=body)).status_code == 422


async def test_a_real_model_answers_each_instance(client: httpx2.AsyncClient, customer: Any) -> None:
    answer = await client.post("/v1/predictions/stream", json={"model_id": "churn", "instances": [customer, {}]})
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    assert [lines[0] for lines in blocks] == ["event: answer", "event: answer", "event: end"]
    assert '"probability":0.7' in answer.text
    assert '"$.instances[1].months"' in answer.text
