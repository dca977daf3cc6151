"""Documents with a value replaced anywhere are read or refused; nothing else comes of them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, StanchionError
from stanchion.gateway.contract.calls import Ask, Shape
from stanchion.gateway.dialects.anthropic import AnthropicDialect
from stanchion.gateway.dialects.openai import OpenAIDialect
from stanchion.gateway.ports import Dialect
from stanchion.gateway.wire.embeddings import embed_of
from stanchion.gateway.wire.rerank import rerank_of
from stanchion.gateway.wire.scan import scanner, seen
from tests.gateway.wire.stand_in import FORMS

REQUESTS: dict[Shape, Any] = {
    "chat": {
        "model": "m",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "x"}]},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    {"type": "file", "file": {"file_data": "data:a/b;base64,AA", "filename": "f"}},
                ],
            },
            {
                "role": "assistant",
                "refusal": "r",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "stop": ["a"],
        "stream_options": {"include_usage": True},
        "logprobs": True,
        "top_logprobs": 2,
        "seed": 1,
        "temperature": 1,
    },
    "completions": {"prompt": "x", "stop": "a", "logprobs": 1, "stream_options": {"include_usage": True}},
    "responses": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "x"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.org/a"}]},
        ],
        "instructions": "x",
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
        "reasoning": {"effort": "low"},
        "include": ["reasoning.encrypted_content"],
    },
    "messages": {
        "max_tokens": 5,
        "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
                    {"type": "document", "title": "t", "source": {"type": "text", "data": "x"}},
                    {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "x"}]},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "x", "signature": "s"},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
                ],
            },
        ],
        "tools": [{"name": "f", "input_schema": {}}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 5},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
        "metadata": {"user_id": "u"},
    },
    "embeddings": {"input": ["a", "b"], "dimensions": 3, "encoding_format": "float"},
    "rerank": {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1},
}
CHAT_ANSWER: Any = {
    "id": "a",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"content": "x", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            "delta": {
                "content": "x",
                "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}],
            },
            "finish_reason": "stop",
            "logprobs": {"content": [{"token": "x", "logprob": -1, "top_logprobs": [{"token": "y", "logprob": -2}]}]},
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
}
BLOCK: Any = {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}
USAGE: Any = {"input_tokens": 1, "output_tokens": 2}
MESSAGES_ANSWER: Any = {
    "type": "message", "id": "a", "model": "m", "content": [{"type": "text", "text": "x"}, BLOCK],
    "stop_reason": "tool_use", "usage": USAGE,
}  # fmt: skip
MESSAGES_EVENTS: list[Any] = [
    {"type": "message_start", "message": MESSAGES_ANSWER},
    {"type": "content_block_start", "index": 0, "content_block": BLOCK},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": USAGE},
    {"type": "message_stop"},
]
STRAY: Any = st.sampled_from(
    [None, True, 0, -1, 1.5, 1e300, "", "x", "\ud800", [], [None], [[]], {}, {"type": "text"}, {"a": {"b": []}}, "text"]
)


def _places(held: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ()
    return [place, *(found for key, value in inner for found in _places(value, (*place, key)))]


@st.composite
def damaged(draw: st.DrawFn, held: Any) -> bytes:
    whole = {"root": copy.deepcopy(held)}
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(_places(whole)[1:]))
        inner: Any = whole
        for key in way:
            inner = inner[key]
        inner[last] = copy.deepcopy(draw(STRAY))
    return json.dumps(whole["root"]).encode()


@pytest.mark.parametrize("shape", REQUESTS)
@given(data=st.data())
def test_a_damaged_request_is_read_or_refused(shape: Shape, data: st.DataObject) -> None:
    body = data.draw(damaged(REQUESTS[shape]))
    dialects: list[Dialect] = [OpenAIDialect(), AnthropicDialect()]
    try:
        if shape == "embeddings":
            embed_of(Ask(shape, body))
        elif shape == "rerank":
            rerank_of(Ask(shape, body))
        else:
            asked = FORMS[shape].parse(Ask(shape, body))
            for dialect in dialects:
                try:
                    dialect.request(asked, "m")
                except InvalidInput as error:
                    assert error.fields
    except InvalidInput as error:
        assert error.status == 400 or error.fields


@given(st.data())
def test_a_damaged_answer_is_read_or_refused(data: st.DataObject) -> None:
    kinds: list[tuple[Shape, Any, Dialect]] = [
        ("chat", CHAT_ANSWER, OpenAIDialect()),
        ("messages", MESSAGES_ANSWER, AnthropicDialect()),
    ]
    for shape, held, dialect in kinds:
        body = data.draw(damaged(held))
        seen(shape, body)
        try:
            dialect.answer(body)
        except StanchionError:
            continue


@given(st.data())
def test_a_damaged_stream_is_read_or_refused(data: st.DataObject) -> None:
    kinds: list[tuple[Shape, list[Any], Dialect]] = [
        ("chat", [CHAT_ANSWER, CHAT_ANSWER], OpenAIDialect()),
        ("messages", MESSAGES_EVENTS, AnthropicDialect()),
    ]
    for shape, held, dialect in kinds:
        lines = data.draw(damaged(held))
        stream = b"".join(b"data: %s\n\n" % json.dumps(e).encode() for e in _listed(json.loads(lines)))
        follower, reader = scanner(shape), dialect.reader()
        follower.feed(stream)
        follower.close()
        renderers = [FORMS[each].renderer(asked=ASKED, model="m") for each in FORMS]
        try:
            for step in [*reader.feed(stream), *reader.close()]:
                for renderer in renderers:
                    renderer.step(step)
            for renderer in renderers:
                renderer.end()
        except StanchionError:
            continue


def _listed(held: Any) -> list[Any]:
    return held if isinstance(held, list) else [held]


ASKED = FORMS["chat"].parse(Ask("chat", b'{"messages":[],"logprobs":true}'))
