"""Official clients, unmodified, against a served gateway with scripted upstreams over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from stanchion.system import System
from stanchion.testing.upstreams import Call, Reply, ToolCall, Upstream

pytestmark = pytest.mark.timeout(300)
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
MODELS = ("gpt", "claude", "gemini", "nova")
ASK: Any = [{"role": "user", "content": "Hello."}]


class City(BaseModel):
    name: str
    people: int


def says(call: Call) -> Reply:
    """Calls the tool where it is asked about the weather, gives JSON where it is asked for a city."""
    if "weather" in call.prompt.lower():
        return Reply(calls=[ToolCall("weather", {"city": "Oslo"}, id="call_1")])
    if "city" in call.prompt.lower():
        return Reply(json={"name": "Oslo", "people": 709037})
    return Reply("It is sunny today.")


def declare(app: System, ups: dict[str, Upstream]) -> None:
    urls = {name: up.url for name, up in ups.items()}
    hosted = app.upstream("openai", kind="openai", url=urls["openai"] + "/v1")
    other = app.upstream("anthropic", kind="anthropic", url=urls["anthropic"])
    google = app.upstream("gemini", kind="gemini", url=urls["gemini"])
    amazon = app.upstream("bedrock", kind="bedrock", url=urls["bedrock"])
    gpt = app.language_model("gpt", upstream=hosted, model="gpt-4o-mini")
    claude = app.language_model("claude", upstream=other, model="claude-sonnet-4-5")
    app.language_model("gemini", upstream=google, model="gemini-2.5-flash")
    app.language_model("nova", upstream=amazon, model="amazon.nova-lite-v1:0")
    app.language_model("vectors", upstream=hosted, model="text-embedding-3-small", shapes=["embeddings"])
    app.route("simple-classification", primary=gpt, fallbacks=[claude], max_latency_ms=500_000, max_cost="0.01")


@pytest.fixture(scope="module")
def gateway(in_thread: Any) -> Iterator[Any]:
    families = {name: (name, says, {}) for name in ("openai", "anthropic", "gemini", "bedrock")}
    with in_thread(declare, **families) as servers:
        yield servers


@pytest.fixture(scope="module")
def ai(gateway: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=gateway.key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(gateway: Any) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", [*MODELS, "route:simple-classification"])
def test_openai_reads_a_whole_chat_of_every_upstream(ai: openai.OpenAI, model: str) -> None:
    answer = ai.chat.completions.with_raw_response.create(model=model, messages=ASK)
    chat = answer.parse()
    assert chat.choices[0].message.content == "It is sunny today."
    assert chat.usage is not None
    assert chat.usage.total_tokens > 0
    assert answer.headers["x-stanchion-rung"] == "primary"
    assert float(answer.headers["x-stanchion-cost-usd"]) >= 0


@pytest.mark.parametrize("model", MODELS)
def test_openai_gathers_a_streamed_chat_of_every_upstream(ai: openai.OpenAI, model: str) -> None:
    options: Any = {"include_usage": True}
    chunks = list(ai.chat.completions.create(model=model, messages=ASK, stream=True, stream_options=options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "It is sunny today."
    assert [chunk.usage.total_tokens > 0 for chunk in chunks if chunk.usage] == [True]


@pytest.mark.parametrize("model", MODELS)
def test_usage_that_was_not_asked_for_is_not_shown(ai: openai.OpenAI, model: str) -> None:
    chunks = list(ai.chat.completions.create(model=model, messages=ASK, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_openai_calls_tools_and_sends_their_results(ai: openai.OpenAI, model: str, stream: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    if stream:
        with ai.chat.completions.stream(model=model, messages=messages, tools=tools) as events:
            chat: Any = events.get_final_completion()
    else:
        chat = ai.chat.completions.create(model=model, messages=messages, tools=tools)
    [call] = chat.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Oslo"})
    called = {"id": call.id, "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    messages += [
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": call.id, "content": "Sun, 20 degrees."},
    ]
    chat = ai.chat.completions.create(model=model, messages=messages, tools=tools)
    assert chat.choices[0].message.content == "It is sunny today."


@pytest.mark.parametrize("model", MODELS)
def test_openai_parses_structured_output(ai: openai.OpenAI, model: str) -> None:
    asked: Any = [{"role": "user", "content": "Name a city."}]
    chat = ai.chat.completions.parse(model=model, messages=asked, response_format=City)
    assert chat.choices[0].message.parsed == City(name="Oslo", people=709037)


def test_openai_reads_vectors(ai: openai.OpenAI, gateway: Any) -> None:
    answer = ai.embeddings.create(model="vectors", input=["one", "two"])
    assert len(answer.data) == 2
    assert len(answer.data[0].embedding) > 1
    assert gateway.upstreams["openai"].calls[-1].model == "text-embedding-3-small"


@pytest.mark.parametrize("model", MODELS)
def test_openai_reads_responses_whole_and_streamed(ai: openai.OpenAI, model: str) -> None:
    assert ai.responses.create(model=model, input="Hello.").output_text == "It is sunny today."
    with ai.responses.stream(model=model, input="Hello.") as events:
        final = events.get_final_response()
    assert final.output_text == "It is sunny today."
    assert final.usage is not None
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_openai_reads_completions_of_a_text(ai: openai.OpenAI, model: str) -> None:
    assert ai.completions.create(model=model, prompt="Hello.", max_tokens=20).choices[0].text == "It is sunny today."


async def test_the_asynchronous_client_makes_many_calls_at_once(gateway: Any) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=gateway.key) as client:
        calls = [client.chat.completions.create(model=MODELS[n % 4], messages=ASK) for n in range(20)]
        answers = await asyncio.gather(*calls)
    assert {each.choices[0].message.content for each in answers} == {"It is sunny today."}


def test_models_and_routes_are_listed_by_both_clients(ai: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    names = {model.id for model in ai.models.list()}
    assert {*MODELS, "vectors", "route:simple-classification"} <= names
    assert ai.models.retrieve("gpt").owned_by == "openai"


@pytest.mark.parametrize("model", MODELS)
def test_anthropic_reads_messages_whole_and_streamed(claude: anthropic.Anthropic, model: str) -> None:
    whole = claude.messages.create(model=model, max_tokens=50, messages=ASK)
    assert [block.text for block in whole.content if block.type == "text"] == ["It is sunny today."]
    assert whole.usage.output_tokens > 0
    with claude.messages.stream(model=model, max_tokens=50, messages=ASK) as events:
        assert "".join(events.text_stream) == "It is sunny today."
        assert events.get_final_message().stop_reason == "end_turn"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_anthropic_calls_tools(claude: anthropic.Anthropic, model: str, stream: bool) -> None:
    tools: Any = [{"name": "weather", "input_schema": WEATHER}]
    asked: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]
    if stream:
        with claude.messages.stream(model=model, max_tokens=50, messages=asked, tools=tools) as events:
            message: Any = events.get_final_message()
    else:
        message = claude.messages.create(model=model, max_tokens=50, messages=asked, tools=tools)
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert (call.name, call.input, message.stop_reason) == ("weather", {"city": "Oslo"}, "tool_use")


def test_clients_raise_what_their_own_providers_errors_are(ai: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        ai.chat.completions.create(model="nobody", messages=ASK)
    assert told.value.code == "not_found"
    with pytest.raises(openai.AuthenticationError):
        ai.with_options(api_key="st_forged").chat.completions.create(model="gpt", messages=ASK)
    with pytest.raises(anthropic.NotFoundError) as said:
        claude.messages.create(model="nobody", max_tokens=5, messages=ASK)
    assert said.value.body["type"] == "error"
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="st_forged").messages.create(model="gpt", max_tokens=5, messages=ASK)


@pytest.mark.parametrize("model", MODELS)
async def test_pydantic_ai_runs_an_agent_with_a_tool_over_both_shapes(gateway: Any, model: str) -> None:
    chat = OpenAIChatModel(model, provider=OpenAIProvider(base_url=gateway.url + "/v1", api_key=gateway.key))
    messages = AnthropicModel(model, provider=AnthropicProvider(base_url=gateway.url, api_key=gateway.key))
    assert await _told_by(Agent(chat)) == ("It is sunny today.", ["Oslo"])
    assert await _told_by(Agent(messages)) == ("It is sunny today.", ["Oslo"])


async def _told_by(agent: Agent[None, str]) -> tuple[str, list[str]]:
    """What the agent answers, and for which cities it called its tool."""
    heard: list[str] = []

    @agent.tool_plain
    def weather(city: str) -> str:
        heard.append(city)
        return "Sun, 20 degrees."

    result = await agent.run("What is the weather in Oslo?")
    return result.output, heard
