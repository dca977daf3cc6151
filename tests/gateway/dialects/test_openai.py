from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from stanchion.core.errors import InvalidInput, StanchionError, Throttled, Unavailable
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.dialects.openai import OpenAIDialect
from stanchion.gateway.wire.conversation import (
    Began,
    CallBegan,
    CallPart,
    Conversation,
    Counted,
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
from tests.gateway.wire.conversations import conversations

OPENAI = OpenAIDialect()
PARAMS: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
HI = (Turn("user", (Text("hi"),)),)


def _sent(asked: Conversation, dialect: OpenAIDialect = OPENAI) -> dict[str, Any]:
    return dict(json.loads(dialect.request(asked, "m").body))


def _answer(message: dict[str, Any], reason: str = "stop", **rest: Any) -> bytes:
    return json.dumps(
        {"id": "a", "model": "m", "choices": [{"message": message, "finish_reason": reason}], **rest}
    ).encode()


def _steps(*documents: Any, done: bool = True) -> list[Step]:
    reader = OPENAI.reader()
    data = "".join(f"data: {json.dumps(each)}\n\n" for each in documents) + ("data: [DONE]\n\n" if done else "")
    return [*reader.feed(data.encode()), *reader.close()]


def _delta(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"id": "a", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


@given(conversations())
def test_what_is_sent_is_a_request_of_the_official_client(asked: Conversation) -> None:
    held = _sent(asked)
    held.pop("stream", None)
    PARAMS.validate_python(held)


def test_a_stream_is_always_asked_for_its_count() -> None:
    assert _sent(Conversation(turns=HI, stream=True))["stream_options"] == {"include_usage": True}
    assert "stream" not in _sent(Conversation(turns=HI))


def test_the_limit_goes_under_the_name_that_the_upstream_knows() -> None:
    asked = Conversation(turns=HI, most_tokens=5)
    assert _sent(asked)["max_completion_tokens"] == 5
    older = _sent(asked, OpenAIDialect(most_tokens="max_tokens", path="/x"))
    assert (older["max_tokens"], "max_completion_tokens" in older) == (5, False)


def test_fields_are_passed_on_left_out_or_refused_never_lost() -> None:
    held = _sent(Conversation(turns=HI, extra={"presence_penalty": 1, "speed": "fast", "truncation": "disabled"}))
    assert held == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "presence_penalty": 1}
    for extra in ({"own": 1}, {"truncation": "auto"}, {"inference_geo": "eu"}):
        with pytest.raises(InvalidInput) as caught:
            _sent(Conversation(turns=HI, extra=extra))
        assert caught.value.fields[0].path == f"$.{next(iter(extra))}"
    with pytest.raises(InvalidInput, match="top_k"):
        _sent(Conversation(turns=HI, top_k=3))
    assert _sent(Conversation(turns=HI, top_k=3), OpenAIDialect(taken={"top_k"}))["top_k"] == 3


def test_what_the_form_has_no_place_for_is_refused() -> None:
    shown = ToolResult("c", (Image(url="https://example.org/a.png"),))
    with pytest.raises(InvalidInput, match="text only"):
        _sent(Conversation(turns=(Turn("user", (shown,)),)))
    with pytest.raises(InvalidInput, match=r"\$\.n"):
        _sent(Conversation(turns=HI, answers=2))


def test_what_tools_gave_stands_before_what_the_user_says() -> None:
    turns = (Turn("assistant", (ToolCall("c", "f", "{}"),)), Turn("user", (Text("so?"), ToolResult("c", (Text("1"),)))))
    assert [m["role"] for m in _sent(Conversation(turns=turns, tools=(Tool("f"),)))["messages"]] == [
        "assistant", "tool", "user",
    ]  # fmt: skip


def test_a_whole_answer_is_read_whatever_the_upstream_calls_its_thinking() -> None:
    for name in ("reasoning_content", "reasoning"):
        answer = OPENAI.answer(_answer({"content": "hi", name: "hm"}))
        assert answer.parts == [Thinking("hm"), Text("hi")]


def test_calls_without_ids_or_with_arguments_as_objects_are_made_whole() -> None:
    calls = [{"function": {"name": "f", "arguments": {"a": 1}}}, {"id": "", "function": {"name": "g"}}]
    answer = OPENAI.answer(_answer({"content": None, "tool_calls": calls}))
    assert answer.parts == [ToolCall("call_a_0", "f", '{"a":1}'), ToolCall("call_a_1", "g", "{}")]
    assert answer.stop == "tool_calls"


def test_a_refusal_and_a_filter_are_told_apart() -> None:
    refused = OPENAI.answer(_answer({"content": None, "refusal": "no"}))
    assert (refused.parts, refused.stop) == ([Text("no")], "refusal")
    assert OPENAI.answer(_answer({"content": ""}, "content_filter")).stop == "content_filter"


def test_the_official_clients_own_document_is_read() -> None:
    made = ChatCompletion.model_validate(
        {
            "id": "a", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
            "usage": {
                "prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12,
                "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2},
            },
        }
    )  # fmt: skip
    answer = OPENAI.answer(made.model_dump_json().encode())
    assert answer.usage == Usage(9, 3, cached=4, reasoning=2)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{}]}'])
def test_what_is_no_answer_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(Unavailable):
        OPENAI.answer(body)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ({"message": "slow down", "code": 429}, Throttled),
        ({"message": "slow down", "type": "rate_limit_error"}, Throttled),
        ({"message": "too long", "code": "context_length_exceeded"}, InvalidInput),
        ({"message": "down", "code": "502"}, Unavailable),
        ("just words", Unavailable),
    ],
)
def test_an_error_with_status_200_is_an_error(error: Any, raised: type[StanchionError]) -> None:
    words = error if isinstance(error, str) else error["message"]
    with pytest.raises(raised, match=words):
        OPENAI.answer(json.dumps({"error": error}).encode())
    with pytest.raises(raised, match=words):
        _steps(_delta({"content": "a"}), {"error": error})


def test_a_stream_of_calls_in_pieces_is_read() -> None:
    first = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    steps = _steps(
        _delta({"role": "assistant", "content": None, "reasoning_content": "hm"}),
        _delta({"tool_calls": [first]}),
        _delta({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        _delta({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
        _delta({"tool_calls": [{"index": 1, "function": {"name": "g", "arguments": "{}"}}]}),
        _delta({}, "stop"),
        {"id": "a", "choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3}},
    )
    assert steps == [
        Began("a", "m"),
        Thought("hm"),
        CallBegan(0, "c", "f"),
        CallPart(0, '{"a"'),
        CallPart(0, ":1}"),
        CallBegan(1, "call_a_1", "g"),
        CallPart(1, "{}"),
        Counted(Usage(2, 3)),
        Ended("tool_calls"),
    ]


def test_calls_that_an_upstream_numbers_alike_are_kept_apart() -> None:
    calls = [{"index": 0, "id": each, "function": {"name": "f", "arguments": "{}"}} for each in ("c", "d")]
    steps = _steps(*(_delta({"tool_calls": [call]}) for call in calls), _delta({}, "tool_calls"))
    assert [step for step in steps if isinstance(step, CallBegan)] == [CallBegan(0, "c", "f"), CallBegan(1, "d", "f")]


def test_a_stream_without_the_last_mark_ends_with_its_reason_only() -> None:
    assert _steps(_delta({"content": "a"}), _delta({}, "length"), done=False)[-1] == Ended("length")
    assert _steps(_delta({"content": "a"}), done=False) == [Began("a", "m"), Words("a")]


def test_an_end_by_error_is_a_failure() -> None:
    with pytest.raises(Unavailable):
        _steps(_delta({"content": "a"}), _delta({}, "error"))


def test_a_stream_that_is_no_json_is_refused() -> None:
    with pytest.raises(Unavailable):
        list(OPENAI.reader().feed(b"data: {oops\n\n"))


def test_a_refusal_in_a_stream_is_told() -> None:
    assert _steps(_delta({"refusal": "no"}), _delta({}, "stop"))[1:] == [Words("no"), Ended("refusal")]
