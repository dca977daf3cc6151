from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from pydantic import TypeAdapter

from stanchion.core.errors import InvalidInput, StanchionError, Throttled, Unavailable
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.dialects.anthropic import AnthropicDialect
from stanchion.gateway.wire.conversation import (
    Audio,
    Began,
    CallBegan,
    CallPart,
    Conversation,
    Counted,
    Document,
    Ended,
    Format,
    Part,
    Step,
    Text,
    Thinking,
    Thought,
    ToolCall,
    ToolResult,
    Turn,
    Words,
)
from tests.gateway.wire.conversations import conversations

ANTHROPIC = AnthropicDialect()
PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
HI = (Turn("user", (Text("hi"),)),)


def _sent(asked: Conversation) -> dict[str, Any]:
    return dict(json.loads(ANTHROPIC.request(asked, "m").body))


def _steps(*documents: dict[str, Any]) -> list[Step]:
    reader = ANTHROPIC.reader()
    data = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in documents)
    return [*reader.feed(data.encode()), *reader.close()]


@given(conversations(thinking=True))
def test_what_is_sent_is_a_request_of_the_official_client(asked: Conversation) -> None:
    held = _sent(asked)
    held.pop("stream", None)
    PARAMS.validate_python(held)


def test_the_head_names_the_version_of_the_api() -> None:
    wire = ANTHROPIC.request(Conversation(turns=HI), "m")
    assert wire.headers == {"anthropic-version": "2023-06-01"}
    assert wire.path == "/v1/messages"
    assert json.loads(wire.body)["max_tokens"] == 4096


def test_instructions_are_gathered_and_cache_marks_kept() -> None:
    turns = (
        Turn("system", (Text("a", cache={"type": "ephemeral"}),)),
        *HI,
        Turn("system", (Text("b"),)),
        Turn("assistant", (Text(""), Text("ok"))),
    )
    held = _sent(Conversation(turns=turns))
    assert held["system"] == [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "b"},
    ]
    assert [m["role"] for m in held["messages"]] == ["user", "assistant"]
    assert held["messages"][1]["content"] == [{"type": "text", "text": "ok"}]


def test_only_signed_thoughts_go_back() -> None:
    thoughts: tuple[Part, ...] = (Thinking("x"), Thinking("y", "s"), Thinking("", "h", redacted=True))
    turn = Turn("assistant", (*thoughts, ToolCall("c", "f", '{"a": 1.0}')))
    content = _sent(Conversation(turns=(*HI, turn)))["messages"][1]["content"]
    assert content[:2] == [
        {"type": "thinking", "thinking": "y", "signature": "s"},
        {"type": "redacted_thinking", "data": "h"},
    ]
    assert b'"input":{"a": 1.0}' in ANTHROPIC.request(Conversation(turns=(*HI, turn)), "m").body


def test_what_tools_gave_stands_first() -> None:
    turn = Turn("user", (Text("so?"), ToolResult("c", (Text("1"),), failed=True)))
    content = _sent(Conversation(turns=(turn,)))["messages"][0]["content"]
    assert content[0] == {
        "type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "1"}], "is_error": True,
    }  # fmt: skip


def test_what_the_api_lacks_is_capped_or_refused() -> None:
    assert _sent(Conversation(turns=HI, temperature=1.7, seed=1))["temperature"] == 1
    faults: list[Conversation] = [
        Conversation(turns=HI, answers=2),
        Conversation(turns=HI, logprobs=0),
        Conversation(turns=HI, format=Format()),
        Conversation(turns=HI, extra={"frequency_penalty": 0.3}),
        Conversation(turns=(Turn("user", (Audio("AAAA", "wav"),)),)),
        Conversation(turns=(Turn("user", (Document("A", "text/plain"),)),)),
        Conversation(turns=(Turn("assistant", (ToolCall("c", "f", "[1]"),)),)),
    ]
    for asked in faults:
        with pytest.raises(InvalidInput):
            _sent(asked)
    assert "frequency_penalty" not in _sent(Conversation(turns=HI, extra={"frequency_penalty": 0}))


def test_thinking_and_effort_are_asked_for() -> None:
    held = _sent(Conversation(turns=HI, thinking_tokens=2000, effort="minimal"))
    assert held["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert held["output_config"] == {"effort": "low"}
    assert _sent(Conversation(turns=HI, thinking_tokens=0))["thinking"] == {"type": "disabled"}


def test_the_official_clients_own_document_is_read() -> None:
    made = Message.model_validate(
        {
            "id": "a", "type": "message", "role": "assistant", "model": "m", "stop_reason": "refusal",
            "content": [{"type": "text", "text": "no"}],
            "usage": {
                "input_tokens": 2, "output_tokens": 3, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 5,
            },
        }
    )  # fmt: skip
    answer = ANTHROPIC.answer(made.model_dump_json().encode())
    assert (answer.parts, answer.stop, answer.usage) == ([Text("no")], "refusal", Usage(17, 3, 10, 5))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"type":"ping"}'])
def test_what_is_no_answer_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(Unavailable):
        ANTHROPIC.answer(body)


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        ("rate_limit_error", Throttled),
        ("overloaded_error", Unavailable),
        ("api_error", Unavailable),
        ("authentication_error", Unavailable),
        ("invalid_request_error", InvalidInput),
    ],
)
def test_an_error_in_a_stream_is_an_error(kind: str, raised: type[StanchionError]) -> None:
    with pytest.raises(raised):
        _steps({"type": "error", "error": {"type": kind, "message": "m"}})


START = {
    "type": "message_start",
    "message": {"id": "a", "model": "m", "usage": {"input_tokens": 4, "output_tokens": 1}},
}


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _end(reason: str) -> list[dict[str, Any]]:
    delta = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}
    return [delta, {"type": "message_stop"}]


def test_a_stream_is_read() -> None:
    steps = _steps(
        START,
        {"type": "ping"},
        *_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "s"},
        ),
        *_block(1, {"type": "redacted_thinking", "data": "h"}),
        *_block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hi"}, {"type": "citations_delta"}),
        *_block(3, {"type": "server_tool_use", "id": "s", "name": "web"}, {"type": "input_json_delta"}),
        *_block(
            4,
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"a":1}'},
        ),
        *_block(5, {"type": "tool_use", "id": "d", "name": "g", "input": {}}),
        {"type": "something_new"},
        *_end("tool_use"),
    )
    assert steps == [
        Began("a", "m"),
        Counted(Usage(4, 1)),
        Thought("hm"),
        Thought(signature="s"),
        Thought(signature="h", redacted=True),
        Words("hi"),
        CallBegan(0, "c", "f"),
        CallPart(0, '{"a":1}'),
        CallBegan(1, "d", "g"),
        CallPart(1, "{}"),
        Counted(Usage(4, 9)),
        Ended("tool_calls"),
    ]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "length"),
    ],
)
def test_each_reason_of_an_end_has_its_word(reason: str, stop: str) -> None:
    last = _steps(START, *_end(reason))[-1]
    assert isinstance(last, Ended)
    assert last.stop == stop


def test_only_the_last_mark_ends_a_stream() -> None:
    steps = _steps(START, *_end("end_turn")[:1])
    assert not any(isinstance(step, Ended) for step in steps)
