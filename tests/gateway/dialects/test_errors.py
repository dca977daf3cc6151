from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, PayloadTooLarge, StanchionError, Throttled, Unavailable
from stanchion.gateway.dialects.errors import failure, failure_in, reason_of, retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, InvalidInput), (401, Unavailable), (402, Unavailable), (403, Unavailable), (404, Unavailable),
        (408, Unavailable), (409, Unavailable), (413, PayloadTooLarge), (418, Unavailable), (422, InvalidInput),
        (429, Throttled), (500, Unavailable), (502, Unavailable), (503, Unavailable), (504, Unavailable),
        (529, Unavailable), (301, Unavailable),
    ],
)  # fmt: skip
def test_each_status_is_one_of_our_errors(status: int, raised: type[StanchionError]) -> None:
    error = failure(status, b'{"error":{"message":"why"}}', {}, upstream="u")
    assert type(error) is raised
    assert str(status) in error.detail


def test_the_reason_of_a_bad_request_goes_to_the_client_and_that_of_a_bad_key_does_not() -> None:
    body = b'{"error":{"message":"maximum context length is 8192 tokens","code":"context_length_exceeded"}}'
    assert "maximum context length" in failure(400, body, {}, upstream="u").detail
    secret = failure(401, b'{"error":{"message":"Incorrect API key provided: sk-abc"}}', {}, upstream="u")
    assert "sk-abc" not in secret.detail
    assert "key" in secret.hint


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error":{"message":"a"}}', "a"),
        (b'{"error":"b"}', "b"),
        (b'{"message":"c"}', "c"),
        (b'{"detail":[{"loc":["body"],"msg":"d"}]}', "d"),
        (b'[{"error":{"code":400,"message":"e"}}]', "e"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"f"}}', "f"),
        (b'{"error":{"type":"g"}}', "g"),
        (b"<html>", ""),
        (b"", ""),
        (b"[]", ""),
        (b"3", ""),
    ],
)
def test_reasons_are_found_in_every_form(body: bytes, reason: str) -> None:
    assert reason_of(body) == reason


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, 60.0),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, 0.0),
        ({"retry-after": "999999999"}, 86_400.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_an_upstream_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
    assert failure(429, b"", headers, upstream="u", now=NOW).retry_after == seconds


@given(st.binary(max_size=60), st.integers(300, 599))
def test_no_body_breaks_the_reading_of_an_error(body: bytes, status: int) -> None:
    assert isinstance(failure(status, body, {}, upstream="u"), StanchionError)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["error", "message", "code", "type", "status", "detail"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    )
)
def test_no_document_breaks_the_reading_of_an_error_in_a_stream(held: Any) -> None:
    assert isinstance(failure_in(held, upstream="u"), StanchionError)
