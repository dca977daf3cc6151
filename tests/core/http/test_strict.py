"""JSON that two parsers might read differently is refused before any route sees it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import MalformedRequest
from stanchion.core.http.strict import check_json

REFUSED = {
    "nothing": b"",
    "space": b"   ",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "number beyond a float": b'{"a": 1e999}',
    "deep array": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 65 + b"1" + b"}" * 65,
    "a name twice": b'{"a": 1, "a": 2}',
    "a name twice, escaped": b'{"a": 1, "\\u0061": 2}',
    "a name twice, a blank before its colon": b'{"a": 1, "a" : 2}',
    "a name twice, lines before its colon": b'{"a":1,"a"\r\n\t:"x"}',
    "a name twice, with colons in a text": b'{"a": "at 9:30, or: \\": later", "a"\n: 2}',
    "a name twice, hidden by an escaped colon": b'{"a": "\\u003a", "a": "x"}',
    "a name twice, hidden by an escaped quote": b'{"a": "\\u0022: ", "a": "x"}',
    "65 levels of arrays": b"[" * 65 + b"]" * 65,
    "a name twice inside": b'[{"x": {"b": 1, "c": 3, "b": 2}}]',
    "bad UTF-8": b'{"a": "\xff\xfe"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "lone surrogate bytes": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "trailing comma": b'{"a": 1,}',
    "comment": b'{"a": 1 /* one */}',
    "single quotes": b"{'a': 1}",
    "two documents": b"{} {}",
    "leading zero": b'{"a": 01}',
    "plus sign": b'{"a": +1}',
    "hex": b'{"a": 0x10}',
    "control character": b'{"a": "\x01"}',
    "half an escape": b'{"a": "\\u00"}',
    "cut off": b'{"a": [1, 2',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_doubtful_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'"a:b:c"',
        b'{"a:b": "c:d", "e": [{"f": 1}, {"f": 2}]}',
        b'{"a": ": \\": :", "b" : 1}',
        b'{"a": 123456789012345678901}',
    ],
)
def test_plain_json_passes(body: bytes) -> None:
    check_json(body)


values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_whatever_json_dumps_writes_passes(value: object) -> None:
    check_json(json.dumps(value, allow_nan=False).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_pass_but_never_break_it(body: bytes) -> None:
    try:
        check_json(body)
    except MalformedRequest:
        return
    json.loads(body)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_it_says_of_any_document_what_a_slow_reader_says(value: object, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps([value, {"a": value}], allow_nan=False, ensure_ascii=ascii_only, indent=indent)
    body = body.replace('{"a": ', '{"a": 1, "a" :', 1) if ascii_only else body
    again = False

    def look(pairs: list[tuple[str, object]]) -> None:
        nonlocal again
        again = again or len(dict(pairs)) < len(pairs)

    json.loads(body, object_pairs_hook=look)
    try:
        check_json(body.encode())
    except MalformedRequest:
        assert again
    else:
        assert not again


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers(), min_size=1, max_size=5), st.data())
def test_a_repeated_name_is_found_wherever_it_stands(names: dict[str, int], data: st.DataObject) -> None:
    twice = data.draw(st.sampled_from(sorted(names)))
    inside = json.dumps(names)[:-1] + "," + json.dumps(twice) + ":0}"
    with pytest.raises(MalformedRequest, match="twice"):
        check_json(f'{{"outer": [{inside}, "a:b"]}}'.encode())
