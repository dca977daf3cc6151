"""The official Anthropic client reads what the form writes, and what it sends is read."""

from __future__ import annotations

import base64
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

from stanchion.core.errors import InvalidInput, NotAllowed, NotAuthenticated, StanchionError, Throttled, Unavailable
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.wire.conversation import (
    Began,
    CallBegan,
    CallPart,
    Choice,
    Counted,
    Document,
    Ended,
    Image,
    Step,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Words,
)
from tests.gateway.wire.stand_in import StandIn

USAGE = Usage(tokens_in=12, tokens_out=7, cached=4, cache_writes=1, reasoning=3)
CALLED: list[Step] = [
    Began("a1", "m"),
    Thought("let me "),
    Thought("see"),
    Thought(signature="sig"),
    Thought(signature="hid", redacted=True),
    Words("Look"),
    Words("ing"),
    CallBegan(0, "c0", "weather"),
    CallPart(0, '{"city":'),
    CallPart(0, '"Bern"}'),
    CallBegan(1, "c1", "time"),
    CallPart(1, "{}"),
    Ended("tool_calls"),
    Counted(USAGE),
]
USER: Any = [{"role": "user", "content": "hi"}]
BASIC: Any = {"model": "m", "max_tokens": 64, "messages": USER}


def _blocks(message: Any) -> list[Any]:
    return [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in message.content]


BLOCKS = [
    {"type": "thinking", "thinking": "let me see", "signature": "sig"},
    {"type": "redacted_thinking", "data": "hid"},
    {"type": "text", "text": "Looking"},
    {"type": "tool_use", "id": "c0", "name": "weather", "input": {"city": "Bern"}},
    {"type": "tool_use", "id": "c1", "name": "time", "input": {}},
]


def test_a_whole_message_is_read() -> None:
    made = StandIn(CALLED).anthropic.messages.create(**BASIC)
    Message.model_validate(made.model_dump())
    assert _blocks(made) == BLOCKS
    assert made.stop_reason == "tool_use"
    usage = made.usage
    assert (usage.input_tokens, usage.output_tokens) == (7, 7)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (4, 1)


def test_the_clients_own_accumulator_puts_a_stream_together() -> None:
    with StandIn(CALLED).anthropic.messages.stream(**BASIC) as stream:
        made = stream.get_final_message()
    assert _blocks(made) == BLOCKS
    assert made.stop_reason == "tool_use"
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.cache_read_input_tokens) == (7, 7, 4)


def test_each_event_of_a_stream_is_one_of_the_clients_own() -> None:
    check: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    events = list(StandIn(CALLED).anthropic.messages.create(**BASIC, stream=True))
    for event in events:
        check.validate_python(event.model_dump())
    assert events[-1].type == "message_stop"


def test_calls_whose_pieces_are_mixed_come_one_after_another() -> None:
    mixed: list[Step] = [
        Began("a", "m"),
        CallBegan(0, "c0", "f"),
        CallPart(0, '{"a"'),
        CallBegan(1, "c1", "g"),
        CallPart(1, '{"b":'),
        CallPart(0, ":1}"),
        CallPart(1, "2}"),
        Ended("tool_calls"),
    ]
    with StandIn(mixed).anthropic.messages.stream(**BASIC) as stream:
        made = stream.get_final_message()
    assert [block.input for block in made.content if block.type == "tool_use"] == [{"a": 1}, {"b": 2}]
    with StandIn(mixed).openai.responses.stream(model="m", input="hi") as response:
        output = response.get_final_response().output
    assert [item.arguments for item in output if item.type == "function_call"] == ['{"a":1}', '{"b":2}']


def test_every_field_of_a_request_is_read() -> None:
    gateway = StandIn(CALLED)
    mark = {"type": "ephemeral"}
    gateway.anthropic.messages.create(
        model="m",
        max_tokens=64,
        system=[{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "CCCC"},
                        "title": "f",
                    },
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "hid"},
                    {"type": "tool_use", "id": "c0", "name": "weather", "input": {"city": "Bern"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c0",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "no"},
                            {"type": "image", "source": {"type": "url", "url": "https://example.org/b.png"}},
                        ],
                    },
                ],
            },
        ],
        tools=[{"name": "weather", "description": "d", "input_schema": {"type": "object"}}],
        tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 2000},
        stop_sequences=["x"],
        extra_body={"temperature": 1, "top_k": 3, "top_p": 0.5},
        metadata={"user_id": "u"},
        service_tier="auto",
    )
    asked = gateway.asked[0]
    assert asked.turns == (
        Turn("system", (Text("be brief", cache=mark),)),
        Turn(
            "user",
            (
                Text("look"),
                Image(data="AAAA", media_type="image/png"),
                Image(url="https://example.org/a.png"),
                Document("CCCC", "application/pdf", "f"),
                Document(base64.b64encode(b"plain").decode(), "text/plain"),
            ),
        ),
        Turn(
            "assistant",
            (
                Thinking("hm", "sig"),
                Thinking("", "hid", redacted=True),
                ToolCall("c0", "weather", '{"city":"Bern"}'),
            ),
        ),
        Turn("user", (ToolResult("c0", (Text("no"), Image(url="https://example.org/b.png")), failed=True),)),
    )
    assert asked.tools == (Tool("weather", "d", {"type": "object"}),)
    assert asked.choice == Choice("named", "weather", parallel=False)
    assert (asked.most_tokens, asked.thinking_tokens, asked.stop, asked.user) == (64, 2000, ("x",), "u")
    assert (asked.temperature, asked.top_k, asked.top_p) == (1, 3, 0.5)
    assert asked.extra == {"service_tier": "auto"}


class Place(BaseModel):
    city: str


def test_structured_output_is_parsed_by_the_client() -> None:
    gateway = StandIn([Began("a", "m"), Words('{"city":"Bern"}'), Ended("stop")])
    made = gateway.anthropic.messages.parse(**BASIC, output_format=Place)
    assert made.parsed_output == Place(city="Bern")
    form = gateway.asked[0].format
    assert form is not None
    assert form.schema is not None
    assert form.schema["properties"].keys() == {"city"}


def test_arguments_that_a_limit_cut_in_two_are_left_out() -> None:
    steps: list[Step] = [Began("a", "m"), Words("x"), CallBegan(0, "c", "f"), CallPart(0, '{"a'), Ended("length")]
    made = StandIn(steps).anthropic.messages.create(**BASIC)
    assert [block.type for block in made.content] == ["text"]
    assert made.stop_reason == "max_tokens"


def test_arguments_that_are_no_json_make_no_answer() -> None:
    steps: list[Step] = [Began("a", "m"), CallBegan(0, "c", "f"), CallPart(0, '{"a'), Ended("tool_calls")]
    with pytest.raises(anthropic.InternalServerError, match="arguments"):
        StandIn(steps).anthropic.messages.create(**BASIC)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (NotAuthenticated(), anthropic.AuthenticationError),
        (NotAllowed(), anthropic.PermissionDeniedError),
        (Throttled(), anthropic.RateLimitError),
        (Unavailable(), anthropic.InternalServerError),
        (InvalidInput(), anthropic.UnprocessableEntityError),
    ],
)
def test_errors_are_those_of_the_client(error: StanchionError, raised: type[anthropic.APIStatusError]) -> None:
    with pytest.raises(raised) as caught:
        StandIn(fails=error).anthropic.messages.create(**BASIC)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["code"] == error.code
    assert body["error"]["next_step"] == error.hint
    assert body["error"]["trace_id"] == "t1"
    assert body["error"]["message"] == error.detail


def test_a_stream_that_breaks_never_ends_cleanly() -> None:
    client = StandIn(CALLED, fails=Unavailable("gone"), after=7).anthropic
    with pytest.raises(anthropic.APIStatusError, match="gone"), client.messages.stream(**BASIC) as stream:
        stream.get_final_message()


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("$.max_tokens", {"max_tokens": None}),
        ("$.messages", {"messages": None}),
        ("$.messages[0].role", {"messages": [{"role": "tool", "content": "x"}]}),
        ("$.messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}),
        ("$.messages[0].content[0].source", {"messages": [{"role": "user", "content": [{"type": "image"}]}]}),
        ("$.tools[0].type", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("$.tool_choice.type", {"tool_choice": {"type": "maybe"}}),
        ("$.temperature", {"temperature": 1.5}),
        ("$.thinking.budget_tokens", {"thinking": {"type": "enabled", "budget_tokens": "many"}}),
    ],
)
def test_a_fault_of_a_request_has_its_path(path: str, change: dict[str, Any]) -> None:
    with pytest.raises(anthropic.UnprocessableEntityError) as caught:
        StandIn(CALLED).anthropic.post("/v1/messages", body={**BASIC, **change}, cast_to=object)
    body: Any = caught.value.body
    assert body["error"]["param"] == path
