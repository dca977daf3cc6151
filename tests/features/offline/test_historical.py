"""The offline join over tables: exact at its edges, bounded, and shut to all but the declared places."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from stanchion.core.context import Context
from stanchion.core.errors import InvalidInput, Misconfigured, NotFound, PayloadTooLarge, Unavailable
from stanchion.core.storage.open import open_database
from stanchion.features import OnDemandSpec, ServiceSpec, SourceSpec, Table, ViewSpec, count
from stanchion.features.backends.duck import Duck, DuckSession
from stanchion.features.backends.log import SqlLog
from stanchion.features.backends.tables import SCHEMA
from stanchion.features.offline.relations import Relations
from stanchion.features.offline.service import Historical
from stanchion.features.offline.spine import Limits
from stanchion.features.transforms import transforms
from stanchion.features.windows.plan import Plan
from stanchion.testing.offline_features import spine, stream

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CTX = Context("t1", "ada")


class Event(BaseModel):
    customer: int
    at: datetime
    known: datetime | None
    plan: str
    since: datetime | None
    score: float | None


class Newest(BaseModel):
    plan: str
    since: datetime | None
    score: float | None


Make = Callable[..., Historical]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes the join over views; limits and transforms as given."""
    database = open_database("memory:")
    await database.prepare(SCHEMA)

    async def no_secret(name: str) -> str:
        raise Misconfigured(name)

    def made(*views: ViewSpec, on_demand: OnDemandSpec | None = None, rows: int = 1000) -> Historical:
        plans = [Plan(view) for view in views]
        extra = [on_demand] if on_demand is not None else []
        service = ServiceSpec("s", [view.name for view in views], [each.name for each in extra])
        return Historical(
            [service],
            transforms(extra, {view.name: view for view in views}),
            relations=Relations(plans, tenant="t1", resolve=no_secret, log=SqlLog(database)),
            engine=Duck(folder=tmp_path / "spill", home=tmp_path, memory_mb=128, threads=1),
            limits=Limits(1, rows),
        )

    yield made
    await database.close()


def event(customer: int, days: float, plan: str, *, known: float | None = None, **more: Any) -> dict[str, Any]:
    late = None if known is None else T0 + known * DAY
    row = {"customer": customer, "at": T0 + days * DAY, "known": late, "plan": plan, "since": None, "score": None}
    return {**row, **more}


SCHEMA_OF_EVENTS = pa.schema(
    [
        ("customer", pa.int64()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("known", pa.timestamp("us", tz="UTC")),
        ("plan", pa.string()),
        ("since", pa.timestamp("us", tz="UTC")),
        ("score", pa.float64()),
    ]
)


def view(folder: Path, rows: list[dict[str, Any]], *, known: str | None = "known", **more: Any) -> ViewSpec:
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA_OF_EVENTS), folder / "events.parquet")
    source = SourceSpec("events", Event, "at", known, Table("parquet", "events.parquet"))
    return ViewSpec("newest", Newest, "customer", 2 * DAY, source, **more)


async def join(made: Historical, content: bytes, **options: Any) -> Any:
    pieces = [piece async for piece in made.historical(CTX, "s", content, time="asked", **options)]
    return pa.ipc.open_stream(b"".join(pieces)).read_all()


def days(*numbers: float) -> list[datetime]:
    return [T0 + number * DAY for number in numbers]


async def test_the_newest_event_known_by_then_is_taken_and_never_an_older_one_told_later(
    make: Make, tmp_path: Path
) -> None:
    rows = [event(1, 1, "a"), event(1, 2, "b"), event(1, 1.5, "late", known=2.5), event(1, 2, "B", known=3)]
    content = spine(days(1.75, 2.25, 2.75, 3, 4, 4.1), customer=[1] * 6)
    made = make(view(tmp_path, rows))
    assert (await join(made, content))["plan"].to_pylist() == ["a", "b", "b", "B", "B", None]
    by_event = await join(made, content, as_of="event")
    assert by_event["plan"].to_pylist() == ["late", "B", "B", "B", "B", None]


async def test_corrections_count_in_a_file_that_had_none_before(make: Make, tmp_path: Path) -> None:
    made = make(view(tmp_path, [event(1, 1, "first")]))
    asked = spine(days(2), customer=[1])
    assert (await join(made, asked, as_of="event"))["plan"].to_pylist() == ["first"]
    assert (await join(made, asked, as_of="event"))["plan"].to_pylist() == ["first"]
    view(tmp_path, [event(1, 1, "corrected", known=4), event(1, 1, "first"), event(1, 1, "wrong", known=3)])
    assert (await join(made, asked, as_of="event"))["plan"].to_pylist() == ["corrected"]


async def test_corrections_count_beyond_the_stretch_that_had_none(make: Make, tmp_path: Path) -> None:
    rows = [event(1, 1, "first"), event(1, 8, "later"), event(1, 8, "corrected", known=9), event(1, 8, "wrong")]
    made = make(view(tmp_path, rows))
    assert (await join(made, spine(days(2), customer=[1]), as_of="event"))["plan"].to_pylist() == ["first"]
    wide = spine(days(2, 9), customer=[1, 1])
    assert (await join(made, wide, as_of="event"))["plan"].to_pylist() == ["first", "corrected"]


async def test_keys_are_the_same_as_text_and_as_numbers(make: Make, tmp_path: Path) -> None:
    made = make(view(tmp_path, [event(1, 1, "a"), event(12, 1, "b")]))
    for keys in ([12, 1, 3], ["12", "1", "01"], pa.array(["12", "1", "x"]).dictionary_encode().to_pylist()):
        table = await join(made, spine(days(1, 1, 1), customer=keys))
        assert table["plan"].to_pylist() == ["b", "a", None]
        assert table["customer"].to_pylist() == keys


async def test_of_rows_that_nothing_tells_apart_the_same_one_counts_each_time(make: Make, tmp_path: Path) -> None:
    rows = [event(1, 1, plan) for plan in "badc"]
    for known in ("known", None):
        table = await join(make(view(tmp_path, rows, known=known)), spine(days(1), customer=[1]), as_of="event")
        assert table["plan"].to_pylist() == ["d"]


async def test_moments_nulls_and_numbers_that_are_none_come_as_they_should(make: Make, tmp_path: Path) -> None:
    rows = [event(1, 1, "a", since=T0, score=float("nan")), event(2, 1, "b", score=-0.0)]
    table = await join(make(view(tmp_path, rows)), spine(days(1, 1), customer=[1, 2]))
    assert table["since"].to_pylist() == [T0, None]
    assert [str(score) for score in table["score"].to_pylist()] == ["None", "0.0"]
    assert str(table.schema.field("since").type) == "timestamp[us, tz=UTC]"


async def test_transforms_are_called_where_all_their_views_are_present(make: Make, tmp_path: Path) -> None:
    class Asked(BaseModel):
        factor: int

    class Made(BaseModel):
        product: float | None
        age_days: int | None

    def multiplied(inputs: Mapping[str, Any]) -> Made:
        assert inputs["since"] is None or isinstance(inputs["since"], datetime)
        age = None if inputs["since"] is None else (T0 - inputs["since"]).days
        return Made(product=inputs["score"] * inputs["factor"], age_days=age)

    rows = [event(1, 1, "a", score=1.5, since=T0 - DAY)]
    spec = OnDemandSpec("multiplied", ["newest"], Asked, Made, multiplied)
    made = make(view(tmp_path, rows), on_demand=spec)
    table = await join(made, spine(days(1, 9), customer=[1, 1], factor=[4, 4]))
    assert (table["product"].to_pylist(), table["age_days"].to_pylist()) == ([6.0, None], [1, None])


async def test_windows_hold_more_than_a_spine_row_each(make: Make, tmp_path: Path) -> None:
    class Counted(BaseModel):
        plan: str
        events: int

    rows = [event(1, number / 10, "a") for number in range(40)]
    spec = view(tmp_path, rows)
    spec = ViewSpec("counted", Counted, "customer", 2 * DAY, spec.source, {}, {"events": count(days=1)}, 11)
    table = await join(make(spec), spine(days(0, 2, 2, 3.95, 4.5, 5.5), customer=[1] * 6))
    # From the third day on there are eleven in a day; the window's end in tiles of 24 minutes takes no more in.
    assert table["events"].to_pylist() == [1, 11, 11, 10, 5, 0]
    few = ViewSpec("counted", Counted, "customer", 2 * DAY, spec.source, {}, {"events": count(days=1)}, 10)
    table = await join(make(few), spine(days(0, 2), customer=[1, 1]))
    assert (table["events"].to_pylist(), table["plan"].to_pylist()) == ([1, None], ["a", None]), "exact or not told"


@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT content FROM read_text('{0}/secret.txt'))",
        "getenv('HOME')",
        "(SELECT 1 FROM read_csv('{0}/secret.txt'))",
    ],
)
async def test_an_expression_reads_nothing_but_its_row(make: Make, tmp_path: Path, expression: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.txt").write_text("secret")
    spec = view(tmp_path, [event(1, 1, "a")], select={"plan": expression.format(tmp_path / "elsewhere")})
    with pytest.raises((InvalidInput, Unavailable)):
        await join(make(spec), spine(days(1), customer=[1]))


async def test_a_place_is_a_path_of_this_machine(make: Make, tmp_path: Path) -> None:
    for place in ("https://example.org/x.parquet", "s3://bucket/x.parquet"):
        source = SourceSpec("events", Event, "at", "known", Table("parquet", place))
        with pytest.raises(Misconfigured, match="is no path"):
            await join(make(ViewSpec("newest", Newest, "customer", DAY, source)), spine(days(1), customer=[1]))


async def test_wrong_expressions_and_columns_are_told(make: Make, tmp_path: Path) -> None:
    rows = [event(1, 1, "a")]
    for select, said in (({"plan": "nothing"}, "nothing"), ({"score": "plan"}, "not as declared")):
        with pytest.raises(InvalidInput, match=said):
            await join(make(view(tmp_path, rows, select=select)), spine(days(1), customer=[1]))
    made = make(view(tmp_path, rows))
    pq.write_table(pa.table({"customer": [1]}), tmp_path / "events.parquet")
    with pytest.raises(InvalidInput, match="has no column 'at'"):
        await join(made, spine(days(1), customer=[1]))


async def test_a_spine_is_bounded(make: Make, tmp_path: Path) -> None:
    made = make(view(tmp_path, [event(1, 1, "a")]), rows=3)
    with pytest.raises(PayloadTooLarge, match="4 rows; the limit is 3"):
        await join(made, spine(days(1, 1, 1, 1), customer=[1] * 4))
    with pytest.raises(PayloadTooLarge, match="the limit is 1 MB"):
        await join(made, b"x" * (1 << 20) + b"x")


async def test_a_table_belongs_to_its_own_tenant(make: Make, tmp_path: Path) -> None:
    made = make(view(tmp_path, [event(1, 1, "a")]))
    content = spine(days(1), customer=[1])
    with pytest.raises(NotFound):
        async for _ in made.historical(Context("t2", "eve"), "s", content, time="asked"):
            raise AssertionError


async def test_a_caller_who_leaves_stops_the_engine(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, history = threading.Event(), DuckSession.history

    def told(self: DuckSession, *args: Any, **options: Any) -> Any:
        begun.set()
        return history(self, *args, **options)

    monkeypatch.setattr(DuckSession, "history", told)
    endless = "(SELECT sum(i * j) FROM range(10000000) a(i), range(10000000) b(j)) + score"
    content = spine(days(1), customer=[1])
    task = asyncio.ensure_future(join(make(view(tmp_path, [event(1, 1, "a")], select={"score": endless})), content))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await join(make(view(tmp_path, [event(1, 1, "a")])), content))["plan"].to_pylist() == ["a"]


async def test_an_answer_comes_in_pieces_that_are_one_stream(make: Make, tmp_path: Path) -> None:
    made = make(view(tmp_path, [event(1, 1, "a")]), rows=200_000)
    numbers = list(range(150_000))
    content = stream(
        pa.table(
            {
                "customer": pa.array([1] * 150_000, pa.int8()),
                "asked": pa.array([T0 + DAY] * 150_000, pa.timestamp("s", tz="UTC")),
                "n": pa.array(numbers, pa.int32()),
            }
        )
    )
    made._limits = Limits(64, 200_000)
    pieces = [piece async for piece in made.historical(CTX, "s", content, time="asked")]
    table = pa.ipc.open_stream(b"".join(pieces)).read_all()
    assert len(pieces) >= 3
    assert table["n"].to_pylist() == numbers
    assert set(table["plan"].to_pylist()) == {"a"}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
async def test_moments_and_keys_come_in_any_of_arrows_forms(make: Make, tmp_path: Path, unit: str) -> None:
    made = make(view(tmp_path, [event(1, 1, "a"), event(2, 1, "b")]))
    asked = pa.array(days(1, 1), pa.timestamp(unit, tz="Asia/Kolkata"))
    for keys in (
        pa.array(["2", "1"], pa.large_string()),
        pa.array(["2", "1"]).dictionary_encode(),
        pa.array([2, 1], pa.uint64()),
        pa.array([2, 1]).dictionary_encode(),
    ):
        table = await join(made, stream(pa.table({"customer": keys, "asked": asked})))
        assert table["plan"].to_pylist() == ["b", "a"]
        assert table.schema.field("asked").type == asked.type
