"""Windows online, offline and by brute force: the same to the last bit, in whatever order events come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from stanchion.core.values import Json
from stanchion.features import Aggregate, SourceSpec, ViewSpec
from stanchion.features.windows.plan import Plan
from stanchion.features.windows.sql import joined, newest, select, several, windows
from stanchion.features.windows.state import Occurrence, State

SECOND = 1_000_000
BASE = 1_700_000_000 * SECOND
PARTS = 10**9


class Payment(BaseModel):
    card: str
    at: datetime
    known: datetime
    id: str
    amount: float
    points: int
    shop: str


class Spending(BaseModel):
    shop: str | None
    count_90: int
    sum_200: float
    points_90: int
    mean_90: float | None
    mean_points: float | None
    least_90: float | None
    most_30: int | None
    shops_200: int
    first_shop: str | None
    stepped: int


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


AGGREGATES = {
    "count_90": Aggregate("count", seconds(90)),
    "sum_200": Aggregate("sum", seconds(200), "amount"),
    "points_90": Aggregate("sum", seconds(90), "points"),
    "mean_90": Aggregate("mean", seconds(90), "amount"),
    "mean_points": Aggregate("mean", seconds(30), "points"),
    "least_90": Aggregate("min", seconds(90), "amount"),
    "most_30": Aggregate("max", seconds(30), "points"),
    "shops_200": Aggregate("distinct", seconds(200), "shop"),
    "first_shop": Aggregate("min", seconds(90), "shop"),
    "stepped": Aggregate("count", seconds(90), hop=seconds(40)),
}
SOURCE = SourceSpec("payments", Payment, "at", "known", None, "id")
LIMIT = 12
PLAN = Plan(ViewSpec("spending", Spending, "card", seconds(500), SOURCE, {}, AGGREGATES, LIMIT))
HOPS = {"count_90": 2, "sum_200": 3, "points_90": 2, "mean_90": 2, "mean_points": 1, "least_90": 2, "most_30": 1}
HOPS |= {"shops_200": 3, "first_shop": 2, "stepped": 40}


@dataclass(frozen=True)
class Read:
    at: int
    rows: Sequence[Occurrence]


amounts = st.one_of(st.none(), st.integers(-5000, 5000).map(lambda cents: cents / 100), st.floats(-1e9, 1e9))
points = st.one_of(st.none(), st.integers(-(2**40), 2**40))
shops = st.one_of(st.none(), st.sampled_from(["a", "b", "ä", "Z", ""]))
# Moments that lie on each other, on the bounds of tiles, and anywhere.
moments = st.one_of(st.integers(0, 600).map(lambda s: s * SECOND), st.integers(0, 600 * SECOND), st.just(120 * SECOND))
delays = st.one_of(st.just(0), st.integers(0, 300 * SECOND), st.integers(-5 * SECOND, 0))


@st.composite
def occurrences(draw: Any) -> Occurrence:
    at = BASE + draw(moments)
    shop = draw(shops)
    return Occurrence(
        at, at + draw(delays), draw(st.sampled_from(["", "1", "2"])), (shop,), (draw(amounts), draw(points), shop)
    )


def ranked(values: Sequence[Any]) -> list[tuple[bool, Any]]:
    return [(value is not None, 0 if value is None else value) for value in values]


def brute(rows: Sequence[Occurrence], at: int) -> dict[str, Json] | None:
    """The definition, word by word, over all rows; None where the view is not present."""
    heads = [row for row in rows if row.at <= at]
    if not heads:
        return None
    head = max(heads, key=lambda row: (row.at, row.known, row.event, ranked(row.plain)))
    if head.at < at - 500 * SECOND:
        return None
    last: dict[tuple[int, str], Occurrence] = {}
    for row in rows:
        held = last.get((row.at, row.event))
        if held is None or (row.known, ranked(row.columns)) > (held.known, ranked(held.columns)):
            last[row.at, row.event] = row
    found: dict[str, Json] = {"shop": head.plain[0]}
    reached = []
    for name, made in AGGREGATES.items():
        step = HOPS[name] * SECOND
        start = (at - made.window // timedelta(microseconds=1)) // step * step
        events = [row for row in last.values() if start <= row.at <= at]
        reached.append((start, len(events)))
        column = {"amount": 0, "points": 1, "shop": 2, None: None}[made.column]
        values = [] if column is None else [row.columns[column] for row in events if row.columns[column] is not None]
        found[name] = aggregated(made.function, values, events)
    return None if min(reached)[1] > LIMIT else found


def aggregated(function: str, values: Sequence[Any], events: Sequence[Occurrence]) -> Json:
    match function:
        case "count":
            return len(events)
        case "sum":
            return summed(values)
        case "mean":
            return float(summed(values)) / len(values) if values else None
        case "distinct":
            return len(set(values))
        case "min":
            return min(values, default=None)
        case _:
            return max(values, default=None)


def summed(values: Sequence[Any]) -> Any:
    if all(isinstance(value, int) for value in values):
        return sum(values)
    import math

    parts = sum(math.floor(value * 1e9 + 0.5) for value in values)
    whole, rest = divmod(abs(parts), PARTS)
    return (float(whole) + float(rest) / 1e9) * (-1 if parts < 0 else 1)


def by_sql(
    link: duckdb.DuckDBPyConnection, rows: Sequence[Occurrence], at: int, *, late: bool
) -> tuple[str, dict[str, Json] | None]:
    """What the view says, and its fields where it is present."""
    link.execute(
        "CREATE OR REPLACE TABLE ev (k TEXT, a BIGINT, w BIGINT, e TEXT, p0 TEXT, c0 DOUBLE, c1 BIGINT, c2 TEXT)"
    )
    if rows:
        link.executemany(
            "INSERT INTO ev VALUES ('x', ?, ?, ?, ?, ?, ?, ?)",
            [[row.at, row.known, row.event, *row.plain, *row.columns] for row in rows],
        )
    link.execute("CREATE OR REPLACE TABLE spine AS SELECT 0 AS r, 'x' AS k, ?::BIGINT AS t", [at])
    link.execute(f"CREATE OR REPLACE TABLE repeated AS {several('ev')}")
    repeated = "repeated" if link.execute("FROM repeated LIMIT 1").fetchall() else None
    heads = newest(PLAN, "ev", late=late, repeated=repeated)
    sums = windows(PLAN, "ev", "spine", late=late, repeated=repeated)
    joins, fields = joined(PLAN, heads, sums, "v", "s.k", status=True)
    [found] = link.execute(select(", ".join(fields), "spine s", joins)).fetchall()
    return found[-1], dict(zip(PLAN.fields, found, strict=False)) if found[-2] else None


def online(rows: Sequence[Occurrence], batches: Sequence[int], at: int) -> tuple[str, dict[str, Json] | None]:
    state, content, first = State(PLAN), None, 0
    for size in [*batches, len(rows)]:
        content = state.merge(content, rows[first : first + size], at) or content
        first += size
    found = state.read("x", content, at)
    # The store forgets a value some time after it has become stale.
    forgotten = found.status == "stale" and found.at is not None and found.at < at - PLAN.memory
    return "unknown" if forgotten else found.status, dict(found.values) if found.status == "present" else None


@pytest.fixture(scope="module")
def link() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


CHECKS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CHECKS
@given(data=st.data())
def test_online_offline_and_brute_force_agree_as_known(link: duckdb.DuckDBPyConnection, data: st.DataObject) -> None:
    rows = data.draw(st.lists(occurrences(), max_size=30))
    at = BASE + data.draw(moments) + data.draw(st.sampled_from([0, 300 * SECOND]))
    known = [row for row in rows if row.known <= at]
    # Everything arrives in any order, and some of it again.
    arrived = data.draw(
        st.permutations([*known, *data.draw(st.lists(st.sampled_from(known), max_size=5) if known else st.just([]))])
    )
    right = brute(known, at)
    said, found = by_sql(link, rows, at, late=True)
    assert found == right
    assert online(arrived, data.draw(st.lists(st.integers(1, 6), max_size=8)), at) == (said, right)


@CHECKS
@given(data=st.data())
def test_without_repeated_moments_the_short_join_agrees_with_brute_force(
    link: duckdb.DuckDBPyConnection, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(occurrences(), max_size=30, unique_by=lambda row: row.at))
    at = BASE + data.draw(moments)
    _, found = by_sql(link, rows, at, late=False)
    assert link.execute("FROM repeated").fetchall() == []
    assert found == brute(rows, at)


@CHECKS
@given(data=st.data())
def test_online_offline_and_brute_force_agree_by_event_time(
    link: duckdb.DuckDBPyConnection, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(occurrences(), max_size=30))
    at = BASE + data.draw(moments)
    right = brute(rows, at)
    said, found = by_sql(link, rows, at, late=False)
    assert found == right
    assert online(data.draw(st.permutations(rows)), [3, 1, 4], at) == (said, right)


@CHECKS
@given(data=st.data())
def test_what_is_stored_depends_on_the_rows_and_not_on_their_order(data: st.DataObject) -> None:
    rows = data.draw(st.lists(occurrences(), max_size=20))
    now, later = BASE + 650 * SECOND, BASE + 650 * SECOND + data.draw(st.integers(0, 400 * SECOND))
    one, other = State(PLAN), State(PLAN)
    first = one.merge(None, rows, now)
    second = None
    for row in data.draw(st.permutations(rows)):
        second = other.merge(second, [row], now) or second
    assert one.read("x", first, later) == other.read("x", second, later)
    if first is not None:
        assert one.merge(first, rows, now) is None, "a repetition changes nothing"
