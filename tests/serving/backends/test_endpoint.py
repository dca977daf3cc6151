"""A model behind any HTTP endpoint: templates out, places in, one request for each instance or one for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from stanchion import System
from stanchion.core.errors import Misconfigured
from stanchion.serving import Credential, Endpoint, Predictions, Serving
from stanchion.testing.offline import offline


class Ask(BaseModel):
    text: str
    count: int = 1


class Mood(BaseModel):
    mood: str
    score: float


class Server:
    """Tells the mood of a text, alone at `/one` and of several at `/all`."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.headers: list[Any] = []
        self.status = 200
        self.reply: Any = None
        self.url = ""

    async def one(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(request.headers.copy())
        if self.reply is not None or self.status != 200:
            return web.json_response(self.reply, status=self.status)
        good = "good" in body["input"]["text"]
        return web.json_response({"result": [{"mood": "happy" if good else "sad", "scores": [0.9, 0.1]}]})

    async def all(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        return web.json_response(
            {"out": {"items": [{"m": each["t"].upper(), "s": each["n"]} for each in body["items"]]}}
        )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made, app = Server(), web.Application()
    app.router.add_post("/one", made.one)
    app.router.add_post("/all", made.all)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


BODY = {"input": {"text": "{text}", "repeat": "{count}"}, "fixed": ["{text}", "as {text} is", True, 3]}
ANSWER = {"mood": "result.0.mood", "score": "result.0.scores.0"}


async def asked(server: Server, *instances: dict[str, Any], **changes: Any) -> Predictions:
    app = System("moods")
    options: dict[str, Any] = {"url": f"{server.url}/one", "body": BODY, "answer": ANSWER, **changes}
    app.endpoint("mood", input=Ask, output=Mood, default=Mood(mood="unknown", score=0), **options)
    async with offline(app) as running:
        return await running.door(Serving).predict(running.ctx, "mood", list(instances))


async def test_the_template_is_filled_with_values_of_their_own_types(server: Server) -> None:
    answer = await asked(server, {"text": "good", "count": 2})
    assert dict(answer.items[0].values) == {"mood": "happy", "score": 0.9}
    assert server.bodies == [
        {"input": {"text": "good", "repeat": 2}, "fixed": ["good", "as {text} is", True, 3]},
    ]


async def test_what_a_caller_sends_is_never_read_as_a_template(server: Server) -> None:
    await asked(server, {"text": "{count}"})
    assert server.bodies[0]["input"]["text"] == "{count}"


async def test_each_instance_is_a_request_and_answers_keep_their_order(server: Server) -> None:
    answer = await asked(server, *({"text": "good" if n % 2 else "bad"} for n in range(20)), at_once=3)
    assert [each.values["mood"] for each in answer.items] == ["sad", "happy"] * 10
    assert len(server.bodies) == 20


async def test_one_request_for_all_where_the_endpoint_takes_lists(server: Server) -> None:
    answer = await asked(
        server,
        {"text": "a", "count": 1},
        {"text": "b", "count": 2},
        url=f"{server.url}/all",
        body={"items": "{instances}"},
        each={"t": "{text}", "n": "{count}"},
        instances="out.items",
        answer={"mood": "m", "score": "s"},
    )
    assert [dict(each.values) for each in answer.items] == [{"mood": "A", "score": 1.0}, {"mood": "B", "score": 2.0}]
    assert server.bodies == [{"items": [{"t": "a", "n": 1}, {"t": "b", "n": 2}]}]


@pytest.mark.parametrize(
    ("status", "reply"),
    [(500, {}), (422, {"detail": "no"}), (200, {}), (200, {"result": [{"mood": "x", "scores": ["high"]}]}), (302, {})],
)
async def test_whatever_the_endpoint_does_wrong_the_next_rung_answers(server: Server, status: int, reply: Any) -> None:
    server.status, server.reply = status, reply
    assert (await asked(server, {"text": "a"})).served_by == "default"


async def test_a_secret_is_sent_in_the_declared_header(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOOD_KEY", "k1")
    await asked(server, {"text": "a"}, credential=Credential("env:MOOD_KEY", header="x-api-key", prefix=""))
    assert server.headers[0]["x-api-key"] == "k1"


@pytest.mark.parametrize(
    "changes", [{"body": {"a": "{nothing}"}}, {"answer": {"nothing": "a"}}, {"body": {"a": ["{instances}"]}}]
)
async def test_a_template_of_unknown_fields_is_refused_at_the_start(server: Server, changes: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        await asked(server, {"text": "a"}, **changes)


@pytest.mark.parametrize(
    "changes", [{"answer": {}}, {"at_once": 0}, {"seconds": 0}, {"each": {"a": 1}}, {"url": "http://example.org"}]
)
def test_an_endpoint_that_could_not_work_is_refused_at_its_declaration(changes: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        Endpoint(**{"url": "https://example.org", "body": {}, "answer": {"mood": "m"}, **changes})
