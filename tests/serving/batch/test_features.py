"""Features that a table lacks are looked up: as known at each row's moment, or as they are now, by declared policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="the extra `features` is not installed")

from batch_bench import ADA, Bench, Customer, Risk, read, rows, write_csv, write_parquet
from habits import DECLARED, HOUR, NOON, READ, lookup, pay, running, spec, store
from pydantic import BaseModel

from stanchion.core.errors import Conflict, InvalidInput, Misconfigured, Unavailable
from stanchion.features import Features, ViewSpec
from stanchion.serving import Options, ServedSpec
from stanchion.testing.clock import FakeClock
from stanchion.testing.offline_features import spine


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
async def features(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Features]:
    """Two days of payments of c0 to c5, some late and one corrected; the clock stands at their end."""
    async with store(tmp_path, clock) as made:
        for number in range(60):
            await pay(made, clock, f"c{number % 6}", number, 10.0 + number % 7, age=3_000 if number % 5 == 0 else 0)
            if number == 30:
                await pay(made, clock, "c5", 29, 999.0, age=2_880)
            clock.advance(2_880)
        yield made


def payments(count: int, seed: int = 3) -> list[dict[str, Any]]:
    """Payments to be judged, at moments within the two days."""
    made = rows(count, seed)
    for number, row in enumerate(made):
        row["customer_id"] = f"c{number % 6}"
        row["at"] = NOON + timedelta(seconds=20_000 + number * 7_777 % 150_000)
    return made


async def joined(features: Features, given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the features that the offline join gives them."""
    import pyarrow

    content = spine(
        [row["at"] for row in given],
        card=[row["customer_id"] for row in given],
        charges=[row["charges"] for row in given],
    )
    pieces = [piece async for piece in features.historical(ADA, "habits", content, time="asked")]
    found = pyarrow.ipc.open_stream(b"".join(pieces)).read_all().to_pylist()
    return [{**row, **{name: each[name] for name in READ}} for row, each in zip(given, found, strict=True)]


async def test_a_row_of_the_past_gets_what_was_known_at_its_moment(
    tmp_path: Path, clock: FakeClock, features: Features
) -> None:
    given = payments(250)
    async with running(tmp_path, clock, spec(), features) as bench:
        write_parquet(bench.files / "in.parquet", given)
        job = await bench.run(bench.order("in.parquet", time="at"))
        whole = await joined(features, given)
        assert len({row["payments_1h"] for row in whole}) > 1
        write_parquet(bench.files / "joined.parquet", whole)
        known = await bench.run(bench.order("joined.parquet", "known.parquet", extra="ignore"))
        assert (job.rows, job.quarantined) == (250, 0)
        assert read(job.order.output) == read(known.order.output)
        by_event = await bench.run(bench.order("in.parquet", "now.parquet", extra="ignore"))
        assert read(by_event.order.output) != read(job.order.output), "what is known now was not known then"


async def test_moments_of_a_csv_file_are_read_and_faulty_ones_set_aside(
    tmp_path: Path, clock: FakeClock, features: Features
) -> None:
    given = payments(120)
    text: list[dict[str, Any]] = [{**row, "at": row["at"].isoformat()} for row in given]
    text[3]["at"] = text[3]["at"].replace("+00:00", "")
    text[4]["at"], text[5]["at"], text[6]["at"], text[7]["months"] = None, "2026-03-01", "yesterday noon", -1
    async with running(tmp_path, clock, spec(), features) as bench:
        write_parquet(bench.files / "in.parquet", given)
        write_csv(bench.files / "in.csv", text)
        right = await bench.run(bench.order("in.parquet", "right.parquet", time="at"))
        job = await bench.run(bench.order("in.csv", time="at"))
        bad = read(bench.files / "out.quarantine.parquet")
    expected = "at: Expected a moment such as 2026-03-01T12:00:00Z"
    assert [(row["row_number"], row["problems"]) for row in bad] == [
        (5, "at: Required, and missing"),
        (6, expected),
        (7, expected),
        (8, "months: Expected `int` >= 0"),
    ]
    sound = {row["row_number"]: row for row in read(right.order.output)}
    assert read(job.order.output) == [sound[n] for n in sound if n not in (5, 6, 7, 8)]


async def test_without_a_moment_the_present_values_are_looked_up(
    tmp_path: Path, clock: FakeClock, features: Features
) -> None:
    given = [{k: v for k, v in row.items() if k != "at"} for row in payments(2_100)]
    async with running(tmp_path, clock, spec(), features) as bench:
        write_parquet(bench.files / "in.parquet", given)
        job = await bench.run(bench.order("in.parquet", chunk_rows=1_500))
        now = await joined(features, [{**row, "at": clock.now()} for row in given])
        write_parquet(bench.files / "joined.parquet", [{k: v for k, v in row.items() if k != "at"} for row in now])
        known = await bench.run(bench.order("joined.parquet", "known.parquet"))
    assert (job.rows, job.quarantined, job.chunks) == (2_100, 0, 2)
    assert read(job.order.output) == read(known.order.output)


async def test_columns_that_are_there_are_taken_as_they_are(
    tmp_path: Path, clock: FakeClock, features: Features
) -> None:
    given = payments(100)
    whole = [{**row, "mean_1d": 3.5} for row in await joined(features, given)]
    some = [{k: v for k, v in row.items() if k not in ("payments_1h", "over_mean")} for row in whole]
    async with running(tmp_path, clock, spec(), features) as bench:
        write_parquet(bench.files / "some.parquet", some)
        write_parquet(bench.files / "whole.parquet", whole)
        job = await bench.run(bench.order("some.parquet", time="at"))
        known = await bench.run(bench.order("whole.parquet", "known.parquet", time="at"))
    assert read(job.order.output) == read(known.order.output)


def aged(clock: FakeClock) -> list[dict[str, Any]]:
    """A present card, a stale one, and one that nobody knows."""
    made = rows(100)
    for number, row in enumerate(made):
        row["customer_id"] = ("c0", "c1", "nobody")[number % 3]
        row["at"] = clock.now() + timedelta(hours=(0, 50, 0)[number % 3])
    return made


async def test_without_another_policy_such_rows_are_set_aside_with_the_reason(
    tmp_path: Path, clock: FakeClock, features: Features
) -> None:
    async with running(tmp_path, clock, spec(), features) as bench:
        write_parquet(bench.files / "in.parquet", aged(clock))
        job = await bench.run(bench.order("in.parquet", time="at", most_bad=0.7))
        bad = read(bench.files / "out.quarantine.parquet")
    assert (job.rows, job.quarantined) == (100, 66)
    told = {row["customer_id"]: row["problems"] for row in bad}
    assert told == {
        "c1": "customer_id: The features of spending are stale",
        "nobody": "customer_id: The features of spending are unknown",
    }


async def test_defaults_stand_in_where_they_are_declared(tmp_path: Path, clock: FakeClock, features: Features) -> None:
    given = aged(clock)
    served = spec(stale="default", unknown="default", defaults={"payments_1h": 3, "mean_1d": 7.0})
    whole = [
        row if number % 3 == 0 else {**row, "payments_1h": 3, "mean_1d": 7.0, "over_mean": None}
        for number, row in enumerate(await joined(features, given))
    ]
    async with running(tmp_path, clock, served, features) as bench:
        write_parquet(bench.files / "in.parquet", given)
        write_parquet(bench.files / "whole.parquet", whole)
        job = await bench.run(bench.order("in.parquet", time="at"))
        known = await bench.run(bench.order("whole.parquet", "known.parquet", extra="ignore"))
    assert job.quarantined == 0
    assert read(job.order.output) == read(known.order.output)


def short(customer: Customer) -> Risk | None:
    if customer.months == 50:
        raise RuntimeError("fifty")
    return Risk(prediction="low", probability=0.25) if customer.months < 50 else None


@pytest.mark.parametrize("default", [None, Risk(prediction="high", probability=0.75)])
async def test_the_next_rungs_answer_where_they_are_declared_and_the_output_says_which(
    tmp_path: Path, clock: FakeClock, features: Features, default: Risk | None
) -> None:
    given = aged(clock)
    served = spec(rule=short, default=default, stale="next_rung", unknown="next_rung")
    async with running(tmp_path, clock, served, features) as bench:
        write_parquet(bench.files / "in.parquet", given)
        job = await bench.run(bench.order("in.parquet", time="at", most_bad=0.7))
        found = {row["row_number"]: row for row in read(job.order.output)}
        assert job.report is not None
        assert list(found) == sorted(found)
        for number, row in enumerate(given, start=1):
            if (number - 1) % 3 == 0:
                assert found[number]["served_by"] == "primary"
            elif row["months"] < 50:
                told = found[number]
                assert (told["served_by"], told["prediction"], told["probability"]) == ("rule", "low", 0.25)
            elif default is not None:
                assert (found[number]["served_by"], found[number]["probability"]) == ("default", 0.75)
            else:
                assert number not in found
        report = job.report
        assert (sum(report.labels.values()), sum(report.histogram)) == (report.predicted, report.predicted)
        assert report.mean == pytest.approx(sum(row["probability"] for row in found.values()) / len(found))
        bad = [] if not report.quarantine else read(report.quarantine)
        assert len(bad) + len(found) == 100
        assert {row["problems"].partition(", ")[2] for row in bad} <= {"and no rung without features answers"}


async def test_an_interrupted_job_goes_on_with_the_same_moments(
    tmp_path: Path, clock: FakeClock, features: Features
) -> None:
    served = spec(stale="next_rung", unknown="next_rung", default=Risk(prediction="high", probability=0.75))
    async with running(tmp_path, clock, served, features) as bench:
        write_parquet(bench.files / "in.parquet", [*payments(400), *aged(clock)])
        whole = await bench.run(bench.order("in.parquet", "whole.parquet", time="at"))
        order = bench.order("in.parquet", time="at")
        async with aclosing(bench.service.run(ADA, "churn", order)) as jobs:
            async for job in jobs:
                if job.chunks == 3:
                    break
        clock.advance(3_600)
        for card in ("c0", "c1", "nobody"):
            await pay(features, clock, card, 1_000, 500.0, age=300)
    async with running(tmp_path, clock, served, features) as later:
        done = await later.run(replace(order, resume=True))
        assert (done.id, done.rows, done.state) == (job.id, 500, "done")
        assert read(done.order.output) == read(whole.order.output)
        assert (await later.run(order)).reused


async def test_other_definitions_are_another_job(tmp_path: Path, clock: FakeClock, features: Features) -> None:
    [service] = await features.services(ADA)
    async with running(tmp_path, clock, spec(), features, pinned=service.fingerprint) as bench:
        write_parquet(bench.files / "in.parquet", payments(300))
        order = bench.order("in.parquet", time="at", key="night")
        async with aclosing(bench.service.run(ADA, "churn", order)) as jobs:
            async for job in jobs:
                if job.chunks == 1:
                    break
        with pytest.raises(Conflict, match="features differ"):
            await bench.run(replace(order, time="", extra="ignore", resume=True))
    changed = [replace(each, ttl=HOUR) if isinstance(each, ViewSpec) else each for each in DECLARED]
    async with store(tmp_path, clock, changed) as other, running(tmp_path, clock, spec(), other) as later:
        with pytest.raises(Unavailable, match="fingerprint"):
            await later.run(replace(order, resume=True))


class Judged(BaseModel):
    probability: float


class Payment(BaseModel):
    customer_id: str
    charges: float
    payments_1h: int
    mean_1d: float | None
    over_mean: float | None


async def judge(items: Sequence[Payment]) -> list[Judged]:
    return [Judged(probability=min(1.0, item.payments_1h / 10 + (item.mean_1d or 0) / 1e6)) for item in items]


def lonely(payment: Payment) -> Judged | None:
    return Judged(probability=0.5) if payment.payments_1h is None else None


async def test_a_declared_function_gets_its_features_too(tmp_path: Path, clock: FakeClock, features: Features) -> None:
    options = Options(features=lookup(stale="next_rung", unknown="error"))
    served = ServedSpec("judge", Payment, Judged, function=judge, rule=lonely, options=options)
    given = [{name: row[name] for name in ("customer_id", "charges", "at")} for row in aged(clock)]
    async with running(tmp_path, clock, served, features) as bench:
        write_parquet(bench.files / "in.parquet", given)
        job = await bench.run(bench.order("in.parquet", time="at"), model="judge")
        known = await joined(features, given)
        found = {row["row_number"]: row for row in read(job.order.output)}
    assert job.quarantined == 33
    for number, row in enumerate(known, start=1):
        if number % 3 == 1:
            expected = row["payments_1h"] / 10 + row["mean_1d"] / 1e6
            assert (found[number]["served_by"], found[number]["probability"]) == ("primary", pytest.approx(expected))
        elif number % 3 == 2:
            assert (found[number]["served_by"], found[number]["probability"]) == ("rule", 0.5)


async def test_what_cannot_be_looked_up_is_refused_before_the_job_begins(
    tmp_path: Path, clock: FakeClock, features: Features
) -> None:
    given = payments(120)
    async with running(tmp_path, clock, spec(), features) as bench:
        write_parquet(bench.files / "in.parquet", given)
        for more, told in (({"time": "when"}, "no column 'when'"), ({}, "at: The model has no such field")):
            with pytest.raises(InvalidInput, match=told):
                await bench.run(bench.order("in.parquet", **more))
        write_parquet(bench.files / "days.parquet", [{**row, "at": row["at"].date()} for row in given])
        with pytest.raises(InvalidInput, match="holds date32"):
            await bench.run(bench.order("days.parquet", time="at"))
        plain = bench.again()
        with pytest.raises(Misconfigured, match="no feature store"):
            async for _ in plain.run(ADA, "churn", bench.order("in.parquet", "o.parquet", time="at")):
                raise AssertionError


async def test_a_moment_means_nothing_to_a_model_without_features(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", payments(120))
    with pytest.raises(InvalidInput, match="looks no features up"):
        await bench.run(bench.order("in.parquet", time="at"))
