"""Several answers of an upstream that gives one to a call."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
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


async def streamed(run: Any, shape: Any = "chat", **more: Any) -> tuple[list[Any], Any]:
    """The events of a stream, the last one as text, and its account."""
    asked = {"prompt": "Name a city."} if shape == "completions" else ASK
    body = json.dumps({"model": "route:task", "stream": True, **asked, **more}).encode()
    pieces = [piece async for piece in run.door(Gateway).stream(run.ctx, Ask(shape, body))]
    lines = b"".join(piece.data for piece in pieces).decode().split("\n\n")
    events = [line.removeprefix("data: ") for line in lines if line]
    return [*map(json.loads, events[:-1]), events[-1]], pieces[-1].account


FAMILIES = ["anthropic", "gemini", "bedrock"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", ["chat", "completions"])
async def test_a_stream_of_several_answers_is_one_stream_with_the_cost_of_all(family: Any, shape: Any) -> None:
    async with upstream(family, says) as up:
        app = System("several")
        app.upstream("one", kind=family, url=up.url)
        app.language_model("one", upstream="one", input_price="1", output_price="2")
        app.route("task", primary="one")
        async with offline(app) as run:
            events, account = await streamed(run, shape, n=3, stream_options={"include_usage": True})
            *chunks, counted, done = events
            assert done == "[DONE]"
            words: dict[int, str] = {0: "", 1: "", 2: ""}
            ends = []
            for chunk in chunks:
                [choice] = chunk["choices"]
                words[choice["index"]] += choice.get("text", "") or choice.get("delta", {}).get("content", "")
                ends += [choice["index"]] if choice["finish_reason"] else []
            assert sorted(words.values()) == ["City 0.", "City 1.", "City 2."]
            assert sorted(ends) == [0, 1, 2]
            assert len({chunk["id"] for chunk in events[:-1]}) == 1
            assert (counted["choices"], counted["usage"]["total_tokens"]) == ([], 330)
            assert (account.usage.tokens_in, account.usage.tokens_out) == (300, 30)
            assert account.cost == (300 * 1 + 30 * 2) * 10**6
            [line] = await run.door(Gateway).usage(run.ctx, by=())
            assert (line.requests, line.cost) == (1, account.cost)
            assert len(up.calls) == 3


@pytest.mark.parametrize("fault", ["failed", "throttled", "reset"])
async def test_a_stream_of_several_falls_through_where_one_of_them_does_not_begin(fault: Any) -> None:
    async with upstream("anthropic", says, faults=[None, Fault(fault)]) as one, upstream("openai", says) as two:
        app = System("several")
        app.upstream("one", kind="anthropic", url=one.url)
        app.upstream("two", kind="openai", url=two.url + "/v1")
        for name in ("one", "two"):
            app.language_model(name, upstream=name, input_price="1", output_price="2")
        app.route("task", primary="one", fallbacks=["two"])
        async with offline(app) as run:
            events, account = await streamed(run, n=2)
            assert account.upstream == "two"
            assert events[-1] == "[DONE]"


@pytest.mark.parametrize("fault", ["cut", "no_end", "malformed", "garbled", "error_in_stream"])
async def test_a_stream_of_several_of_which_one_breaks_never_looks_whole(fault: Any) -> None:
    async with upstream("anthropic", "A rather long answer of many words.", faults=[None, Fault(fault)]) as one:
        app = System("several")
        app.upstream("one", kind="anthropic", url=one.url)
        app.language_model("one", upstream="one", input_price="1", output_price="2")
        app.route("task", primary="one")
        async with offline(app) as run:
            body = json.dumps({"model": "route:task", "stream": True, "n": 2, **ASK}).encode()
            told = b""
            with pytest.raises(Unavailable):
                async for piece in run.door(Gateway).stream(run.ctx, Ask("chat", body)):
                    told += piece.data
            assert b"[DONE]" not in told
            assert b'"error"' in told
            [line] = await run.door(Gateway).usage(run.ctx, by=("outcome",))
            assert (line.group["outcome"], line.cost > 0) == (Unavailable.code, True)


async def test_a_caller_who_leaves_a_stream_of_several_ends_every_call_of_it() -> None:
    async with upstream("anthropic", "A rather long answer of many words.") as one:
        app = System("several")
        app.upstream("one", kind="anthropic", url=one.url)
        app.language_model("one", upstream="one", input_price="1", output_price="2")
        app.route("task", primary="one")
        async with offline(app) as run:
            body = json.dumps({"model": "route:task", "stream": True, "n": 4, **ASK}).encode()
            async with aclosing(run.door(Gateway).stream(run.ctx, Ask("chat", body))) as pieces:
                await anext(pieces)
            [line] = await run.door(Gateway).usage(run.ctx, by=("outcome",))
            assert (line.group["outcome"], line.cost > 0) == ("cancelled", True)
            assert not [task for task in asyncio.all_tasks() if "Strands" in repr(task.get_coro())]


@pytest.mark.parametrize("family", FAMILIES)
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
            for wrong in ({"n": 9}, {"n": 0}):
                with pytest.raises(InvalidInput):
                    await told(run, **wrong)
                with pytest.raises(InvalidInput):
                    await streamed(run, **wrong)


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
