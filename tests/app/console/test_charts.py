"""Geometry of the charts, and the Markdown of model cards."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stanchion.app.console.charts import (
    Axis,
    Series,
    Setting,
    bars,
    histogram,
    lines,
    pareto,
    reliability,
    sparkline,
    waterfall,
)
from stanchion.app.console.charts.scale import short, ticks
from stanchion.app.console.markdown import render
from stanchion.app.console.pages.buckets import buckets
from stanchion.core.telemetry.contract import Minute, Span

NOW = datetime(2026, 11, 20, 15, 30, 12, tzinfo=UTC)


@example(1.5363636495532298e-12)
@given(st.floats(min_value=0, max_value=1e15, allow_nan=False))
def test_ticks_are_few_rise_evenly_and_cover_the_largest_value(largest: float) -> None:
    found = ticks(largest)
    assert found[0] == 0
    assert 2 <= len(found) <= 6
    assert found[-1] >= largest * 0.999 or largest <= 1e-9
    assert all(b > a for a, b in pairwise(found))


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.25, "0.25"), (1500, "1.5k"), (2_000_000, "2M"), (3e9, "3G")])
def test_axis_labels_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_bars_stack_to_the_total_and_the_table_sums() -> None:
    axis = Axis([f"{i:02d}" for i in range(24)], {0: "00", 12: "12"})
    chart = bars("Requests", axis, [Series("a", [1.0] * 24), Series("b", [2.0] * 24)], write=str, about="")
    assert [label.text for label in chart.values] == ["0", "1", "2", "3"]
    assert chart.head == ["Time (UTC)", "a", "b", "Total"]
    assert len(chart.rows) == 12
    assert chart.rows[0] == ["00", "2.0", "4.0", "6.0"]
    assert chart.columns[3].readout == "03 · a 1.0 · b 2.0"


def test_the_table_of_a_single_layer_of_bars_sums_and_that_of_a_line_tells_the_largest() -> None:
    axis = Axis([f"{i:02d}" for i in range(24)], {})
    series = [Series("a", [1.0, 2.0] * 12)]
    assert bars("Requests", axis, series, write=str, about="").rows[0] == ["00", "3.0"]
    assert lines("Latency", axis, series, write=str, about="").rows[0] == ["00", "2.0"]


def test_a_histogram_has_a_bar_and_a_row_for_each_bin() -> None:
    chart = histogram("Probability", [0, 30, 10, 0])
    assert chart.rows == [
        ("0.00 to 0.25", "0", "0 %"),
        ("0.25 to 0.50", "30", "75.0 %"),
        ("0.50 to 0.75", "10", "25.0 %"),
        ("0.75 to 1.00", "0", "0 %"),
    ]
    assert chart.columns[1].readout == "0.25 to 0.50 · rows 30"
    assert histogram("Probability", [0, 0]).empty


def test_a_line_breaks_where_nothing_was_measured_and_a_lone_point_is_seen() -> None:
    axis = Axis(list("abcde"), {})
    chart = lines(
        "Latency", axis, [Series("p50", [1, 2, None, 3, None]), Series("p95", [None] * 5)], write=str, about=""
    )
    (first, second) = chart.marks
    assert first.path.count("M") == 2
    assert "h" in first.path
    assert second.path == ""
    assert chart.columns[2].readout == "c · no requests"


def test_a_chart_without_any_point_is_empty() -> None:
    assert bars("x", Axis([], {}), [], write=str, about="").empty
    assert sparkline([0, 0, None]) == ""
    assert sparkline([1, 2]).startswith("M")


def test_every_stretch_of_the_range_is_a_bucket() -> None:
    minute = Minute(NOW - timedelta(minutes=3), 10, 1, 2.0, 4.0, 8.0, 0.5, {"a": 10})
    for minutes, number in ((15, 15), (60, 60), (1440, 96), (10_080, 84)):
        found = buckets([minute], now=NOW, minutes=minutes)
        assert len(found) == number
        assert sum(b.requests for b in found) == 10
        assert [b.p95_ms for b in found if b.p95_ms is not None] == [4.0]
        assert found[-1].at <= NOW < found[-1].at + timedelta(minutes=found[-1].minutes)


def _span(i: str, parent: str | None, start: int, end: int) -> Span:
    return Span("t", i, parent, i, start, end, "ok", {})


def test_children_stand_under_their_parents_by_start() -> None:
    spans = [_span("b", "a", 50, 90), _span("a", None, 0, 100), _span("c", "a", 10, 40), _span("d", "lost", 5, 6)]
    picture = waterfall(spans)
    assert [(b.span.span_id, b.depth) for b in picture.bars] == [("a", 0), ("c", 1), ("b", 1), ("d", 0)]
    assert all(0 <= b.x <= 100 and b.x + b.width <= 100.001 for b in picture.bars)


def test_spans_in_a_circle_and_spans_without_length_are_drawn() -> None:
    picture = waterfall([_span("a", "b", 0, 0), _span("b", "a", 0, 0), _span("c", "c", 0, -5)])
    assert {b.span.span_id for b in picture.bars} == {"a", "b", "c"}
    assert all(b.width > 0 for b in picture.bars)
    assert waterfall([]).bars == []


def test_a_waterfall_draws_a_hundred_spans_and_counts_the_rest() -> None:
    picture = waterfall([_span(str(i), None, i, i + 1) for i in range(130)])
    assert (len(picture.bars), picture.left_out) == (100, 30)


@pytest.mark.parametrize(
    "found",
    [
        None,
        "x",
        [],
        [1, 2],
        [{"predicted": 2, "observed": 0}],
        [{"predicted": math.nan, "observed": 0.5, "rows": 3}],
        {},
    ],
)
def test_metadata_that_is_no_reliability_gives_no_picture(found: object) -> None:
    assert reliability(found) is None


def test_the_gap_is_weighted_by_rows() -> None:
    curve = reliability(
        [{"predicted": 0.1, "observed": 0.2, "rows": 30}, {"predicted": 0.9, "observed": 0.9, "rows": 10}]
    )
    assert curve is not None
    assert curve.gap == pytest.approx(0.075)
    assert [p.rows for p in curve.points] == [30, 10]


def test_a_card_may_hold_headings_lists_tables_code_and_bold() -> None:
    html = str(
        render(
            "# A\n\nb **c** `d`\ne\n\n- f\n- g\n  h\n1. i\n\n| j | k |\n|--|:-:|\n| l |\n\n```\n<m>\n```\n[n](http://o)"
        )
    )
    for part in (
        "<h3>A</h3>",
        "<p>b <strong>c</strong> <code>d</code> e</p>",
        "<ul><li>f</li><li>g h</li>",
        '<th scope="col">k</th>',
        "<td>l</td><td></td>",
        "<code>&lt;m&gt;</code>",
        "n <code>http://o</code>",
    ):
        assert part in html, part
    assert "<a" not in html


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


@given(
    st.lists(
        st.sampled_from(
            ["<script>", "![x](y)", "[a](javascript:b)", "|", "\n", "-|-", "`", "**", "# ", "- ", "a\"'>", "```", "1. "]
        )
    )
)
def test_no_card_makes_a_tag_or_an_attribute_of_its_own(pieces: list[str]) -> None:
    tags = Tags()
    tags.feed(str(render("".join(pieces))))
    known = {"p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "pre", "code", "strong", "div", "table"}
    assert tags.seen <= known | {"thead", "tbody", "tr", "th", "td"}
    assert tags.attributes <= {"tabindex", "class", "role", "aria-label", "scope"}


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1)), min_size=1, max_size=20),
    st.floats(0.01, 0.99),
)
def test_every_setting_of_a_cascade_lies_within_the_picture(found: list[tuple[float, float]], floor: float) -> None:
    settings = [Setting(cost, quality) for cost, quality in found]
    curve = pareto(settings, [Setting(*found[0], "alone")], settings[-1], floor=floor)
    assert len(curve.marks) == len(settings) + 2
    assert all(-0.01 <= mark.x <= 480.5 and -0.01 <= mark.y <= 240.01 for mark in curve.marks)
    assert 0 <= curve.floor <= 240
    assert curve.qualities[-1] == (0.0, "100%")
    assert 2 <= len(curve.qualities) <= 8


def test_a_cheaper_setting_lies_left_and_a_better_one_higher() -> None:
    curve = pareto([Setting(1, 0.7), Setting(3, 0.9)], [Setting(4, 0.95, "large")], Setting(3, 0.9), floor=0.85)
    first, second, large, chosen = curve.marks
    assert first.x < second.x < large.x
    assert first.y > second.y > large.y
    assert (chosen.x, chosen.y) == (second.x, second.y)
    assert large.before
    assert not first.before
