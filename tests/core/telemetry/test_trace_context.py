from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.context import Trace
from stanchion.core.telemetry.trace_context import format_traceparent, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
traces = st.builds(
    Trace,
    trace_id=st.integers(1, 2**128 - 1).map(lambda n: f"{n:032x}"),
    span_id=st.integers(1, 2**64 - 1).map(lambda n: f"{n:016x}"),
    sampled=st.booleans(),
)


@given(traces)
def test_what_is_written_is_read_back(trace: Trace) -> None:
    assert parse_traceparent(format_traceparent(trace)) == trace


@pytest.mark.parametrize("flags, sampled", [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_only_the_lowest_flag_says_sampled(flags: str, sampled: bool) -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == Trace(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"0-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01more",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
    ],
)
def test_a_header_with_a_fault_counts_as_absent(header: str) -> None:
    assert parse_traceparent(header) is None


def test_a_later_version_is_read_by_its_first_fields() -> None:
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-the-future-holds") == Trace(TRACE, SPAN, True)


@given(st.text(alphabet="0123456789abcdefABCDEFg- ", max_size=60))
def test_whatever_is_accepted_has_the_documented_form(header: str) -> None:
    trace = parse_traceparent(header)
    if trace is not None:
        assert header[3:35] == trace.trace_id and len(header) >= 55 and header == header.lower()


@given(traces, st.integers(0, 54), st.characters(exclude_characters="0123456789abcdef-"))
def test_one_foreign_character_spoils_the_header(trace: Trace, place: int, foreign: str) -> None:
    header = format_traceparent(trace)
    assert parse_traceparent(header[:place] + foreign + header[place + 1 :]) is None
