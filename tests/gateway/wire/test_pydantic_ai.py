"""An agent of pydantic-ai works through each form, whole and streamed: tools, their results, a typed answer."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.wire.conversation import (
    Began,
    CallBegan,
    CallPart,
    Counted,
    Ended,
    Step,
    Text,
    ToolCall,
    ToolResult,
    Words,
)
from tests.gateway.wire.stand_in import StandIn

ASKS: list[Step] = [
    Began("a1", "m"),
    CallBegan(0, "c0", "weather"),
    CallPart(0, '{"city":'),
    CallPart(0, '"Bern"}'),
    Ended("tool_calls"),
    Counted(Usage(10, 5)),
]
ANSWERS: list[Step] = [Began("a2", "m"), Words("It is "), Words("sunny"), Ended("stop"), Counted(Usage(20, 3))]


class Weather(BaseModel):
    sky: str


def _model(kind: str, gateway: StandIn) -> Any:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(gateway.handle))
    if kind == "messages":
        client = anthropic.AsyncAnthropic(base_url="http://g", api_key="k", http_client=http)
        return AnthropicModel("m", provider=AnthropicProvider(anthropic_client=client))
    provider = OpenAIProvider(openai_client=openai.AsyncOpenAI(base_url="http://g/v1", api_key="k", http_client=http))
    return OpenAIChatModel("m", provider=provider) if kind == "chat" else OpenAIResponsesModel("m", provider=provider)


def _agent(kind: str, gateway: StandIn, output: Any = str) -> Agent[None, Any]:
    agent: Agent[None, Any] = Agent(_model(kind, gateway), output_type=output)

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    return agent


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
async def test_an_agent_calls_its_tool_and_answers(kind: str) -> None:
    gateway = StandIn(turns=[ASKS, ANSWERS])
    done = await _agent(kind, gateway).run("how is the weather?")
    assert done.output == "It is sunny"
    assert [tool.name for tool in gateway.asked[0].tools] == ["weather"]
    parts = [part for turn in gateway.asked[1].turns for part in turn.parts]
    assert ToolCall("c0", "weather", '{"city":"Bern"}') in parts
    assert ToolResult("c0", (Text("sunny in Bern"),)) in parts
    assert done.usage.input_tokens == 30


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
async def test_an_agent_streams(kind: str) -> None:
    gateway = StandIn(turns=[ASKS, ANSWERS])
    async with _agent(kind, gateway).run_stream("how is the weather?") as stream:
        assert await stream.get_output() == "It is sunny"


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
async def test_an_agent_gives_a_typed_answer(kind: str) -> None:
    typed: list[Step] = [
        Began("a2", "m"),
        CallBegan(0, "c1", "final_result"),
        CallPart(0, '{"sky":"blue"}'),
        Ended("tool_calls"),
        Counted(Usage(20, 3)),
    ]
    gateway = StandIn(turns=[ASKS, typed])
    done = await _agent(kind, gateway, Weather).run("how is the weather?")
    assert done.output == Weather(sky="blue")
