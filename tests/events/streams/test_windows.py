"""Windows in event time: which rows each holds, when it closes, and what late rows do."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, Misconfigured
from stanchion.events.streams.measures import Measure
from stanchion.events.streams.panes import Closed, Panes, Shape
from stanchion.events.streams.windows import Session, Sliding, Span, Tumbling, Windows

SECOND = 1_000_000
SUMMED = {"rows": Measure("count"), "sum": Measure("sum", "x", whole=True), "kinds": Measure("distinct", "x")}


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def run(
    windows: Windows, rows: list[tuple[int, int]], *, lag: int = 10**15, allowed: int = 0
) -> tuple[list[Closed], list[int]]:
    """The results, the last revision of each window, and the moments of late rows."""
    panes = Panes(Shape(windows, SUMMED, allowed))
    found: dict[tuple[int, int], Closed] = {}
    late, newest = [], -(10**18)
    for at, x in rows:
        newest = max(newest, at)
        taken, revised = panes.add(at, {"x": x}, newest - lag)
        late += [] if taken else [at]
        for closed in [*revised, *panes.close(newest - lag)]:
            for gone in closed.merged:
                del found[gone]
            found[closed.start, closed.end] = closed
    for closed in panes.close(10**18):
        found[closed.start, closed.end] = closed
    assert panes.kept == [] and panes.due is None
    return sorted(found.values(), key=lambda each: (each.start, each.end)), late


def test_a_tumbling_window_holds_its_start_and_not_its_end() -> None:
    windows = Tumbling(seconds(10))
    assert windows.spans(0) == windows.spans(10 * SECOND - 1) == [Span(0, 10 * SECOND)]
    assert windows.spans(10 * SECOND) == [Span(10 * SECOND, 20 * SECOND)]
    assert windows.spans(-1) == [Span(-10 * SECOND, 0)]
    assert Tumbling(seconds(10), offset=seconds(3)).spans(2 * SECOND) == [Span(-7 * SECOND, 3 * SECOND)]


@given(
    at=st.integers(-(10**12), 10**12),
    size=st.integers(1, 50),
    every=st.integers(1, 50),
    offset=st.integers(0, 60),
)
def test_a_sliding_window_begins_in_each_step_and_all_that_hold_the_moment_are_told(
    at: int, size: int, every: int, offset: int
) -> None:
    every = min(every, size)
    micro = timedelta(microseconds=1)
    spans = Sliding(size * micro, every * micro, offset * micro).spans(at)
    expected = [
        start
        for start in range(at - size - every, at + 1)
        if (start - offset) % every == 0 and start <= at < start + size
    ]
    assert [span.start for span in spans] == expected
    assert all(span.end - span.start == size for span in spans)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tumbling(seconds(0)),
        lambda: Sliding(seconds(1), seconds(2)),
        lambda: Sliding(seconds(10_000), seconds(1)),
        lambda: Session(seconds(-1)),
    ],
)
def test_windows_that_would_lose_rows_or_be_too_many_are_refused(make) -> None:
    with pytest.raises(Misconfigured):
        make()


ROWS = st.lists(st.tuples(st.integers(-100, 200), st.integers(-5, 5)), max_size=40)


@given(rows=ROWS, size=st.integers(1, 40), every=st.integers(1, 40))
def test_results_are_those_of_a_look_at_all_rows_whatever_their_order(
    rows: list[tuple[int, int]], size: int, every: int
) -> None:
    windows = Sliding(size * timedelta(microseconds=1), min(size, every) * timedelta(microseconds=1))
    held = defaultdict(list)
    for at, x in rows:
        for span in windows.spans(at):
            held[span].append(x)
    results, late = run(windows, rows)
    assert late == []
    assert [(r.start, r.end) for r in results] == sorted(held)
    for result in results:
        xs = held[Span(result.start, result.end)]
        assert result.values == {"rows": len(xs), "sum": sum(xs), "kinds": len(set(xs))}
        assert result.rows == len(xs) and result.revision == 1


@given(rows=ROWS, gap=st.integers(1, 30))
def test_a_session_is_of_all_rows_without_a_pause_whatever_their_order(rows: list[tuple[int, int]], gap: int) -> None:
    sessions: list[list[tuple[int, int]]] = []
    for at, x in sorted(rows):
        if not sessions or at - sessions[-1][-1][0] >= gap:
            sessions.append([])
        sessions[-1].append((at, x))
    results, late = run(Session(gap * timedelta(microseconds=1)), rows)
    assert late == []
    assert [(r.start, r.end, r.values["sum"], r.rows) for r in results] == [
        (s[0][0], s[-1][0] + gap, sum(x for _, x in s), len(s)) for s in sessions
    ]


@given(rows=ROWS, lag=st.integers(0, 50), allowed=st.integers(0, 50), session=st.booleans())
def test_every_row_is_counted_or_late_and_with_enough_lag_none_is_late(
    rows: list[tuple[int, int]], lag: int, allowed: int, session: bool
) -> None:
    windows: Windows = Session(timedelta(microseconds=9)) if session else Tumbling(timedelta(microseconds=20))
    results, late = run(windows, rows, lag=lag, allowed=allowed)
    assert sum(result.rows for result in results) + len(late) == len(rows)
    newest, most = -(10**9), 0
    for at, _ in rows:
        newest = max(newest, at)
        most = max(most, newest - at)
    assert not late or most > lag + allowed


def test_a_late_row_within_what_is_allowed_revises_the_result_and_one_behind_it_is_told_as_late() -> None:
    panes = Panes(Shape(Tumbling(seconds(10)), SUMMED, 5 * SECOND))
    assert panes.add(SECOND, {"x": 1}, 0) == (True, [])
    assert list(panes.close(9 * SECOND)) == []
    (first,) = panes.close(10 * SECOND)
    assert (first.revision, first.values["sum"]) == (1, 1)
    assert list(panes.close(11 * SECOND)) == []
    taken, (second,) = panes.add(2 * SECOND, {"x": 2}, 12 * SECOND)
    assert taken and (second.revision, second.values["sum"], second.rows) == (2, 3, 2)
    assert panes.due == 15 * SECOND
    assert list(panes.close(15 * SECOND)) == [] and panes.kept == []
    assert panes.add(2 * SECOND, {"x": 2}, 15 * SECOND) == (False, [])


def test_a_late_row_that_joins_two_told_sessions_says_which_results_it_takes_the_place_of() -> None:
    panes = Panes(Shape(Session(seconds(10)), SUMMED, 100 * SECOND))
    panes.add(0, {"x": 1}, -(10**9))
    panes.add(15 * SECOND, {"x": 2}, 0)
    assert len(list(panes.close(40 * SECOND))) == 2
    _, (joined,) = panes.add(8 * SECOND, {"x": 4}, 40 * SECOND)
    assert (joined.start, joined.end, joined.values["sum"], joined.revision) == (0, 25 * SECOND, 7, 2)
    assert joined.merged == (Span(0, 10 * SECOND), Span(15 * SECOND, 25 * SECOND))


def test_a_row_that_a_measure_refuses_changes_nothing() -> None:
    panes = Panes(Shape(Sliding(seconds(10), seconds(5)), SUMMED))
    with pytest.raises(InvalidInput):
        panes.add(SECOND, {"x": 1 << 60}, 0)
    with pytest.raises(InvalidInput):
        panes.add(SECOND, {"x": "many"}, 0)
    assert panes.kept == []
