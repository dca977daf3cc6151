"""The official clients, unmodified, take what the scripted upstreams of OpenAI and Anthropic send."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from stanchion.testing.upstreams import Fault, Reply, ToolCall, Usage, upstream

ASK = [{"role": "user", "content": "What is the weather in Oslo?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALLS = Reply(calls=[ToolCall("weather", {"city": "Oslo"}), ToolCall("weather", {"city": "Bergen"})])
COUNTED = Usage(tokens_in=100, tokens_out=40, cached=60, reasoning=10)


class City(BaseModel):
    """What the model is to say."""

    name: str
    people: int


def client(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


def claude(url: str) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=url, api_key="any", max_retries=0)


async def test_openai_reads_a_whole_chat_with_its_usage() -> None:
    async with upstream("openai", Reply("Sunny.", thinking="Hm.", usage=COUNTED)) as server, client(server.url) as ai:
        answer = await ai.chat.completions.create(model="m", messages=ASK)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Sunny.", "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (100, 40, 140)
    assert answer.usage.prompt_tokens_details.cached_tokens == 60
    assert [served.usage for served in server.served] == [COUNTED]
    assert server.calls[0].prompt == ASK[0]["content"]


async def test_openai_gathers_a_streamed_chat() -> None:
    text = "Sunny, with  some\nclouds. "
    counted = {"stream_options": {"include_usage": True}}
    async with (
        upstream("openai", text) as server,
        client(server.url) as ai,
        ai.chat.completions.stream(model="m", messages=ASK, **counted) as stream,
    ):
        answer = await stream.get_final_completion()
    assert answer.choices[0].message.content == text
    assert answer.usage.total_tokens == sum((server.served[0].usage.tokens_in, server.served[0].usage.tokens_out))
    assert server.served[0].whole


@pytest.mark.parametrize("stream", [False, True])
async def test_openai_reads_tool_calls_and_sends_their_results(stream: bool) -> None:
    async with upstream("openai", [CALLS, "Sunny in both."]) as server, client(server.url) as ai:
        if stream:
            async with ai.chat.completions.stream(model="m", messages=ASK, tools=[WEATHER]) as events:
                message = (await events.get_final_completion()).choices[0].message
        else:
            message = (await ai.chat.completions.create(model="m", messages=ASK, tools=[WEATHER])).choices[0].message
        assert [json.loads(call.function.arguments)["city"] for call in message.tool_calls] == ["Oslo", "Bergen"]
        results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
        spoken = [*ASK, message.model_dump(exclude_none=True), *results]
        answer = await ai.chat.completions.create(model="m", messages=spoken, tools=[WEATHER])
    assert answer.choices[0].message.content == "Sunny in both."


async def test_openai_parses_structured_output() -> None:
    async with upstream("openai", Reply(json={"name": "Oslo", "people": 700_000})) as server, client(server.url) as ai:
        chat = await ai.chat.completions.parse(model="m", messages=ASK, response_format=City)
        response = await ai.responses.parse(model="m", input="Which city?", text_format=City)
    assert chat.choices[0].message.parsed == response.output_parsed == City(name="Oslo", people=700_000)


async def test_openai_reads_logprobs_where_it_asked_for_them() -> None:
    async with upstream("openai", Reply("one two", logprobs=-0.5)) as server, client(server.url) as ai:
        answer = await ai.chat.completions.create(model="m", messages=ASK, logprobs=True, top_logprobs=1)
        plain = await ai.chat.completions.create(model="m", messages=ASK)
    assert [(one.token, one.logprob) for one in answer.choices[0].logprobs.content] == [("one", -0.5), (" two", -0.5)]
    assert plain.choices[0].logprobs is None


async def test_openai_reads_completions_whole_and_streamed() -> None:
    async with upstream("openai", "and then some") as server, client(server.url) as ai:
        whole = await ai.completions.create(model="m", prompt="Once", max_tokens=5)
        parts = [chunk async for chunk in await ai.completions.create(model="m", prompt="Once", stream=True)]
    assert whole.choices[0].text == "".join(chunk.choices[0].text for chunk in parts) == "and then some"


@pytest.mark.parametrize("stream", [False, True])
async def test_openai_reads_responses_with_thought_text_and_calls(stream: bool) -> None:
    reply = Reply("Let me see.", thinking="Which tool?", calls=CALLS.calls, usage=COUNTED)
    tool = {"type": "function", **WEATHER["function"], "strict": False}
    async with upstream("openai", reply) as server, client(server.url) as ai:
        if stream:
            async with ai.responses.stream(model="m", input="Weather?", tools=[tool]) as events:
                answer = await events.get_final_response()
        else:
            answer = await ai.responses.create(model="m", input="Weather?", tools=[tool])
    assert answer.output_text == "Let me see."
    assert [item.type for item in answer.output] == ["reasoning", "message", "function_call", "function_call"]
    assert json.loads(answer.output[2].arguments) == {"city": "Oslo"}
    assert (answer.usage.input_tokens, answer.usage.input_tokens_details.cached_tokens) == (100, 60)


async def test_openai_reads_vectors_that_hang_on_the_words_alone() -> None:
    async with upstream("openai") as server, client(server.url) as ai:
        asked = ["red apples", "green apples", "a diesel engine"]
        packed = (await ai.embeddings.create(model="m", input=asked, dimensions=256)).data
        plain = (await ai.embeddings.create(model="m", input=asked[0], dimensions=256, encoding_format="float")).data
    assert packed[0].embedding == pytest.approx(plain[0].embedding, abs=1e-6)
    near, far = (sum(a * b for a, b in zip(packed[0].embedding, packed[n].embedding, strict=True)) for n in (1, 2))
    assert (len(plain[0].embedding), near > far) == (256, True)


async def test_openai_lists_models() -> None:
    async with upstream("openai", Reply(model="tiny")) as server, client(server.url) as ai:
        assert [model.id async for model in ai.models.list()] == ["tiny"]


def test_the_synchronous_client_works_from_a_thread_of_its_own() -> None:
    import asyncio

    async def run() -> str | None:
        async with upstream("openai", "Yes.") as server:

            def ask() -> str | None:
                with OpenAI(base_url=f"{server.url}/v1", api_key="any") as ai:
                    return ai.chat.completions.create(model="m", messages=ASK).choices[0].message.content

            return await asyncio.to_thread(ask)

    assert asyncio.run(run()) == "Yes."


async def test_openai_raises_what_its_errors_are() -> None:
    faults = [
        Fault("throttled", retry_after=3),
        Fault("failed"),
        Fault("reset"),
        Fault("cut"),
        Fault("error_in_stream"),
    ]
    async with upstream("openai", "One two three four.", faults=faults) as server, client(server.url) as ai:
        with pytest.raises(openai.RateLimitError) as slow:
            await ai.chat.completions.create(model="m", messages=ASK)
        assert slow.value.response.headers["retry-after"] == "3"
        with pytest.raises(openai.InternalServerError):
            await ai.chat.completions.create(model="m", messages=ASK)
        with pytest.raises(openai.APIConnectionError):
            await ai.chat.completions.create(model="m", messages=ASK)
        with pytest.raises(openai.APIConnectionError):
            [chunk async for chunk in await ai.chat.completions.create(model="m", messages=ASK, stream=True)]
        with pytest.raises(openai.APIError, match="scripted"):
            [chunk async for chunk in await ai.chat.completions.create(model="m", messages=ASK, stream=True)]
        with pytest.raises(openai.BadRequestError, match="temperature"):
            await ai.chat.completions.create(model="m", messages=ASK, temperature=3)
    assert [served.whole for served in server.served] == [False, False]


@pytest.mark.parametrize("stream", [False, True])
async def test_anthropic_reads_thought_text_calls_and_usage(stream: bool) -> None:
    usage = Usage(tokens_in=100, tokens_out=40, cached=60, cache_writes=10)
    reply = Reply("Let me see.", thinking="Which tool?", signature="c2ln", calls=CALLS.calls, usage=usage)
    tool = {"name": "weather", "input_schema": WEATHER["function"]["parameters"]}
    asked = {"model": "m", "max_tokens": 2048, "messages": ASK, "tools": [tool]}
    async with upstream("anthropic", [reply, "Sunny."]) as server, claude(server.url) as ai:
        if stream:
            async with ai.messages.stream(**asked) as events:
                answer = await events.get_final_message()
        else:
            answer = await ai.messages.create(**asked)
        assert [block.type for block in answer.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert (answer.content[0].signature, answer.content[1].text) == ("c2ln", "Let me see.")
        assert [block.input for block in answer.content[2:]] == [{"city": "Oslo"}, {"city": "Bergen"}]
        assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("tool_use", 30, 40)
        assert (answer.usage.cache_read_input_tokens, answer.usage.cache_creation_input_tokens) == (60, 10)
        results = [{"type": "tool_result", "tool_use_id": b.id, "content": "sunny"} for b in answer.content[2:]]
        turns = [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
        last = await ai.messages.create(**{**asked, "messages": [*ASK, *turns]})
    assert last.content[0].text == "Sunny."


async def test_anthropic_counts_tokens_and_parses_structured_output() -> None:
    async with (
        upstream("anthropic", Reply(json={"name": "Oslo", "people": 700_000})) as server,
        claude(server.url) as ai,
    ):
        count = await ai.messages.count_tokens(model="m", messages=ASK)
        answer = await ai.messages.parse(model="m", max_tokens=100, messages=ASK, output_format=City)
    assert count.input_tokens > 0
    assert answer.parsed_output == City(name="Oslo", people=700_000)


async def test_anthropic_raises_what_its_errors_are() -> None:
    faults = [Fault("overloaded"), Fault("throttled"), Fault("error_in_stream")]
    asked = {"model": "m", "max_tokens": 100, "messages": ASK}
    async with upstream("anthropic", "One two.", faults=faults) as server, claude(server.url) as ai:
        with pytest.raises(anthropic.APIStatusError) as busy:
            await ai.messages.create(**asked)
        assert busy.value.status_code == 529
        with pytest.raises(anthropic.RateLimitError):
            await ai.messages.create(**asked)
        with pytest.raises(anthropic.APIStatusError, match="scripted"):
            async with ai.messages.stream(**asked) as events:
                await events.get_final_message()
        with pytest.raises(anthropic.BadRequestError, match="first message"):
            await ai.messages.create(**{**asked, "messages": [{"role": "assistant", "content": "No."}]})
