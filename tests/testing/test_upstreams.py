"""Scripted upstreams say what the script says, fail as they are told to, and bill what they have sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from stanchion.testing.upstreams import Call, Fault, Reply, Served, ToolCall, Upstream, Usage, upstream

PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
    "bedrock": "/model/m/converse",
}
STREAMS = {
    **PATHS,
    "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse",
    "bedrock": "/model/m/converse-stream",
}
ENDS = {"openai": b"[DONE]", "anthropic": b"message_stop", "gemini": b"finishReason", "bedrock": b"messageStop"}
TYPES = dict.fromkeys(PATHS, "text/event-stream") | {"bedrock": "application/vnd.amazon.eventstream"}


def asked(family: str, *, stream: bool = False) -> dict[str, Any]:
    match family:
        case "gemini":
            return {"contents": [{"role": "user", "parts": [{"text": "Hello."}]}]}
        case "bedrock":
            return {"messages": [{"role": "user", "content": [{"text": "Hello."}]}]}
        case _:
            return {
                "model": "m",
                "max_tokens": 50,
                "messages": [{"role": "user", "content": "Hello."}],
                "stream": stream,
            }


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    # A connection that was reset must not be used again, whatever the pool thinks of it.
    async with aiohttp.ClientSession(
        headers={"anthropic-version": "2023-06-01"},
        connector=aiohttp.TCPConnector(force_close=True),
        timeout=aiohttp.ClientTimeout(total=60),
    ) as session:
        yield session


@pytest.fixture(params=PATHS)
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


class Heard:
    """What a caller got: a status, headers and bytes, up to where the connection broke."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.broken: Exception | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    client: aiohttp.ClientSession, server: Upstream, family: str, *, stream: bool = False, **rest: Any
) -> Heard:
    heard = Heard()
    path = (STREAMS if stream else PATHS)[family]
    try:
        async with client.post(server.url + path, json=asked(family, stream=stream) | rest) as answer:
            heard.status, heard.headers = answer.status, {k.lower(): v for k, v in answer.headers.items()}
            async for data in answer.content.iter_any():
                heard.body += data
    except aiohttp.ClientError as error:
        heard.broken = error
    return heard


async def test_every_call_is_kept_as_it_came(client: aiohttp.ClientSession, family: Any) -> None:
    async with upstream(family, "Yes.") as server:
        await ask(client, server, family)
        (call,) = server.calls
    assert (call.number, call.model, call.stream, call.prompt) == (0, "m", False, "Hello.")
    assert (call.method, call.path, call.body) == ("POST", PATHS[family], asked(family))
    assert json.loads(call.raw) == call.body
    assert call.headers["content-type"] == "application/json"
    assert call.at.tzinfo is not None


async def test_a_list_is_said_in_order_and_its_end_is_told(client: aiohttp.ClientSession, family: Any) -> None:
    async with upstream(family, ["One.", "Two."]) as server:
        heard = [await ask(client, server, family) for _ in range(3)]
    assert [b"One." in one.body for one in heard] == [True, False, False]
    assert [b"Two." in one.body for one in heard] == [False, True, False]
    assert (heard[2].status, b"no more replies" in heard[2].body) == (500, True)


async def test_a_function_sees_the_call(client: aiohttp.ClientSession) -> None:
    async def echo(call: Call) -> Reply:
        await asyncio.sleep(0)
        return Reply(f"You said {call.prompt}")

    async with upstream("openai", echo) as server:
        heard = await ask(client, server, "openai")
        server.script = lambda call: f"Call {call.number}"
        assert (await ask(client, server, "openai")).json["choices"][0]["message"]["content"] == "Call 1"
    assert heard.json["choices"][0]["message"]["content"] == "You said Hello."


async def test_what_a_function_asserts_is_heard_when_the_block_ends(client: aiohttp.ClientSession) -> None:
    def script(call: Call) -> str:
        assert call.prompt == "Goodbye.", "it said something else"
        return "Yes."

    with pytest.raises(AssertionError, match="something else"):
        async with upstream("openai", script) as server:
            assert (await ask(client, server, "openai")).status == 500
            assert len(server.errors) == 1


async def test_a_whole_stream_has_its_type_and_its_end(client: aiohttp.ClientSession, family: Any) -> None:
    reply = Reply("One two three.", calls=[ToolCall("weather", {"city": "Oslo"})])
    async with upstream(family, reply) as server:
        heard = await ask(client, server, family, stream=True)
    assert (heard.status, heard.headers["content-type"], heard.broken) == (200, TYPES[family], None)
    assert ENDS[family] in heard.body
    assert server.served[0].whole


async def test_usage_is_billed_as_given_or_counted_from_the_words(client: aiohttp.ClientSession, family: Any) -> None:
    usage = Usage(tokens_in=10, tokens_out=5, cached=4)
    async with upstream(family, [Reply("Yes.", usage=usage), "Four letters and more."]) as server:
        await ask(client, server, family)
        await ask(client, server, family, stream=True)
    assert server.served[0] == Served(server.calls[0], "m", usage, whole=True)
    assert server.served[1].usage.tokens_out == 6
    assert server.served[1].usage.tokens_in >= 2


@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_have_the_familys_own_form(client: aiohttp.ClientSession, family: Any, stream: bool) -> None:
    faults = [Fault("throttled", retry_after=1.5), Fault("throttled"), Fault("failed"), Fault("overloaded")]
    async with upstream(family, ["Yes."], faults=faults) as server:
        heard = [await ask(client, server, family, stream=stream) for _ in range(5)]
    busy = 529 if family in ("openai", "anthropic") else 503
    assert [one.status for one in heard] == [429, 429, 500, busy, 200]
    assert [one.headers.get("retry-after") for one in heard[:2]] == ["1.5", None]
    words = heard[0].json["message"] if family == "bedrock" else heard[0].json["error"]["message"]
    assert words == "scripted: throttled"
    assert len(server.served) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["reset", "reset_after_head", "cut"])
async def test_connections_break(client: aiohttp.ClientSession, family: Any, stream: bool, kind: Any) -> None:
    async with upstream(family, "One two three four five.", faults=[Fault(kind)]) as server:
        heard = await ask(client, server, family, stream=stream)
        again = await ask(client, server, family, stream=stream)
    assert heard.broken is not None
    assert (heard.status == 0) == (kind == "reset")
    assert not stream or ENDS[family] not in heard.body
    assert (again.broken, again.status) == (None, 200)
    assert [served.whole for served in server.served] == ([True] if kind == "reset" else [False, True])


async def test_a_stream_may_end_cleanly_without_its_end(client: aiohttp.ClientSession, family: Any) -> None:
    async with upstream(family, "One two.", faults=[Fault("no_end")]) as server:
        heard = await ask(client, server, family, stream=True)
    assert (heard.broken, heard.status) == (None, 200)
    assert b"two." in heard.body
    assert ENDS[family] not in heard.body
    assert not server.served[0].whole


@pytest.mark.parametrize("kind", ["malformed", "error_in_stream", "cut"])
async def test_no_fault_lets_the_end_of_a_stream_through(client: aiohttp.ClientSession, family: Any, kind: Any) -> None:
    async with upstream(family, "One two.", faults=[Fault(kind, after=1000)]) as server:
        heard = await ask(client, server, family, stream=True)
    assert b"two." in heard.body
    assert ENDS[family] not in heard.body


async def test_whole_answers_break_too(client: aiohttp.ClientSession, family: Any) -> None:
    kinds = ("no_end", "malformed", "error_in_stream", "content_type")
    async with upstream(family, "One two.", faults=[Fault(kind) for kind in kinds]) as server:
        cut, spoilt, error, page = [await ask(client, server, family) for _ in kinds]
    for heard in (cut, spoilt):
        assert (heard.broken, heard.status) == (None, 200)
        with pytest.raises(json.JSONDecodeError):
            _ = heard.json
    assert error.status == 500
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_what_was_sent_of_a_stream_is_billed(client: aiohttp.ClientSession) -> None:
    reply = Reply("a b c d e f g h", usage=Usage(tokens_in=10, tokens_out=90))
    async with upstream("openai", reply, faults=[Fault("cut", after=5)]) as server:
        await ask(client, server, "openai", stream=True)
    # Five of nine events: the head and four words.
    assert server.served[0].usage == Usage(tokens_in=10, tokens_out=50)


async def test_a_call_that_hangs_ends_with_the_caller_or_the_server(client: aiohttp.ClientSession) -> None:
    async with upstream("openai", "Yes.", faults=[Fault("hang"), Fault("hang")]) as server:
        left = asyncio.create_task(ask(client, server, "openai"))
        while len(server.calls) < 1:
            await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        waiting = asyncio.create_task(ask(client, server, "openai"))
        while len(server.calls) < 2:
            await asyncio.sleep(0)
    assert (await waiting).broken is not None


async def test_a_late_answer_is_an_answer(client: aiohttp.ClientSession) -> None:
    faults = [Fault("latency", seconds=0.01), Fault("slow_first_byte", seconds=0.01), Fault("slow_first_byte")]
    async with upstream("openai", ["One.", "Two.", "Three."], faults=faults) as server:
        heard = [await ask(client, server, "openai", stream=stream) for stream in (False, True, False)]
    assert [word in one.body for word, one in zip((b"One.", b"Two.", b"Three."), heard, strict=True)] == [True] * 3


async def test_a_test_may_hold_a_stream_between_two_events(client: aiohttp.ClientSession) -> None:
    go = asyncio.Event()

    async def wait(number: int) -> None:
        if number == 2:
            await go.wait()

    async with (
        upstream("openai", Reply("One two.", wait=wait)) as server,
        client.post(server.url + PATHS["openai"], json=asked("openai", stream=True)) as answer,
    ):
        head = b""
        while b"One" not in head:
            head += await answer.content.readany()
        assert not server.served[0].whole
        go.set()
        assert b"[DONE]" in await answer.content.read()
    assert server.served[0].whole


async def test_a_caller_who_leaves_is_billed_what_was_sent(client: aiohttp.ClientSession) -> None:
    left = asyncio.Event()

    async def wait(number: int) -> None:
        if number == 3:
            try:
                await asyncio.Event().wait()
            finally:
                left.set()

    # Six events before the end: the head and five words.
    reply = Reply("a b c d e", usage=Usage(tokens_out=60), wait=wait)
    async with upstream("openai", reply) as server:
        async with client.post(server.url + PATHS["openai"], json=asked("openai", stream=True)) as answer:
            while b'" b"' not in await answer.content.readany():
                pass
        await asyncio.wait_for(left.wait(), 60)
    assert not server.served[0].whole
    assert server.served[0].usage.tokens_out == 30


async def test_probabilities_are_kept_and_the_same_seed_says_the_same(client: aiohttp.ClientSession) -> None:
    async def run(seed: int) -> list[int]:
        faults = {Fault("failed"): 0.3, Fault("throttled"): 0.2}
        async with upstream("openai", "Yes.", faults=faults, seed=seed) as server:
            return [(await ask(client, server, "openai")).status for _ in range(200)]

    first = await run(1)
    assert await run(1) == first
    assert await run(2) != first
    assert 35 <= first.count(500) <= 85
    assert 20 <= first.count(429) <= 65


async def test_probabilities_beyond_one_are_refused() -> None:
    with pytest.raises(ValueError, match="probabilities"):
        async with upstream("openai", faults={Fault("failed"): 0.7, Fault("reset"): 0.7}):
            pass


async def test_faults_may_begin_and_end_while_it_runs(client: aiohttp.ClientSession) -> None:
    async with upstream("openai", "Yes.") as server:
        before = (await ask(client, server, "openai")).status
        server.faults = {Fault("failed"): 1.0}
        during = (await ask(client, server, "openai")).status
        server.faults = ()
        after = (await ask(client, server, "openai")).status
    assert (before, during, after) == (200, 500, 200)


@pytest.mark.parametrize(
    ("family", "header"),
    [
        ("openai", {"authorization": "Bearer k"}),
        ("openai", {"api-key": "k"}),
        ("anthropic", {"x-api-key": "k"}),
        ("gemini", {"x-goog-api-key": "k"}),
        ("bedrock", {"authorization": "Bearer k"}),
    ],
)
async def test_a_key_is_asked_for_where_there_is_one(
    client: aiohttp.ClientSession, family: Any, header: dict[str, str]
) -> None:
    async with upstream(family, "Yes.", key="k") as server:
        assert (await ask(client, server, family)).status in (401, 403)
        async with client.post(server.url + PATHS[family], json=asked(family), headers=header) as answer:
            assert answer.status == 200
    assert [problem for _, problem in server.refused] == ["the key is missing or wrong"]


async def test_what_the_provider_would_refuse_is_refused(client: aiohttp.ClientSession, family: Any) -> None:
    empty = {"contents": []} if family == "gemini" else {"messages": []}
    async with upstream(family, ["Yes."]) as server:
        heard = await ask(client, server, family, **empty)
        assert (heard.status, len(server.refused)) == (400, 1)
        assert (await ask(client, server, family)).status == 200
        async with client.post(server.url + PATHS[family], data=b"{") as answer:
            assert answer.status == 400
        async with client.post(server.url + "/elsewhere", json={}) as answer:
            assert answer.status == 404
    assert len(server.calls) == 2


async def test_rerank_orders_by_shared_words_or_by_the_script(client: aiohttp.ClientSession) -> None:
    body = {
        "model": "m",
        "query": "red apples",
        "documents": ["a diesel engine", "red apples are sweet", "green apples"],
    }
    async with upstream("openai") as server:
        async with client.post(f"{server.url}/v1/rerank", json=body | {"top_n": 2}) as answer:
            found = await answer.json()
        server.script = Reply(scores=[0.9, 0.1, 0.5])
        async with client.post(f"{server.url}/v1/rerank", json=body | {"return_documents": True}) as answer:
            scripted = await answer.json()
    assert [(one["index"], one["relevance_score"]) for one in found["results"]] == [(1, 1.0), (2, 0.5)]
    assert [one["index"] for one in scripted["results"]] == [0, 2, 1]
    assert scripted["results"][0]["document"] == {"text": "a diesel engine"}


async def test_gemini_embeds_one_and_many(client: aiohttp.ClientSession) -> None:
    content = {"parts": [{"text": "red apples"}]}
    one = {"content": content, "outputDimensionality": 8}
    async with upstream("gemini", Reply(vectors=[[1.0, 0.0]])) as server:
        async with client.post(f"{server.url}/v1beta/models/e:embedContent", json=one) as answer:
            assert (await answer.json())["embedding"]["values"] == [1.0, 0.0]
        server.script = "unused"
        many = {"requests": [{"model": "models/e", **one}] * 2}
        async with client.post(f"{server.url}/v1beta/models/e:batchEmbedContents", json=many) as answer:
            vectors = [held["values"] for held in (await answer.json())["embeddings"]]
    assert vectors[0] == vectors[1]
    assert len(vectors[0]) == 8
