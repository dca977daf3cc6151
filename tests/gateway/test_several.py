"""Several answers of an upstream that gives one to a call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput, Unavailable
from stanchion.gateway import Ask, Gateway
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Call, Fault, Reply, Usage, upstream

ASK: Any = {"messages": [{"role": "user", "content": "Name a city."}], "max_tokens": 20}


def says(call: Call) -> Reply:
    return Reply(f"City {call.number}.", usage=Usage(tokens_in=100, tokens_out=10))


async def told(run: Any, **more: Any) -> Any:
    body = json.dumps({"model": "route:task", **ASK, **more}).encode()
    return await run.door(Gateway).complete(run.ctx, Ask("chat", body))


@pytest.mark.parametrize("family", ["anthropic", "gemini", "bedrock"])
async def test_each_answer_is_a_call_and_all_are_one_document(family: Any) -> None:
    async with upstream(family, says) as up:
        app = System("several")
        app.upstream("one", kind=family, url=up.url)
        app.language_model("one", upstream="one", input_price="1", output_price="2")
        app.route("task", primary="one", max_cost="0.01")
        async with offline(app) as run:
            reply = await told(run, n=3)
            document = json.loads(reply.body)
            texts = [choice["message"]["content"] for choice in document["choices"]]
            assert sorted(texts) == ["City 0.", "City 1.", "City 2."]
            assert [choice["index"] for choice in document["choices"]] == [0, 1, 2]
            assert document["usage"]["total_tokens"] == 330
            assert (reply.account.usage.tokens_in, reply.account.usage.tokens_out) == (300, 30)
            assert reply.account.cost == (300 * 1 + 30 * 2) * 10**6
            assert len(up.calls) == 3
            [line] = await run.door(Gateway).usage(run.ctx, by=())
            assert line.cost == reply.account.cost
            for wrong in ({"n": 9}, {"n": 2, "stream": True}, {"n": 0}):
                with pytest.raises(InvalidInput):
                    if wrong.get("stream"):
                        body = json.dumps({"model": "route:task", **ASK, **wrong}).encode()
                        _ = [piece async for piece in run.door(Gateway).stream(run.ctx, Ask("chat", body))]
                    await told(run, **wrong)


async def test_where_one_of_them_fails_another_model_is_asked_and_what_was_used_is_billed() -> None:
    async with upstream("anthropic", says, faults=[None, Fault("failed")]) as one, upstream("openai", says) as two:
        app = System("several")
        app.upstream("one", kind="anthropic", url=one.url)
        app.upstream("two", kind="openai", url=two.url + "/v1")
        for name in ("one", "two"):
            app.language_model(name, upstream=name, input_price="1", output_price="2")
        app.route("task", primary="one", fallbacks=["two"])
        async with offline(app) as run:
            reply = await told(run, n=2)
            assert reply.account.upstream == "two"
            lines = await run.door(Gateway).usage(run.ctx, by=("provider", "outcome"))
            assert [(line.group["provider"], line.group["outcome"]) for line in lines] == [
                ("one", Unavailable.code),
                ("two", "ok"),
            ]
            assert lines[0].cost > 0
