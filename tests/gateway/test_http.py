"""The gateway at its HTTP paths: what the answer's head tells, what the ledger keeps, and a client who goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from stanchion.core.telemetry.contract import Observatory
from stanchion.system import System
from stanchion.testing.upstreams import Fault, Reply, Upstream

HELLO = [{"role": "user", "content": "Hello."}]
CHAT = {"model": "route:task", "messages": HELLO}


def declare(app: System, ups: dict[str, Upstream]) -> None:
    first = app.upstream("first", kind="openai", url=ups["first"].url + "/v1")
    small = app.language_model("small", upstream=first, input_price="1", output_price="2")
    app.upstream("here", kind="builtin")
    quoter = app.language_model("quoter", upstream="here")
    app.route("task", primary=small, fallbacks=[quoter])


async def row_of(servers: Any, request_id: str) -> Any:
    """The ledger row of a request, once it is stored."""
    door = servers.run.door(Observatory)
    async with asyncio.timeout(60):
        while True:
            for row in await door.requests(servers.run.ctx, limit=50):
                if row.request_id == request_id:
                    return row
            await asyncio.sleep(0.05)


def headers(servers: Any, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {servers.key}", **more}


async def test_a_whole_answers_head_and_row_tell_who_answered_and_the_cost(served: Callable[..., Any]) -> None:
    async with served(declare, first=("openai", "Good day.", {})) as servers, aiohttp.ClientSession() as http:
        async with http.post(f"{servers.url}/v1/chat/completions", json=CHAT, headers=headers(servers)) as answer:
            body = await answer.json()
            told = {k.lower(): v for k, v in answer.headers.items() if k.lower().startswith("x-stanchion")}
        usage = body["usage"]
        dollars = (usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 10**6
        assert float(told.pop("x-stanchion-cost-usd")) == pytest.approx(dollars)
        assert told == {
            "x-stanchion-upstream": "first",
            "x-stanchion-model": "small",
            "x-stanchion-rung": "primary",
            "x-stanchion-route": "task",
        }
        row = await row_of(servers, answer.headers["x-request-id"])
        assert (row.subject, row.version, row.rung, row.outcome) == ("route:task", "small", "primary", "ok")
        assert (row.tokens_in, row.tokens_out) == (usage["prompt_tokens"], usage["completion_tokens"])
        assert row.cost == pytest.approx(dollars)


async def test_the_first_event_comes_before_the_second_is_made(served: Callable[..., Any]) -> None:
    held = asyncio.Event()

    async def wait(number: int) -> None:
        if number == 3:
            await held.wait()

    script = Reply("one two three four", wait=wait)
    async with served(declare, first=("openai", script, {})) as servers, aiohttp.ClientSession() as http:
        body = {**CHAT, "stream": True}
        async with http.post(f"{servers.url}/v1/chat/completions", json=body, headers=headers(servers)) as answer:
            assert answer.headers["x-stanchion-rung"] == "primary"
            assert answer.headers["content-type"].startswith("text/event-stream")
            async with asyncio.timeout(60):
                assert (await answer.content.readline()).startswith(b"data: {")
            held.set()
            rest = await answer.content.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        row = await row_of(servers, answer.headers["x-request-id"])
        assert row.cost > 0


async def test_a_broken_stream_ends_in_an_error_event_and_a_cut_connection(served: Callable[..., Any]) -> None:
    script = Reply("one two three four five", pace=0.05)
    options = {"faults": [Fault("cut", after=3)]}
    async with served(declare, first=("openai", script, options)) as servers, aiohttp.ClientSession() as http:
        body = {**CHAT, "model": "small", "stream": True}
        got = b""
        async with http.post(f"{servers.url}/v1/chat/completions", json=body, headers=headers(servers)) as answer:
            if answer.status == 503:
                return  # on a slow machine the break may come with the first event: nothing was sent then
            with pytest.raises(aiohttp.ClientPayloadError):
                async for part in answer.content.iter_any():
                    got += part
        assert b"[DONE]" not in got
        assert json.loads(got.strip().rpartition(b"data: ")[2])["error"]["code"] == "unavailable"
        row = await row_of(servers, answer.headers["x-request-id"])
        assert row.outcome == "unavailable"
        assert (row.version, row.rung) == ("small", "primary")
        assert row.cost > 0
        assert row.tokens_in > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_who_goes_away_ends_the_upstreams_work(served: Callable[..., Any], stream: bool) -> None:
    script = Reply("one two three four", pace=600) if stream else Reply("one")
    options: Any = {} if stream else {"faults": [Fault("hang")]}
    async with served(declare, first=("openai", script, options)) as servers, aiohttp.ClientSession() as http:
        body = {**CHAT, "model": "small", "stream": stream}
        call = asyncio.ensure_future(
            http.post(f"{servers.url}/v1/chat/completions", json=body, headers=headers(servers))
        )
        upstream: Upstream = servers.upstreams["first"]
        async with asyncio.timeout(60):
            while not upstream.calls:
                await asyncio.sleep(0.01)
            if stream:
                (await call).close()
            else:
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            door = servers.run.door(Observatory)
            while not (rows := [r for r in await door.requests(servers.run.ctx, limit=9) if r.subject == "small"]):
                await asyncio.sleep(0.05)
        assert rows[0].outcome == "cancelled"
        assert rows[0].cost > 0


async def test_problems_of_the_door_itself_have_the_clients_form_too(served: Callable[..., Any]) -> None:
    async with served(declare, first=("openai", "Good day.", {})) as servers, aiohttp.ClientSession() as http:
        for path, key in (("/v1/chat/completions", "authorization"), ("/v1/messages", "x-api-key")):
            async with http.post(servers.url + path, json=CHAT, headers={key: "Bearer st_forged"}) as answer:
                body = await answer.json()
            assert answer.status == 401
            assert body["code"] == "not_authenticated"
            assert body["error"]["type"] == "authentication_error"
        own = headers(servers, **{"content-type": "application/json"})
        async with http.post(f"{servers.url}/v1/messages", data=b'{"model": "a", "model": "b"}', headers=own) as answer:
            body = await answer.json()
        assert (answer.status, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")


async def test_a_key_of_an_application_lists_the_models_and_sees_one(served: Callable[..., Any]) -> None:
    async with served(declare, first=("openai", "Good day.", {})) as servers, aiohttp.ClientSession() as http:
        async with http.get(f"{servers.url}/v1/models", headers=headers(servers)) as answer:
            names = [each["id"] for each in (await answer.json())["data"]]
        assert names == ["quoter", "small", "route:task"]
        async with http.get(f"{servers.url}/v1/models/route:task", headers=headers(servers)) as answer:
            assert (await answer.json())["object"] == "model"
        async with http.get(f"{servers.url}/v1/models/nobody", headers=headers(servers)) as answer:
            assert answer.status in (403, 404)
