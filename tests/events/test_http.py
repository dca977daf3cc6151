"""Events over HTTP and WebSocket, through the door of a whole system."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from stanchion.app.http.build import build_app
from stanchion.core.security.contract import Keys
from stanchion.events import Event, Events
from stanchion.events.webhooks.signing import headers as signed
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.offline import Offline

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


@dataclass
class Served:
    """A served system, a client with an operator's key, and one with a key that may publish only."""

    run: Offline
    url: str
    http: aiohttp.ClientSession
    publisher: str

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **more: str
    ) -> tuple[int, Any, Any]:
        """Status, decoded body and headers."""
        told = dict(more)
        if key is not None:
            told["authorization"] = f"Bearer {key}"
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if not isinstance(body, bytes) and body is not None:
            told.setdefault("content-type", "application/json")
        async with self.http.request(method, self.url + path, data=content, headers=told) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None, answer.headers


@asynccontextmanager
async def served(**settings: dict[str, Any]) -> AsyncIterator[Served]:
    async with offline(System("events"), settings=settings) as run:
        admin = await run.door(Keys).create(run.ctx, name="admin", roles=["admin"])
        publisher = await run.door(Keys).create(run.ctx, name="publisher", scopes=["events:publish"])
        bound = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(build_app(run.house, console=False), lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve(sockets=[bound]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            async with aiohttp.ClientSession(headers={"authorization": f"Bearer {admin.secret}"}) as http:
                yield Served(run, f"http://127.0.0.1:{bound.getsockname()[1]}", http, publisher.secret)
        finally:
            server.should_exit = True
            await task
            bound.close()


@pytest.fixture
async def place() -> AsyncIterator[Served]:
    async with served() as found:
        yield found


def event(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"e{number}", "source": "/shop", "type": "order.placed", **more}


ONE, MANY = "application/cloudevents+json", "application/cloudevents-batch+json"


async def test_events_are_published_in_all_three_modes(place: Served) -> None:
    one = await place.ask("POST", "/v1/events", event(1, data={"n": 1}), **{"content-type": ONE})
    assert one[0] == 200 and one[1]["data"][0] | {"position": ""} == {
        "source": "/shop", "id": "e1", "state": "stored", "position": "",
    }  # fmt: skip
    batch = json.dumps([event(2, data={"n": 2}), event(3, data={"n": 3})]).encode()
    many = await place.ask("POST", "/v1/events", batch, **{"content-type": MANY})
    assert [receipt["id"] for receipt in many[1]["data"]] == ["e2", "e3"]
    head = {"ce-specversion": "1.0", "ce-id": "e4", "ce-source": "/shop", "ce-type": "order.placed"}
    told = {**head, "ce-subject": "a%20b", "content-type": "application/json"}
    binary = await place.ask("POST", "/v1/events", b'{"n": 4}', **told)
    assert binary[0] == 200
    events = place.run.door(Events)
    found = []
    async for delivered in events.follow(place.run.ctx, since="0"):
        found.append(delivered.event)
        if len(found) == 4:
            break
    assert [each.json()["n"] for each in sorted(found, key=lambda e: e.id)] == [1, 2, 3, 4]
    assert next(each for each in found if each.id == "e4").subject == "a b"
    assert (await place.ask("POST", "/v1/events", b"[]", **{"content-type": MANY}))[1] == {"data": []}


async def test_what_is_no_event_is_refused_with_its_path_and_nothing_is_published(place: Served) -> None:
    batch = json.dumps([event(1), event(2, time="noon")]).encode()
    status, problem, _ = await place.ask("POST", "/v1/events", batch, **{"content-type": MANY})
    assert (status, problem["code"], problem["errors"][0]["path"]) == (422, "invalid_input", "$[1].time")
    for kind in ("application/json", "text/plain", "application/cloudevents+avro"):
        status, problem, _ = await place.ask("POST", "/v1/events", b"{}", **{"content-type": kind})
        assert (status, problem["code"]) == (422, "invalid_input"), kind
    twice = b'{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t"}'
    assert (await place.ask("POST", "/v1/events", twice, **{"content-type": ONE}))[0] == 400
    reserved = event(1, type="review.decided")
    assert (await place.ask("POST", "/v1/events", reserved, **{"content-type": ONE}))[0] == 403
    assert (await place.ask("POST", "/v1/events?when=1", event(), **{"content-type": ONE}))[0] == 422
    position = await place.run.door(Events).position(place.run.ctx)
    assert position == "0"


async def test_an_event_may_be_kept_until_its_moment(place: Served) -> None:
    status, told, _ = await place.ask("POST", "/v1/events?after=2099-01-01T00:00:00Z", event(), **{"content-type": ONE})
    assert (status, told["data"][0]["state"]) == (200, "scheduled")
    assert (await place.ask("POST", "/v1/events?after=tomorrow", event(), **{"content-type": ONE}))[0] == 422


async def test_a_full_backlog_is_told_with_the_time_to_wait() -> None:
    async with served(events={"backlog": 5}) as place:
        assert (await place.ask("POST", "/v1/events/consumers/slow/take", {}))[0] == 200
        batch = json.dumps([event(n) for n in range(50)]).encode()
        seen: set[int] = set()
        async with asyncio.timeout(60):
            while 429 not in seen:
                status, told, head = await place.ask("POST", "/v1/events", batch, **{"content-type": MANY})
                seen.add(status)
                await asyncio.sleep(0.05)
        assert seen == {200, 429} and told["code"] == "throttled" and int(head["retry-after"]) >= 1


async def read_events(answer: aiohttp.ClientResponse, number: int) -> list[dict[str, str]]:
    """So many events of a stream that carry data."""
    found: list[dict[str, str]] = []
    async with asyncio.timeout(60):
        while len(found) < number:
            block = (await answer.content.readuntil(b"\n\n")).decode()
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] not in (":", ""))
            if "data" in fields:
                found.append(fields)
    return found


async def test_a_stream_goes_on_where_it_was_cut_off(place: Served) -> None:
    async with place.http.get(place.url + "/v1/events?type=order.*") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        first = (await stream.content.readuntil(b"\n\n")).decode()
        assert "id: " in first and "retry: " in first
        await place.ask("POST", "/v1/events", event(1, data={"n": 1}), **{"content-type": ONE})
        await place.ask("POST", "/v1/events", event(9, type="other"), **{"content-type": ONE})
        (one,) = await read_events(stream, 1)
    assert one["event"] == "order.placed" and json.loads(one["data"])["data"] == {"n": 1}
    await place.ask("POST", "/v1/events", event(2), **{"content-type": ONE})
    async with place.http.get(place.url + "/v1/events", headers={"last-event-id": one["id"]}) as stream:
        names = [json.loads(each["data"])["id"] for each in await read_events(stream, 2)]
    assert names == ["e9", "e2"]
    start = first.partition("id: ")[2].splitlines()[0]
    async with place.http.get(place.url + f"/v1/events?since={start}&source=/shop&type=other") as stream:
        assert [json.loads(each["data"])["id"] for each in await read_events(stream, 1)] == ["e9"]


async def test_a_stream_ends_with_the_time_of_a_request_and_says_where_to_go_on() -> None:
    async with (
        served() as place,
        place.http.get(place.url + "/v1/events", headers={"request-timeout": "0.5"}) as stream,
    ):
        whole = await asyncio.wait_for(stream.read(), 60)
    assert whole.startswith(b"retry: 1000\nid: 0\n") and b"event: error" not in whole


async def test_a_position_that_is_none_and_a_pattern_that_is_none_are_refused_before_the_stream(place: Served) -> None:
    for query in ("since=x", "type=a*b", "type=", "kind=a", "source=a&source=b"):
        status, problem, _ = await place.ask("GET", f"/v1/events?{query}")
        assert (status, problem["code"]) == (422, "invalid_input"), query


async def test_who_may_publish_only_may_not_follow_or_operate(place: Served) -> None:
    key = place.publisher
    assert (await place.ask("POST", "/v1/events", event(), key=key, **{"content-type": ONE}))[0] == 200
    for method, path in (("GET", "/v1/events"), ("GET", "/v1/events/dead"), ("GET", "/v1/events/hooks")):
        assert (await place.ask(method, path, key=key))[0] == 403
    reader = await place.run.door(Keys).create(place.run.ctx, name="reader", scopes=["events:follow"])
    for body in (b"[]", json.dumps([event()]).encode()):
        assert (await place.ask("POST", "/v1/events", body, key=reader.secret, **{"content-type": MANY}))[0] == 403


async def test_events_come_over_a_socket_to_each_subscription(place: Served) -> None:
    async with place.http.ws_connect(place.url + "/v1/events/ws") as ws, asyncio.timeout(60):
        await ws.send_json({"id": "a", "types": ["order.*"]})
        await ws.send_json({"id": "b", "subject": "x"})
        began = {(await ws.receive_json())["id"] for _ in range(2)}
        assert began == {"a", "b"}
        await place.ask("POST", "/v1/events", event(1, subject="x"), **{"content-type": ONE})
        await place.ask("POST", "/v1/events", event(2, type="other", subject="x"), **{"content-type": ONE})
        got = sorted([await ws.receive_json() for _ in range(3)], key=lambda each: (each["id"], each["event"]["id"]))
        assert [(each["id"], each["event"]["id"]) for each in got] == [("a", "e1"), ("b", "e1"), ("b", "e2")]
        await ws.send_json({"id": "c", "since": got[1]["position"]})
        again = await ws.receive_json()
        assert (again["id"], again["event"]["id"]) == ("c", "e2")
        for wrong in ({"id": "a"}, {"id": "d", "types": []}, {"id": "d", "since": "x"}, {"id": "d", "more": 1}):
            await ws.send_json(wrong)
            assert (await ws.receive_json())["error"]["code"] in ("conflict", "invalid_input")


async def test_a_consumer_over_http_takes_settles_and_is_operated(place: Served) -> None:
    base = "/v1/events/consumers/worker"
    assert (await place.ask("POST", base + "/take", {"types": ["order.*"]}))[1] == {"data": []}
    batch = json.dumps([event(n, subject=str(n), data={"n": n}) for n in range(3)]).encode()
    await place.ask("POST", "/v1/events", batch, **{"content-type": MANY})
    taken = []
    async with asyncio.timeout(60):
        while len(taken) < 3:
            taken += (await place.ask("POST", base + "/take", {"wait": 5}))[1]["data"]
    assert {each["event"]["data"]["n"] for each in taken} == {0, 1, 2}
    assert {each["principal"].split(":")[0] for each in taken} == {"key"}
    ends = [{"token": each["token"]} for each in taken[:2]]
    ends.append({"token": taken[2]["token"], "verdict": "dead", "error": "cannot be read"})
    settled = (await place.ask("POST", base + "/settle", {"outcomes": ends}))[1]["data"]
    assert [each["result"] for each in settled] == ["done", "done", "dead"]
    (letter,) = (await place.ask("GET", "/v1/events/dead?consumer=worker"))[1]["data"]
    assert letter["error"] == "cannot be read" and letter["event"]["id"] == taken[2]["event"]["id"]
    assert (await place.ask("POST", base + "/redrive", {"ids": [letter["id"]]}))[1] == {"number": 1, "more": False}
    (view,) = (await place.ask("GET", "/v1/events/consumers"))[1]["data"]
    assert (view["name"], view["dead"], view["paused"]) == ("worker", 0, False)
    assert (await place.ask("POST", base + "/pause"))[0] == 204
    assert (await place.ask("GET", "/v1/events/consumers"))[1]["data"][0]["paused"] is True
    assert (await place.ask("POST", base + "/resume"))[0] == 204
    assert (await place.ask("POST", "/v1/events/consumers/none/resume"))[0] == 404
    assert (await place.ask("GET", "/v1/events/trees/nothing"))[0] == 404


async def test_schemas_are_registered_judged_and_refused_over_http(place: Served) -> None:
    base = "/v1/events/schemas/order.placed"
    old = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    new = {"type": "object", "properties": {"n": {"type": "string"}}, "additionalProperties": False}
    made = await place.ask("POST", base, {"schema": old})
    assert (made[0], made[1]["version"], made[1]["schema"]) == (200, 1, old)
    judged = (await place.ask("POST", base + "/check", {"schema": new}))[1]
    assert not judged["compatible"] and judged["clashes"][0]["path"] == "#/properties/n/type"
    status, problem, _ = await place.ask("POST", base, {"schema": new})
    assert (status, problem["code"], problem["errors"][0]["path"]) == (409, "conflict", "#/properties/n/type")
    assert (await place.ask("PUT", base + "/compatibility", {"compatibility": "none"}))[0] == 200
    assert (await place.ask("POST", base, {"schema": new}))[1]["version"] == 2
    assert (await place.ask("GET", base + "/versions/1"))[1]["schema"] == old
    assert (await place.ask("GET", base + "/versions/3"))[0] == 404
    avro = await place.ask("POST", "/v1/events/schemas/reading", {"schema": '{"type": "long"}', "kind": "avro"})
    assert avro[1]["kind"] == "avro"
    names = [each["name"] for each in (await place.ask("GET", "/v1/events/schemas"))[1]["data"]]
    assert names == ["order.placed", "reading"]
    document = (await place.ask("GET", "/v1/events/asyncapi"))[1]
    assert document["asyncapi"] == "3.0.0" and set(document["channels"]) == {"order.placed", "reading"}
    data = document["components"]["messages"]["order.placed"]["payload"]["properties"]["data"]
    assert data == new


async def test_a_signed_webhook_needs_no_key_and_is_published_once(place: Served) -> None:
    path = f"/v1/webhooks/{place.run.ctx.tenant}/github"
    made = await place.ask(
        "PUT", "/v1/events/hooks/github", {"direction": "in", "type": "github.push", "secret": SECRET}
    )
    assert (made[0], made[1]["secret"], made[1]["state"]) == (200, SECRET, "active")
    body = b'{"ref": "main"}'
    good = {**signed([SECRET], "m1", int(time.time()), body), "content-type": "application/json"}
    async with aiohttp.ClientSession() as nobody:
        async with nobody.post(place.url + path, data=body, headers=good) as answer:
            assert (answer.status, (await answer.json())["data"][0]["id"]) == (200, "m1")
        wrong = (
            (path, body + b" ", good),
            (path, body, {}),
            (path.replace("github", "other"), body, good),
            (path.replace(place.run.ctx.tenant, "other"), body, good),
        )
        for where, content, head in wrong:
            async with nobody.post(place.url + where, data=content, headers=head) as answer:
                assert (answer.status, (await answer.json())["code"]) == (401, "not_authenticated")
    async for delivered in place.run.door(Events).follow(place.run.ctx, since="0"):
        assert (delivered.event.type, delivered.event.json()) == ("github.push", {"ref": "main"})
        break
    listed = (await place.ask("GET", "/v1/events/hooks"))[1]["data"]
    assert [each["name"] for each in listed] == ["github"] and "secret" not in listed[0]
    private = {"direction": "out", "url": "https://10.0.0.1/", "types": ["*"]}
    assert (await place.ask("PUT", "/v1/events/hooks/out", private))[0] == 403
    assert (await place.ask("DELETE", "/v1/events/hooks/github"))[0] == 204
    assert (await place.ask("DELETE", "/v1/events/hooks/github"))[0] == 404


async def test_an_event_published_here_is_sent_to_a_webhook_over_there() -> None:
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def handle(request: web.Request) -> web.Response:
        await got.put(json.loads(await request.read()))
        return web.Response(status=204)

    there = web.Application()
    there.router.add_post("/", handle)
    runner = web.AppRunner(there)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with served(events={"webhook_networks": ["127.0.0.0/8"]}) as place:
        made = await place.ask("PUT", "/v1/events/hooks/out", {"direction": "out", "url": url, "types": ["order.*"]})
        assert made[0] == 200
        await place.run.door(Events).publish(place.run.ctx, [Event.of("order.placed", "/shop", {"n": 1})])
        async with asyncio.timeout(60):
            told = await got.get()
    await runner.cleanup()
    assert (told["type"], told["data"]) == ("order.placed", {"n": 1})
