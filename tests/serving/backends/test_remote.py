"""A model on a server of the Open Inference Protocol: a real one on this machine, good and bad."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel, Field

from stanchion import System
from stanchion.core.errors import DeadlineExceeded, InvalidInput, Misconfigured, StanchionError, Unavailable
from stanchion.serving import (
    Credential,
    InferRequest,
    Layout,
    Remote,
    Serving,
    Tensor,
    TensorInput,
    TensorOutput,
)
from stanchion.testing.offline import offline


class Point(BaseModel):
    x: float = Field(ge=-100, le=100)
    y: float = 0.0


class Kind(BaseModel):
    label: str
    probability: float


MATRIX = Layout(
    (TensorInput("input-0", ("x", "y"), datatype="FP32"),),
    (
        TensorOutput("scores", "label", "label", ("no", "yes")),
        TensorOutput("scores", "probability", "probability", ("no", "yes")),
    ),
)


class Server:
    """A server whose answer to `infer` a test may replace."""

    def __init__(self) -> None:
        self.requests: list[tuple[Any, Any]] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.metadata: dict[str, Any] = {"name": "m", "platform": "test", "inputs": [], "outputs": []}
        self.is_ready = True
        self.url = ""
        self.elsewhere = 0

    async def infer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.headers.copy(), await request.json()))
        if self.answer is not None:
            return await self.answer(request)
        body = self.requests[-1][1]
        [tensor] = body["inputs"]
        rows = tensor["shape"][0]
        scores = [[0.25, 0.75] if tensor["data"][row * 2] > 0 else [0.875, 0.125] for row in range(rows)]
        output = {"name": "scores", "datatype": "FP32", "shape": [rows, 2], "data": scores}
        return web.json_response({"model_name": "m", "outputs": [output]})

    async def told(self, request: web.Request) -> web.Response:
        return web.json_response(self.metadata)

    async def ready(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_ready else 400)

    async def trap(self, request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.json_response({})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made, app = Server(), web.Application()
    app.router.add_post("/v2/models/m/infer", made.infer)
    app.router.add_post("/v2/models/m/versions/3/infer", made.infer)
    app.router.add_get("/v2/models/m", made.told)
    app.router.add_get("/v2/models/m/ready", made.ready)
    app.router.add_route("*", "/trap", made.trap)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"http://127.0.0.1:{port}"
    yield made
    await runner.cleanup()


def system(server: Server, **changes: Any) -> System:
    app = System("far")
    options: dict[str, Any] = {"url": server.url, "model": "m", "layout": MATRIX, **changes}
    app.remote("far", input=Point, output=Kind, **options)
    return app


async def test_fields_become_the_servers_tensors_and_its_tensors_fields(server: Server) -> None:
    async with offline(system(server)) as running:
        answer = await running.door(Serving).predict(running.ctx, "far", [{"x": 2.0}, {"x": -1.0, "y": 5.0}])
    assert [dict(each.values) for each in answer.items] == [
        {"label": "yes", "probability": 0.75},
        {"label": "no", "probability": 0.875},
    ]
    assert (answer.served_by, answer.version) == ("primary", "declared")
    [(headers, body)] = server.requests
    assert body == {
        "inputs": [{"name": "input-0", "datatype": "FP32", "shape": [2, 2], "data": [2.0, 0.0, -1.0, 5.0]}],
        "outputs": [{"name": "scores"}],
    }
    assert running.ctx.trace.trace_id in headers["traceparent"]


async def test_a_version_is_asked_for_by_its_path(server: Server) -> None:
    async with offline(system(server, version="3")) as running:
        await running.door(Serving).predict(running.ctx, "far", [{"x": 2.0}])
    assert len(server.requests) == 1


async def test_without_a_layout_each_field_is_a_tensor(server: Server) -> None:
    async def answer(request: web.Request) -> web.Response:
        def output(name: str, datatype: str, value: object) -> dict[str, object]:
            return {"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]}

        return web.json_response({"outputs": [output("label", "BYTES", "a"), output("probability", "FP64", 0.5)]})

    server.answer = answer
    async with offline(system(server, layout=None)) as running:
        given = await running.door(Serving).predict(running.ctx, "far", [{"x": 2.0}])
    assert dict(given.items[0].values) == {"label": "a", "probability": 0.5}
    assert [(each["name"], each["shape"]) for each in server.requests[0][1]["inputs"]] == [("x", [1, 1]), ("y", [1, 1])]


async def test_tensors_pass_through_as_they_are(server: Server) -> None:
    request = InferRequest((Tensor("input-0", "FP32", (1, 2), (1.0, 2.0)),))
    async with offline(system(server)) as running:
        door = running.door(Serving)
        metadata = await door.metadata(running.ctx, "far")
        answer = await door.infer(running.ctx, "far", request)
    assert (metadata.platform, metadata.inputs) == ("remote", ())
    assert answer.outputs == (Tensor("scores", "FP32", (1, 2), (0.25, 0.75)),)


async def test_tensors_are_checked_against_what_the_server_tells(server: Server) -> None:
    server.metadata["inputs"] = [{"name": "input-0", "datatype": "FP32", "shape": [-1, 2]}]
    async with offline(system(server)) as running:
        door = running.door(Serving)
        with pytest.raises(InvalidInput) as caught:
            await door.infer(running.ctx, "far", InferRequest((Tensor("input-0", "FP32", (1, 3), (1.0, 2.0, 3.0)),)))
    assert [each.path for each in caught.value.fields] == ["$.inputs[0].shape"]
    assert server.requests == []


async def test_the_server_is_asked_whether_its_model_is_ready(server: Server) -> None:
    async with offline(system(server)) as running:
        assert await running.door(Serving).ready(running.ctx, "far")
        server.is_ready = False
        assert not await running.door(Serving).ready(running.ctx, "far")


def replied(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=json.dumps(body), content_type="application/json", headers=headers)

    return answer


BROKEN = {
    "a server error": replied(500, {"error": "out of memory"}),
    "refused tensors": replied(400, {"error": "bad shape"}),
    "no such model": replied(404),
    "no permission": replied(401),
    "no protocol": replied(200, {"hello": "world"}),
    "no output": replied(200, {"outputs": []}),
    "a wrong shape": replied(200, {"outputs": [{"name": "scores", "datatype": "FP32", "shape": [3, 2], "data": [1]}]}),
    "no numbers": replied(200, {"outputs": [{"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": "ab"}]}),
    "null scores": replied(
        200, {"outputs": [{"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [None, 1]}]}
    ),
    "too much": replied(200, {"outputs": [], "filler": "x" * 200_000}),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_whatever_the_server_does_wrong_the_next_rung_answers(server: Server, kind: str) -> None:
    server.answer = BROKEN[kind]
    default = Kind(label="unknown", probability=0.5)
    app = System("far")
    app._served(  # the size limit is no option of the declaration
        "far",
        Remote(url=server.url, model="m", layout=MATRIX, most_bytes=100_000),
        {"input": Point, "output": Kind, "default": default},
    )
    async with offline(app) as running:
        answer = await running.door(Serving).predict(running.ctx, "far", [{"x": 1.0}])
    assert (answer.served_by, list(answer.tried)) == ("default", ["primary"])


async def test_no_redirect_is_followed(server: Server) -> None:
    server.answer = replied(307, None, {"Location": f"{server.url}/trap"})
    async with offline(system(server)) as running:
        with pytest.raises(Unavailable):
            await running.door(Serving).predict(running.ctx, "far", [{"x": 1.0}])
    assert server.elsewhere == 0


async def test_a_failing_server_is_held_back_by_the_breaker(server: Server) -> None:
    server.answer = BROKEN["a server error"]
    async with offline(system(server, default=Kind(label="unknown", probability=0.5))) as running:
        door = running.door(Serving)
        for _ in range(60):
            await door.predict(running.ctx, "far", [{"x": 1.0}])
        asked = len(server.requests)
        [primary, _] = (await door.describe(running.ctx, "far")).rungs
    assert asked < 60
    assert (primary.kind, primary.breaker) == ("remote", "open")


async def test_a_server_that_hangs_costs_its_limit_and_no_more(server: Server) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("never")

    server.answer = hang
    async with offline(system(server, seconds=0.05)) as running:
        with pytest.raises(StanchionError) as caught:
            await running.door(Serving).predict(running.ctx, "far", [{"x": 1.0}])
    assert isinstance(caught.value, Unavailable | DeadlineExceeded)


async def test_a_server_that_is_away_is_unavailable() -> None:
    app = System("far")
    app.remote("far", input=Point, output=Kind, url="http://127.0.0.1:9", layout=MATRIX)
    async with offline(app) as running:
        with pytest.raises(Unavailable):
            await running.door(Serving).predict(running.ctx, "far", [{"x": 1.0}])
        assert not await running.door(Serving).ready(running.ctx, "far")


async def test_a_secret_goes_by_reference_and_a_missing_one_stops_the_call(
    server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAR_TOKEN", "s3cret-value")
    async with offline(system(server, credential=Credential("env:FAR_TOKEN"))) as running:
        await running.door(Serving).predict(running.ctx, "far", [{"x": 1.0}])
    assert server.requests[0][0]["authorization"] == "Bearer s3cret-value"
    monkeypatch.delenv("FAR_TOKEN")
    async with offline(system(server, credential=Credential("env:FAR_TOKEN"))) as running:
        with pytest.raises(StanchionError):
            await running.door(Serving).predict(running.ctx, "far", [{"x": 1.0}])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "host:80",
        "https://ada:pw@host",
        "https://host?x=1",
        "http://models.example",
        "http://10.0.0.1",
        "",
    ],
)
def test_an_origin_that_must_not_be_called_is_refused_at_the_declaration(url: str) -> None:
    with pytest.raises(Misconfigured):
        Remote(url=url, model="m")


@pytest.mark.parametrize(
    "url", ["https://models.example/base", "http://127.0.0.1:80", "http://localhost", "http://[::1]:8"]
)
def test_https_and_this_machine_may_be_called(url: str) -> None:
    assert Remote(url=url, model="m").url == url
    assert Remote(url="http://models.example", model="m", plain_http=True).plain_http


def test_a_layout_of_other_fields_is_refused_at_the_start(server: Server) -> None:
    async def start() -> Sequence[object]:
        layout = Layout((TensorInput("i", ("z",)),), (TensorOutput("o", "label"),))
        async with offline(system(server, layout=layout)) as running:
            return await running.door(Serving).models(running.ctx)

    with pytest.raises(InvalidInput):
        asyncio.run(start())
