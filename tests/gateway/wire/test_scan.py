from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import Unavailable
from stanchion.gateway.contract.calls import Shape, Usage
from stanchion.gateway.wire.scan import Scanner, scanner, seen


def _events(*documents: dict[str, Any] | str, named: bool = False, spaced: bool = False) -> bytes:
    marks = None if spaced else (",", ":")
    lines = b""
    for each in documents:
        data = each if isinstance(each, str) else json.dumps(each, separators=marks)
        name = f"event: {each['type']}\n" if named and isinstance(each, dict) else ""
        lines += f"{name}data: {data}\n\n".encode()
    return lines


def _delta(text: str, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
    return {"id": "c", "choices": [choice], "usage": None}


COUNT = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 5}}
TALLY = {"id": "c", "choices": [], "usage": COUNT}
SNEAKY = 'he said "usage":{"prompt_tokens":999} and [DONE] "finish_reason":"length" "error":{} message_stop'
CHAT = _events(_delta("a"), _delta(SNEAKY), _delta("", "stop"), TALLY, "[DONE]")
MESSAGES = _events(
    {"type": "message_start", "message": {"usage": {"input_tokens": 3, "cache_read_input_tokens": 10}}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SNEAKY}},
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 8}},
    {"type": "message_stop"},
    named=True,
)
RESPONSES = _events(
    {"type": "response.created", "response": {"status": "in_progress", "usage": None, "error": None}},
    {"type": "response.output_text.delta", "delta": SNEAKY + " response.completed response.failed"},
    {
        "type": "response.completed",
        "response": {
            "status": "completed",
            "output": [{"type": "function_call"}],
            "usage": {"input_tokens": 6, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}},
        },
    },
    named=True,
)
STREAMS: dict[Shape, tuple[bytes, Usage, str]] = {
    "chat": (CHAT, Usage(9, 4, cached=5), "stop"),
    "messages": (MESSAGES, Usage(13, 8, cached=10), "length"),
    "responses": (RESPONSES, Usage(6, 2, reasoning=1), "tool_calls"),
}


def _run(found: Scanner, data: bytes, *, size: int = 1 << 20) -> bytes:
    return b"".join(found.feed(data[at : at + size]) for at in range(0, len(data), size)) + found.close()


@pytest.mark.parametrize("shape", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_a_stream_passes_unchanged_and_its_count_and_end_are_found(shape: Shape, size: int) -> None:
    data, usage, finish = STREAMS[shape]
    found = scanner(shape)
    assert _run(found, data, size=size) == data
    assert (found.usage, found.finish, found.ended, found.failed) == (usage, finish, True, None)


@pytest.mark.parametrize("shape", STREAMS)
def test_a_stream_cut_before_its_end_is_never_whole(shape: Shape) -> None:
    data, _, _ = STREAMS[shape]
    # Chat completions have said all once the reason of the end has come; the other two have one mark alone.
    last = data.index(b'"finish_reason":"stop"') if shape == "chat" else len(data) - len(b'"}\n\n')
    for cut in range(last):
        found = scanner(shape)
        passed = found.feed(data[:cut]) + found.close()
        assert not found.ended
        assert data.startswith(passed)
        assert not passed or passed.endswith(b"\n\n")


@pytest.mark.parametrize("spaced", [True, False])
def test_the_count_that_the_client_did_not_ask_for_is_hidden(spaced: bool) -> None:
    before, after = _events(_delta("a"), _delta("", "stop"), spaced=spaced), _events("[DONE]")
    found = scanner("chat", hide_usage=True)
    assert _run(found, before + _events(TALLY, spaced=spaced) + after, size=11) == before + after
    assert found.usage == Usage(9, 4, cached=5)
    assert found.ended


def test_a_count_beside_words_is_not_hidden() -> None:
    data = _events({**_delta("a", "stop"), "usage": COUNT}, "[DONE]")
    found = scanner("chat", hide_usage=True)
    assert _run(found, data) == data
    assert found.usage == Usage(9, 4, cached=5)


def test_an_answer_without_the_last_mark_is_whole_if_every_choice_ended() -> None:
    data = _events(_delta("a"), _delta("", "length"), _delta("", "stop", 1))
    found = scanner("chat", answers=2)
    assert _run(found, data) == data
    assert found.ended
    fewer = scanner("chat", answers=3)
    _run(fewer, data + _events(_delta("", "stop", 1)))
    assert not fewer.ended


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ("chat", {"error": {"message": "too busy", "code": 503}}),
        ("messages", {"type": "error", "error": {"type": "overloaded_error", "message": "too busy"}}),
        ("responses", {"type": "error", "code": "server_error", "message": "too busy"}),
        ("responses", {"type": "response.failed", "response": {"error": {"message": "too busy"}}}),
    ],
)
def test_an_error_in_the_stream_is_told_and_held_back(shape: Shape, error: dict[str, Any]) -> None:
    first = _events({"type": "ping", "choices": []})
    found = scanner(shape)
    assert _run(found, first + _events(error) + STREAMS[shape][0], size=50) == first
    assert found.failed is not None
    assert found.failed["message"] == "too busy"
    assert not found.ended


def test_a_reason_of_error_is_a_failure() -> None:
    found = scanner("chat")
    _run(found, _events(_delta("a"), _delta("", "error"), "[DONE]"))
    assert found.failed is not None
    assert not found.ended


def test_a_last_event_without_its_blank_line_is_completed() -> None:
    found = scanner("chat")
    assert _run(found, CHAT.rstrip(b"\n")) == CHAT
    assert found.ended


def test_an_event_without_end_is_refused() -> None:
    found = scanner("chat", most=1000)
    with pytest.raises(Unavailable):
        for _ in range(100):
            found.feed(b"data: " + b"x" * 100)


@given(st.lists(st.integers(0, len(CHAT)), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_line_ends_and_cuts_change_nothing(cuts: list[int], line_end: bytes) -> None:
    data = CHAT.replace(b"\n", line_end)
    places = [0, *sorted(cuts), len(data)]
    found = scanner("chat")
    passed = b"".join(found.feed(data[a:b]) for a, b in pairwise(places)) + found.close()
    assert passed == data
    assert (found.usage, found.finish, found.ended) == (Usage(9, 4, cached=5), "stop", True)


def test_whole_answers_tell_the_same() -> None:
    chat = {"choices": [{"finish_reason": "stop", "message": {}}], "usage": COUNT}
    messages = {"type": "message", "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 2}}
    responses = {
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    embeddings = {"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}
    jina = {"results": [], "usage": {"total_tokens": 7}}
    cohere = {"results": [], "meta": {"tokens": {"input_tokens": 8, "output_tokens": 0}}}
    found = {
        name: seen(shape, json.dumps(held).encode())
        for name, shape, held in [
            ("chat", "chat", chat), ("messages", "messages", messages), ("responses", "responses", responses),
            ("embeddings", "embeddings", embeddings), ("jina", "rerank", jina), ("cohere", "rerank", cohere),
        ]
    }  # fmt: skip
    assert {name: (each.usage, each.finish) for name, each in found.items() if each} == {
        "chat": (Usage(9, 4, cached=5), "stop"),
        "messages": (Usage(1, 2), "tool_calls"),
        "responses": (Usage(1, 2), "length"),
        "embeddings": (Usage(5, 0), ""),
        "jina": (Usage(7, 0), ""),
        "cohere": (Usage(8, 0), ""),
    }
    tei = seen("rerank", b'[{"index":0,"score":0.5}]')
    assert tei is not None
    assert tei.usage is None


@pytest.mark.parametrize("shape", ["chat", "messages", "responses", "rerank", "embeddings"])
def test_what_is_no_answer_is_not_taken_for_one(shape: Shape) -> None:
    for body in (b"", b"<html>", b"[1", b'"x"'):
        assert seen(shape, body) is None
    failed = seen(shape, b'{"error":"no"}')
    assert failed is not None
    assert failed.failed == {"message": "no"}


def test_thinking_that_only_the_total_holds_is_counted() -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":40}}'
    found = seen("chat", body)
    assert found is not None
    assert found.usage == Usage(10, 30)


def test_thinking_beyond_the_output_is_added_to_it() -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"completion_tokens_details":'
    found = seen("chat", body + b'{"reasoning_tokens":20}}}')
    assert found is not None
    assert found.usage == Usage(9, 25, reasoning=20)


def test_counts_that_make_no_sense_are_none() -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":-4,"completion_tokens":true,"total_tokens":"9"}}'
    found = seen("chat", body)
    assert found is not None
    assert found.usage == Usage()


@pytest.mark.parametrize("shape", STREAMS)
@pytest.mark.parametrize(
    "garbage", [b'data: {"a": tru\n\n', b"data: <html>\n\n", b'data: {"a":1}x\n\n', b"data:x\r\n\r\n"]
)
@pytest.mark.parametrize("size", [5, 1 << 20])
def test_an_event_that_cannot_be_read_ends_the_stream_wherever_it_stands(
    shape: Shape, garbage: bytes, size: int
) -> None:
    data, _, _ = STREAMS[shape]
    frames = [frame + b"\n\n" for frame in data.split(b"\n\n")[:-1]]
    for place in range(len(frames)):
        before = b"".join(frames[:place])
        found = scanner(shape)
        assert _run(found, before + garbage + b"".join(frames[place:]), size=size) == before
        assert found.failed is not None


@pytest.mark.parametrize("shape", STREAMS)
def test_comments_and_events_without_data_are_no_fault(shape: Shape) -> None:
    data, usage, _ = STREAMS[shape]
    kept = data.replace(b"\n\n", b"\n\n: ping\n\ndata:\n\nevent: x\n\n")
    found = scanner(shape)
    assert _run(found, kept, size=9) == kept
    assert (found.usage, found.ended, found.failed) == (usage, True, None)
