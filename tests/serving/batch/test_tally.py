"""Distributions and their distance from a reference."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy
import pytest
from batch_bench import COLUMNS, Bench, rows, write_parquet
from hypothesis import given
from hypothesis import strategies as some

from stanchion.serving.batch.tally import Bins, added, binned, counts, drift, facts_of, psi
from stanchion.serving.package import Column

NUMBERS = some.lists(some.one_of(some.just(math.nan), some.floats(-100, 100, width=32)), min_size=1, max_size=60)


@given(NUMBERS, some.lists(some.floats(-100, 100), max_size=9, unique=True).map(sorted))
def test_every_value_is_in_the_bin_of_the_edges_it_reaches(values: list[float], edges: list[float]) -> None:
    found = counts(numpy.array(values), edges)
    expected = [0] * (len(edges) + 2)
    for value in values:
        place = len(edges) + 1 if math.isnan(value) else sum(1 for edge in edges if edge <= value)
        expected[place] += 1
    assert found == expected


@given(NUMBERS)
def test_training_and_batch_bin_alike(values: list[float]) -> None:
    from stanchion.training.worker.reference import _binned

    ours = binned(numpy.array(values))
    assert _binned(numpy.array(values)) == {"edges": ours.edges, "counts": ours.counts}
    assert sum(ours.counts) == len(values)


def test_the_index_is_the_one_of_the_books() -> None:
    # Shares of 0.5/0.3/0.2 against 0.4/0.4/0.2: 0.1 ln 1.25 + 0.1 ln(4/3) = 0.0511.
    assert psi([50_000, 30_000, 20_000], [40_000, 40_000, 20_000]) == pytest.approx(0.0511, abs=1e-4)
    assert psi([500, 500], [500, 500]) == 0


@pytest.mark.parametrize("rows_", [100, 1_000, 100_000])
@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "stable"), (0.4, "shifted"), (1.0, "drifted")])
def test_small_jobs_are_not_called_drifted_for_being_small(rows_: int, shift: float, verdict: str) -> None:
    draw = numpy.random.default_rng(3)
    reference = binned(draw.normal(size=8_000))
    verdicts = [
        drift("x", reference, counts(draw.normal(shift, size=rows_), reference.edges)).verdict for _ in range(9)
    ]
    assert sorted(verdicts)[4] == verdict or verdicts.count(verdict) >= 5


def test_absent_values_count_as_drift_of_their_own() -> None:
    reference = Bins([1.0], [500, 500, 0])
    found = drift("x", reference, [250, 250, 500])
    assert (found.verdict, found.missing) == ("drifted", 0.5)


def test_chunks_add_up_to_the_whole() -> None:
    columns = [Column(c["name"], c["kind"], tuple(c["categories"])) for c in COLUMNS]  # type: ignore[arg-type]  # plain data
    draw = numpy.random.default_rng(1)
    matrix, probability = draw.random((100, 5)), draw.random(100)
    whole = facts_of(100, matrix, columns, probability, None, ["a: b"], None)
    parts = [
        facts_of(50, matrix[:50], columns, probability[:50], None, ["a: b"], None),
        facts_of(50, matrix[50:], columns, probability[50:], None, [], None),
    ]
    summed = added(parts)
    assert (summed.rows, summed.histogram, summed.problems) == (100, whole.histogram, {"a: b": 1})
    assert summed.total == pytest.approx(whole.total)


async def test_a_job_is_compared_with_a_given_table(bench: Bench) -> None:
    known, later = rows(3_000), rows(3_000, seed=2)
    for row in later:
        row["months"] = row["months"] // 4
    write_parquet(bench.files / "known.parquet", known)
    write_parquet(bench.files / "in.parquet", later)
    job = await bench.run(bench.order("in.parquet", reference=str(bench.files / "known.parquet")))
    assert job.report is not None
    assert job.report.reference == "3,000 rows of known.parquet"
    assert {each.column: each.verdict for each in job.report.drift} == {
        "months": "drifted", "charges": "stable", "contract": "stable", "paperless": "stable", "score": "stable",
    }  # fmt: skip
    assert job.report.prediction_drift is not None


async def test_a_job_is_compared_with_training_where_the_version_tells_of_it(bench: Bench) -> None:
    about: dict[str, Any] = {
        "reference": {"rows": 100, "columns": {"months": {"edges": [50.0], "counts": [0, 100, 0]}}, "prediction": None}
    }
    await bench.register([0.0, 0.001, 0.0, 0.0, 0.0], about=about)
    write_parquet(bench.files / "in.parquet", rows(300))
    job = await bench.run(bench.order("in.parquet"))
    assert job.report is not None
    [months] = job.report.drift
    assert (months.column, months.verdict) == ("months", "drifted")
    assert job.report.reference == "the training of churn 1.1.0"
    assert json.loads((bench.files / "out.report.json").read_text())["drift"][0]["column"] == "months"
