from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, MalformedRequest
from stanchion.gateway.contract.calls import Ask
from stanchion.gateway.wire.peek import Peek, Peeked, peek_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(max_size=8).filter(lambda name: name not in ("model", "stream_options"))


@given(
    st.dictionaries(NAMES, VALUES, max_size=6),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:  ")]),
)
def test_unknown_keys_survive_byte_for_byte(held: dict[str, Any], escaped: bool, marks: tuple[str, str]) -> None:
    def written(value: object) -> str:
        return json.dumps(value, ensure_ascii=escaped, separators=marks)

    body = written({**held, "model": "theirs"}).encode(errors="surrogatepass")
    changed = Peek(body).replaced(model="ours", put={"stream_options": {"include_usage": True}})
    for name, value in held.items():
        assert (written(name) + marks[1] + written(value)).encode() in changed
    assert json.loads(changed) == {**held, "model": "ours", "stream_options": {"include_usage": True}}


def test_numbers_keep_their_digits() -> None:
    body = b'{ "seed" : 1.000 , "model" : "a", "big":123456789012345678901234567890, "x":"\\u0061" }'
    assert Peek(body).replaced(model="b") == (
        b'{"seed" : 1.000,"model" : "b","big":123456789012345678901234567890,"x":"\\u0061"}'
    )


def test_keys_are_dropped_and_set() -> None:
    peek = Peek(b'{"model":"a","stream":true,"user":"u"}')
    assert peek.replaced(drop=["user"], put={"stream": False, "n": 2}) == b'{"model":"a","stream":false,"n":2}'
    assert peek.replaced() == peek.body


def test_the_keys_that_routing_needs_are_read() -> None:
    peek = Peek(b'{"model":"m","stream":true,"max_tokens":7,"n":3,"stream_options":{"include_usage":true}}')
    assert (peek.model, peek.stream, peek.most_tokens("chat"), peek.answers) == ("m", True, 7, 3)
    assert peek.usage_in_stream
    assert peek.raw("n") == b"3"
    assert peek.raw("absent") == b""
    bare = Peek(b'{"model":"m","stream":null}')
    assert (bare.stream, bare.most_tokens("responses"), bare.answers, bare.usage_in_stream) == (False, None, 1, False)


@pytest.mark.parametrize(
    ("shape", "name"),
    [("chat", "max_completion_tokens"), ("responses", "max_output_tokens"), ("messages", "max_tokens")],
)
def test_each_shape_has_its_own_name_of_the_limit(shape: Any, name: str) -> None:
    assert Peek(b'{"model":"m","%s":9}' % name.encode()).most_tokens(shape) == 9


@pytest.mark.parametrize("body", [b'{"stream":1}', b'{"stream":"yes"}'])
def test_stream_is_true_or_false(body: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        _ = Peek(body).stream
    assert caught.value.fields[0].path == "$.stream"


@pytest.mark.parametrize("body", [b"{}", b'{"model":null}', b'{"model":""}', b'{"model":3}'])
def test_a_model_must_be_named(body: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        _ = Peek(body).model
    assert caught.value.fields[0].path == "$.model"


@pytest.mark.parametrize("value", [b"0", b"-1", b"1.5", b"true", b'"5"', b"99999999999999"])
def test_limits_are_whole_numbers_from_one(value: bytes) -> None:
    with pytest.raises(InvalidInput):
        Peek(b'{"max_tokens":' + value + b"}").most_tokens("messages")
    with pytest.raises(InvalidInput):
        _ = Peek(b'{"n":' + value + b"}").answers


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":}', b"\xff", b'{"a":1}x'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        Peek(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        Peek(body)


def test_a_name_given_twice_never_goes_on() -> None:
    with pytest.raises(MalformedRequest, match="more than once"):
        Peek(b'{"model":"cheap","model":"dear"}').replaced(put={"x": 1})


def test_a_call_that_was_read_already_is_replaced_as_any_other() -> None:
    body, headers, tags = b'{"model":"m"}', {"x": "1"}, {"team": "law"}
    peeked, plain = Peeked("chat", body, headers, tags, Peek(body)), Ask("chat", body, headers, tags, background=True)
    replaced = replace(peeked, background=True)
    for each in fields(Ask):
        assert getattr(replaced, each.name) == getattr(plain, each.name), each.name
    assert peek_of(replace(peeked, body=b'{"model":"n"}')).model == "n"
