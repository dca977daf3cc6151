"""Features as of each row are those of the feature store's definition, to the last bit, in whatever order rows came."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stanchion.events.streams.measures import Function, Measure
from stanchion.events.streams.rolling import History, Rolling
from stanchion.features import Aggregate
from stanchion.features.windows import definition

SECOND = 1_000_000
values = st.one_of(st.none(), st.integers(-5_000, 5_000).map(lambda cents: cents / 100), st.floats(-1e9, 1e9))
rows = st.lists(st.tuples(st.integers(-300 * SECOND, 900 * SECOND), values, st.integers(-(2**40), 2**40)), max_size=30)


def defined(function: Function, found: list[Any], *, whole: bool) -> Any:
    """The feature store's definition over all values in the window."""
    good = [v for v in found if v is not None]
    parts = sum(good) if whole else sum(definition.scaled(v) for v in good)
    total = parts if whole else definition.unscaled(parts)
    match function:
        case "count":
            return len(found)
        case "sum":
            return total
        case "mean":
            return float(total) / len(good) if good else None
        case "min":
            return min(good, default=None)
        case "max":
            return max(good, default=None)
        case _:
            return len(set(good))


@given(
    rows=rows,
    function=st.sampled_from(["count", "sum", "mean", "min", "max", "distinct"]),
    window=st.integers(1, 400),
    hop=st.one_of(st.none(), st.integers(1, 60)),
    whole=st.booleans(),
    at=st.integers(-300 * SECOND, 900 * SECOND),
)
def test_a_feature_is_what_the_definition_says(
    rows: list[tuple[int, Any, int]], function: Function, window: int, hop: int | None, whole: bool, at: int
) -> None:
    length, step = timedelta(seconds=window), None if hop is None else timedelta(seconds=min(hop, window))
    column = None if function == "count" else "n" if whole else "x"
    history = History({"f": Rolling(Measure(function, column, whole), length, step)})
    for moment, x, n in rows:
        history.add(moment, {"x": x, "n": n})
    made = Aggregate(function, length, column, step)
    begin = definition.far_end(at, definition.width(made), definition.hop(made))
    held = [n if whole else x for moment, x, n in rows if begin <= moment <= at]
    assert history.read(at) == {"f": defined(function, held, whole=whole)}


def test_more_events_than_are_kept_give_no_feature_instead_of_a_wrong_one() -> None:
    history = History({"n": Rolling(Measure("count"), timedelta(seconds=60))}, most=5)
    for number in range(5):
        history.add(number * SECOND, {})
    assert history.read(5 * SECOND) == {"n": 5}
    history.add(5 * SECOND, {})
    history.forget(5 * SECOND)
    assert history.read(5 * SECOND) == {"n": None}
    assert history.read(90 * SECOND) == {"n": 0}


moves = st.lists(
    st.tuples(st.sampled_from(["add", "add", "read", "read", "forget"]), st.integers(0, 40), st.integers(0, 9)),
    min_size=30,
    max_size=80,
)


@given(
    moves=moves, function=st.sampled_from(["count", "sum", "mean", "min", "max", "distinct"]), most=st.integers(2, 40)
)
def test_moments_read_one_after_the_other_are_as_if_each_were_the_only_one(
    moves: list[tuple[str, int, int]], function: Function, most: int
) -> None:
    features = {
        "wide": Rolling(Measure(function, "x"), timedelta(seconds=12), timedelta(seconds=1)),
        "narrow": Rolling(Measure("sum", "x"), timedelta(seconds=4), timedelta(seconds=1)),
    }
    history = History(features, most=most)
    for move, second, value in moves:
        if move == "add":
            history.add(second * SECOND, {"x": None if value == 9 else value / 10})
        elif move == "forget":
            history.forget(second * SECOND)
        else:
            alone = History(features, list(history.kept), most=most)
            assert history.read(second * SECOND) == alone.read(second * SECOND)


def test_a_row_costs_the_same_however_many_are_in_its_window() -> None:
    looks = 0

    class Looked(str):
        def __hash__(self) -> int:
            nonlocal looks
            looks += 1
            return super().__hash__()

    history = History({"n": Rolling(Measure("distinct", "x"), timedelta(hours=1))})
    for number in range(400):
        history.add(number * SECOND, {"x": Looked(number)})
        assert history.read(number * SECOND) == {"n": number + 1}
        history.forget(number * SECOND)
    assert looks < 20 * 400
