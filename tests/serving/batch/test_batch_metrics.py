"""What Prometheus sees of batch jobs: rows as they are read, jobs as they are held and let go of."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from batch_bench import ADA, MODEL, Bench, rows, write_csv, write_parquet
from prometheus_client.parser import text_string_to_metric_families as families

from stanchion.core.errors import InvalidInput
from stanchion.core.telemetry.metrics import Metrics
from stanchion.serving.batch.metrics import BatchMetrics
from stanchion.serving.batch.service import BatchService


def told(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample of batch jobs by its name and its labels but the model, which must be ours."""
    found = {}
    for family in families(metrics.render()[0].decode()):
        for sample in family.samples:
            if sample.name.startswith("stanchion_batch") and not sample.name.endswith("_created"):
                labels = dict(sample.labels)
                assert labels.pop("model", MODEL) == MODEL
                assert labels.keys() <= {"result", "state"}
                found[sample.name, *labels.values()] = sample.value
    return found


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def service(bench: Bench, metrics: Metrics) -> BatchService:
    return bench.again(metrics=BatchMetrics(metrics))


async def worked(service: BatchService, order: Any) -> None:
    async for _ in service.run(ADA, MODEL, order):
        pass


async def test_rows_and_the_end_of_a_job_are_counted(bench: Bench, service: BatchService, metrics: Metrics) -> None:
    given = rows(350)
    given[7]["months"] = -1
    given[201]["months"] = -1
    write_parquet(bench.files / "in.parquet", given)
    await worked(service, bench.order("in.parquet"))
    assert told(metrics) == {
        ("stanchion_batch_rows_total", "predicted"): 348,
        ("stanchion_batch_rows_total", "quarantined"): 2,
        ("stanchion_batch_jobs_ended_total", "done"): 1,
        ("stanchion_batch_jobs", "queued"): 0,
        ("stanchion_batch_jobs", "running"): 0,
    }


async def test_a_resumed_job_counts_each_row_once(bench: Bench, service: BatchService, metrics: Metrics) -> None:
    write_parquet(bench.files / "in.parquet", rows(350))
    async with aclosing(service.run(ADA, MODEL, bench.order("in.parquet"))) as jobs:
        async for job in jobs:
            if job.chunks == 2:
                break
    seen = told(metrics)
    assert seen["stanchion_batch_rows_total", "predicted"] == 200
    assert seen["stanchion_batch_jobs_ended_total", "interrupted"] == 1
    await worked(service, replace(bench.order("in.parquet"), resume=True))
    seen = told(metrics)
    assert seen["stanchion_batch_rows_total", "predicted"] == 350
    assert seen["stanchion_batch_jobs_ended_total", "done"] == 1


async def test_a_job_that_fails_is_counted_as_failed(bench: Bench, service: BatchService, metrics: Metrics) -> None:
    write_csv(bench.files / "in.csv", [{**row, "months": -1} for row in rows(120)])
    with pytest.raises(InvalidInput):
        await worked(service, bench.order("in.csv"))
    assert told(metrics)["stanchion_batch_jobs_ended_total", "failed"] == 1


async def test_a_job_that_waits_for_its_turn_is_told_as_queued(
    bench: Bench, service: BatchService, metrics: Metrics
) -> None:
    for name in ("one", "two"):
        write_parquet(bench.files / f"{name}.parquet", rows(250))
        await service.submit(ADA, MODEL, bench.order(f"{name}.parquet", f"{name}.out.parquet"))
    seen = told(metrics)
    assert seen["stanchion_batch_jobs", "queued"] + seen["stanchion_batch_jobs", "running"] == 2
    async with asyncio.timeout(60):
        while told(metrics).get(("stanchion_batch_jobs_ended_total", "done")) != 2:
            await asyncio.sleep(0.01)
        while told(metrics)["stanchion_batch_jobs", "queued"]:
            await asyncio.sleep(0.01)
    assert told(metrics)["stanchion_batch_jobs", "running"] == 0
    await service.stop()
