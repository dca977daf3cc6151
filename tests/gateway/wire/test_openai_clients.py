"""The official OpenAI client reads what the forms write, and what it sends is read."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from pydantic import BaseModel, TypeAdapter

from stanchion.core.errors import (
    FieldProblem,
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    StanchionError,
    Throttled,
    Unavailable,
)
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.wire.conversation import (
    Audio,
    Began,
    CallBegan,
    CallPart,
    Choice,
    Counted,
    Document,
    Ended,
    Format,
    Image,
    Step,
    Text,
    Thinking,
    Thought,
    ToolCall,
    ToolResult,
    Turn,
    Words,
)
from tests.gateway.wire.stand_in import StandIn

USAGE = Usage(tokens_in=12, tokens_out=7, cached=4, cache_writes=1, reasoning=3)
LOGPROBS = [{"token": "Hel", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "H", "logprob": -2.0}]}]
SAID: list[Step] = [
    Began("a1", "m"), Words("Hel"), Words("lo"), Ended("stop"), Counted(USAGE),
]  # fmt: skip
CALLED: list[Step] = [
    Began("a1", "m"),
    Thought("let me "),
    Thought("see"),
    Thought(signature="sig"),
    Words("Looking"),
    CallBegan(0, "c0", "weather"),
    CallPart(0, '{"city":'),
    CallPart(0, '"Bern"}'),
    CallBegan(1, "c1", "time"),
    CallPart(1, "{}"),
    Counted(USAGE),
    Ended("tool_calls"),
]
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True},
}
USER: Any = [{"role": "user", "content": "hi"}]


def test_a_whole_chat_completion_is_read() -> None:
    gateway = StandIn(CALLED)
    made = gateway.openai.chat.completions.create(model="m", messages=USER)
    ChatCompletion.model_validate(made.model_dump())
    assert made.choices[0].message.content == "Looking"
    assert made.choices[0].finish_reason == "tool_calls"
    calls = made.choices[0].message.tool_calls or []
    assert [(c.id, c.function.name, c.function.arguments) for c in calls if c.type == "function"] == [
        ("c0", "weather", '{"city":"Bern"}'),
        ("c1", "time", "{}"),
    ]
    assert made.usage is not None
    assert made.usage.total_tokens == 19
    assert made.usage.prompt_tokens_details is not None
    assert made.usage.prompt_tokens_details.cached_tokens == 4


def test_a_streamed_chat_completion_is_read_with_usage_where_it_was_asked_for() -> None:
    gateway = StandIn(CALLED)
    stream = gateway.openai.chat.completions.create(
        model="m", messages=USER, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.model_dump())
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [19]
    assert chunks[-1].choices == []
    plain = list(gateway.openai.chat.completions.create(model="m", messages=USER, stream=True))
    assert not any(chunk.usage for chunk in plain)
    assert all(chunk.choices for chunk in plain)


def test_the_clients_own_accumulator_puts_a_stream_together() -> None:
    with StandIn(CALLED).openai.chat.completions.stream(model="m", messages=USER, tools=[TOOL]) as stream:
        made = stream.until_done().get_final_completion()
    message = made.choices[0].message
    assert message.content == "Looking"
    assert [c.function.arguments for c in message.tool_calls or []] == ['{"city":"Bern"}', "{}"]


class Answer(BaseModel):
    city: str


def test_structured_output_is_parsed_by_the_client() -> None:
    gateway = StandIn([Began("a", "m"), Words('{"city":"Bern"}'), Ended("stop"), Counted(USAGE)])
    made = gateway.openai.chat.completions.parse(model="m", messages=USER, response_format=Answer)
    assert made.choices[0].message.parsed == Answer(city="Bern")
    form = gateway.asked[0].format
    assert form is not None
    assert (form.name, form.strict) == ("Answer", True)
    assert gateway.openai.responses.parse(model="m", input="hi", text_format=Answer).output_parsed == Answer(
        city="Bern"
    )


def test_every_field_of_a_chat_request_is_read() -> None:
    gateway = StandIn(SAID)
    messages: Any = [
        {"role": "developer", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,CCCC", "filename": "f.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c0", "content": "sunny"},
        {"role": "user", "content": "and?"},
    ]
    gateway.openai.chat.completions.create(
        model="m",
        messages=messages,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
        max_completion_tokens=50,
        temperature=0.5,
        top_p=0.9,
        stop=["a", "b"],
        seed=-3,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="low",
        user="u",
        frequency_penalty=0.5,
        extra_body={"own_field": [1]},
    )
    asked = gateway.asked[0]
    assert asked.turns == (
        Turn("system", (Text("be brief"),)),
        Turn(
            "user",
            (
                Text("look"),
                Image(data="AAAA", media_type="image/png", detail="low"),
                Image(url="https://example.org/a.png"),
                Audio("BBBB", "wav"),
                Document("CCCC", "application/pdf", "f.pdf"),
            ),
        ),
        Turn("assistant", (ToolCall("c0", "weather", "{}"),)),
        Turn("user", (ToolResult("c0", (Text("sunny"),)), Text("and?"))),
    )
    assert asked.choice == Choice("named", "weather", parallel=False)
    assert (asked.most_tokens, asked.temperature, asked.top_p, asked.stop) == (50, 0.5, 0.9, ("a", "b"))
    assert (asked.seed, asked.logprobs, asked.effort, asked.user) == (-3, 2, "low", "u")
    assert asked.extra == {"frequency_penalty": 0.5, "own_field": [1]}


def test_log_probabilities_come_where_they_were_asked_for() -> None:
    steps: list[Step] = [Began("a", "m"), Words("Hel", LOGPROBS), Ended("stop")]
    client = StandIn(steps).openai
    chunks = list(client.chat.completions.create(model="m", messages=USER, stream=True, logprobs=True, top_logprobs=1))
    found = [c.choices[0].logprobs.content for c in chunks if c.choices and c.choices[0].logprobs]
    assert [token.token for tokens in found for token in tokens or []] == ["Hel"]
    events = list(client.responses.create(model="m", input="hi", stream=True, top_logprobs=1))
    assert [e.logprobs[0].token for e in events if e.type == "response.output_text.delta"] == ["Hel"]
    without = list(client.chat.completions.create(model="m", messages=USER, stream=True))
    assert not any(c.choices[0].logprobs for c in without)


def test_a_refusal_is_told_as_one() -> None:
    gateway = StandIn([Began("a", "m"), Words("I will not"), Ended("refusal"), Counted(USAGE)])
    message = gateway.openai.chat.completions.create(model="m", messages=USER).choices[0].message
    assert (message.refusal, message.content) == ("I will not", None)
    chunks = list(gateway.openai.chat.completions.create(model="m", messages=USER, stream=True))
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    made = gateway.openai.responses.create(model="m", input="hi")
    assert made.output[0].type == "message"
    assert made.output[0].content[0].type == "refusal"


def test_a_whole_response_is_read() -> None:
    gateway = StandIn(CALLED)
    made = gateway.openai.responses.create(
        model="m",
        input="hi",
        tools=[{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}],
        tool_choice="required",
        reasoning={"effort": "low"},
    )
    Response.model_validate(made.model_dump())
    assert made.output_text == "Looking"
    assert [item.type for item in made.output] == ["reasoning", "message", "function_call", "function_call"]
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens_details.reasoning_tokens) == (12, 3)
    assert made.status == "completed"


@pytest.mark.parametrize("steps", [SAID, CALLED], ids=["said", "called"])
def test_the_clients_own_accumulator_puts_a_streamed_response_together(steps: list[Step]) -> None:
    gateway = StandIn(steps)
    whole = gateway.openai.responses.create(model="m", input="hi")
    with gateway.openai.responses.stream(model="m", input="hi") as stream:
        events = list(stream)
        made = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    wanted, found = whole.model_dump(), made.model_dump()
    for held in (wanted, found):
        held.pop("created_at")
        for item in held["output"]:
            item.pop("parsed_arguments", None)
            for part in item.get("content") or ():
                part.pop("parsed", None)
    assert found["output"] == wanted["output"]
    assert found["usage"] == wanted["usage"]


def test_each_event_of_a_streamed_response_is_one_of_the_clients_own() -> None:
    from openai.types.responses import ResponseStreamEvent

    check: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for event in StandIn(CALLED).openai.responses.create(model="m", input="hi", stream=True):
        check.validate_python(event.model_dump())


def test_a_limit_makes_a_response_incomplete() -> None:
    gateway = StandIn([Began("a", "m"), Words("Hel"), Ended("length"), Counted(USAGE)])
    made = gateway.openai.responses.create(model="m", input="hi", max_output_tokens=16)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"
    last = list(gateway.openai.responses.create(model="m", input="hi", stream=True))[-1]
    assert last.type == "response.incomplete"


def test_a_conversation_of_responses_goes_on_with_its_own_items() -> None:
    gateway = StandIn(CALLED)
    first = gateway.openai.responses.create(model="m", input="hi")
    items: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        *[item.model_dump(exclude_none=True) for item in first.output],
        {"type": "function_call_output", "call_id": "c0", "output": "sunny"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "noon"}]},
        {"role": "user", "content": "thanks"},
    ]
    gateway.openai.responses.create(model="m", input=items, instructions="be brief")
    assert gateway.asked[1].turns == (
        Turn("system", (Text("be brief"),)),
        Turn("user", (Text("hi"),)),
        Turn(
            "assistant",
            (
                Thinking("let me see", "sig"),
                Text("Looking"),
                ToolCall("c0", "weather", '{"city":"Bern"}'),
                ToolCall("c1", "time", "{}"),
            ),
        ),
        Turn("user", (ToolResult("c0", (Text("sunny"),)), ToolResult("c1", (Text("noon"),)), Text("thanks"))),
    )


@pytest.mark.parametrize(
    "options", [{"previous_response_id": "r"}, {"store": True}, {"background": True}, {"conversation": "c"}]
)
def test_a_call_that_leans_on_kept_state_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        StandIn(SAID).openai.responses.create(model="m", input="hi", **options)
    assert caught.value.param == f"$.{next(iter(options))}"
    assert caught.value.code == "invalid_input"
    assert "whole conversation" in caught.value.message


def test_json_formats_of_responses_are_read() -> None:
    gateway = StandIn(SAID)
    held: Any = {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}
    gateway.openai.responses.create(model="m", input="hi", text=held)
    gateway.openai.responses.create(model="m", input="hi", text={"format": {"type": "json_object"}})
    assert [asked.format for asked in gateway.asked] == [Format({"type": "object"}, "n", strict=True), Format()]


def test_completions_are_read_whole_and_streamed() -> None:
    gateway = StandIn([Began("a", "m"), Words("Hel", LOGPROBS), Words("lo"), Ended("length"), Counted(USAGE)])
    made = gateway.openai.completions.create(model="m", prompt="hi", max_tokens=3)
    Completion.model_validate(made.model_dump())
    assert (made.choices[0].text, made.choices[0].finish_reason) == ("Hello", "length")
    chunks = list(gateway.openai.completions.create(model="m", prompt=["hi"], stream=True, logprobs=1))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello"
    assert chunks[0].choices[0].logprobs is not None
    assert chunks[0].choices[0].logprobs.tokens == ["Hel"]
    assert gateway.asked[0].turns == (Turn("user", (Text("hi"),)),)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (NotAuthenticated(), openai.AuthenticationError),
        (NotAllowed(), openai.PermissionDeniedError),
        (Throttled(retry_after=3), openai.RateLimitError),
        (Unavailable(), openai.InternalServerError),
        (InvalidInput("no", fields=[FieldProblem("$.model", "no")]), openai.UnprocessableEntityError),
    ],
)
def test_errors_are_those_of_the_client(error: StanchionError, raised: type[openai.APIStatusError]) -> None:
    with pytest.raises(raised) as caught:
        StandIn(fails=error).openai.chat.completions.create(model="m", messages=USER)
    assert caught.value.code == error.code
    held: Any = caught.value.body
    assert (held["next_step"], held["trace_id"], held["message"]) == (error.hint, "t1", error.detail)


@pytest.mark.parametrize("kind", ["chat", "completions", "responses"])
def test_a_stream_that_breaks_never_ends_cleanly(kind: str) -> None:
    client = StandIn(SAID, fails=Unavailable("gone"), after=2).openai
    with pytest.raises(openai.APIError, match="gone") as caught:
        if kind == "chat":
            list(client.chat.completions.create(model="m", messages=USER, stream=True))
        elif kind == "completions":
            list(client.completions.create(model="m", prompt="hi", stream=True))
        else:
            list(client.responses.create(model="m", input="hi", stream=True))
    assert json.dumps(caught.value.body).count("unavailable")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("$.messages", {}),
        ("$.messages[0]", {"messages": [1]}),
        ("$.messages[0].role", {"messages": [{"content": "x"}]}),
        ("$.messages[0].role", {"messages": [{"role": "robot", "content": "x"}]}),
        ("$.messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"type": "video"}]}]}),
        ("$.temperature", {"messages": USER, "temperature": 3}),
        ("$.temperature", {"messages": USER, "temperature": "hot"}),
        ("$.max_tokens", {"messages": USER, "max_tokens": 0}),
        ("$.stop", {"messages": USER, "stop": [1]}),
        ("$.tools[0].function", {"messages": USER, "tools": [{"type": "function"}]}),
        ("$.tool_choice", {"messages": USER, "tool_choice": "perhaps"}),
        ("$.response_format.type", {"messages": USER, "response_format": {"type": "xml"}}),
        ("$.functions", {"messages": USER, "functions": []}),
        ("$.n", {"messages": USER, "n": True}),
    ],
)
def test_a_fault_of_a_request_has_its_path(path: str, body: dict[str, Any]) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        StandIn(SAID).openai.post("/chat/completions", body={"model": "m", **body}, cast_to=object)
    assert caught.value.param == path
