"""Jobs that are interrupted, cancelled or fail: what is left of them, and how they go on."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_bench import ADA, MODEL, WEIGHTS, Bench, parts_of, read, rows, write_csv, write_parquet

from stanchion.core.errors import Conflict, InvalidInput, Unavailable
from stanchion.serving import BatchState
from stanchion.serving.batch.parts import Workshop
from stanchion.serving.batch.service import BatchService


async def interrupted(bench: Bench, order: Any, chunks: int) -> str:
    """A job that was left after so many chunks; its id."""
    async with aclosing(bench.service.run(ADA, MODEL, order)) as jobs:
        async for job in jobs:
            if job.chunks == chunks:
                return job.id
    raise AssertionError("it ended before")


async def test_an_interrupted_job_goes_on_where_it_stopped(bench: Bench, tmp_path: Path) -> None:
    write_parquet(bench.files / "in.parquet", rows(1000))
    whole = await bench.run(bench.order("in.parquet", "whole.parquet"))
    order = bench.order("in.parquet")
    stopped = await interrupted(bench, order, 4)
    assert not (bench.files / "out.parquet").exists()
    assert (await bench.service.show(ADA, stopped)).state == "interrupted"
    with pytest.raises(Conflict, match="400 rows"):
        await bench.run(order)
    parts = {p.name: p.stat().st_mtime_ns for p in (bench.files / ".out.parquet.batch").glob("*.out")}
    seen = []
    async for job in bench.again().run(ADA, MODEL, replace(order, resume=True)):
        seen.append(job.rows)
        for name, changed in parts.items():
            held = bench.files / ".out.parquet.batch" / name
            assert not held.exists() or held.stat().st_mtime_ns == changed, "a finished chunk was done again"
    assert seen[0] == 400
    assert (job.id, job.state, job.rows, job.report is not None and job.report.resumed) == (stopped, "done", 1000, 1)
    assert read(bench.files / "out.parquet") == read(whole.order.output)


async def test_a_chunk_whose_file_was_harmed_is_done_again(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(1000))
    whole = await bench.run(bench.order("in.parquet", "whole.parquet"))
    order = bench.order("in.parquet")
    await interrupted(bench, order, 6)
    harmed = bench.files / ".out.parquet.batch" / "00000002.out"
    harmed.write_bytes(harmed.read_bytes()[:-9])
    job = await bench.run(replace(order, resume=True))
    assert (job.state, job.rows) == ("done", 1000)
    assert read(bench.files / "out.parquet") == read(whole.order.output)


async def test_the_version_is_pinned_when_the_job_begins(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(500))
    whole = await bench.run(bench.order("in.parquet", "whole.parquet"))
    order = bench.order("in.parquet", key="pinned")
    await interrupted(bench, order, 2)
    newer = await bench.register([w * 2 for w in WEIGHTS])
    job = await bench.run(replace(order, resume=True))
    assert (job.version, newer.version) == ("1.0.0", "1.1.0")
    assert read(bench.files / "out.parquet") == read(whole.order.output)
    fresh = await bench.run(bench.order("in.parquet", "new.parquet"))
    assert fresh.version == "1.1.0"


async def test_a_file_that_was_changed_cannot_be_gone_on_with(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(500))
    order = bench.order("in.parquet", key="one")
    await interrupted(bench, order, 2)
    write_parquet(bench.files / "in.parquet", rows(500, seed=3))
    with pytest.raises(Conflict):
        await bench.run(replace(order, resume=True))
    assert not (bench.files / "out.parquet").exists()


async def test_a_file_that_changes_while_it_is_read_gives_no_output(bench: Bench) -> None:
    write_csv(bench.files / "in.csv", rows(500))
    with pytest.raises(InvalidInput, match="changed while"):
        async for job in bench.service.run(ADA, MODEL, bench.order("in.csv")):
            if job.chunks == 2:
                with (bench.files / "in.csv").open("a") as file:
                    file.write("late,1,1,monthly,true,\n")
    assert parts_of(bench) == ["in.csv"]


async def test_one_output_is_written_by_one_job_at_a_time(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(500))
    write_parquet(bench.files / "other.parquet", rows(500, seed=2))
    async with aclosing(bench.service.run(ADA, MODEL, bench.order("in.parquet"))) as jobs:
        await anext(jobs)
        with pytest.raises(Conflict, match="being written"):
            await bench.run(bench.order("other.parquet"))
        with pytest.raises(Conflict, match="running"):
            await bench.run(bench.order("in.parquet", resume=True))


async def test_a_cancelled_job_leaves_nothing(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(500))
    states: list[BatchState] = []
    async for job in bench.service.run(ADA, MODEL, bench.order("in.parquet")):
        states.append(job.state)
        if job.chunks == 2 and job.state == "running":
            assert (await bench.service.cancel(ADA, job.id)).state == "cancelling"
    assert states[-1] == "cancelled"
    assert parts_of(bench) == ["in.parquet"]
    with pytest.raises(Conflict, match="ended"):
        await bench.service.cancel(ADA, job.id)
    assert (await bench.run(bench.order("in.parquet"))).state == "done"


async def test_an_interrupted_job_is_cancelled_at_once(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(500))
    stopped = await interrupted(bench, bench.order("in.parquet"), 2)
    assert (await bench.again().cancel(ADA, stopped)).state == "cancelled"
    assert parts_of(bench) == ["in.parquet"]


async def test_who_cancels_a_job_goes_on_once_the_chunk_in_hand_is_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(bench.files / "in.parquet", rows(500))
    begun, go, told, store = threading.Event(), threading.Event(), list[str](), Workshop.store

    def held(self: Workshop, *given: Any) -> Any:
        begun.set()
        go.wait(60)
        stored = store(self, *given)
        told.append("stored")
        return stored

    async def work() -> None:
        async for _ in bench.service.run(ADA, MODEL, bench.order("in.parquet")):
            pass

    monkeypatch.setattr(Workshop, "store", held)
    working = asyncio.create_task(work())
    working.add_done_callback(lambda _: told.append("left"))
    await asyncio.to_thread(begun.wait, 60)
    working.cancel()
    asyncio.get_running_loop().call_later(0.2, go.set)
    await asyncio.wait([working])
    async with asyncio.timeout(60):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    assert told == ["stored", "left"], "the folder is let go of while a thread writes into it"
    [job] = await bench.service.newest(ADA, 1)
    assert (await bench.service.cancel(ADA, job.id)).state == "cancelled"
    assert parts_of(bench) == ["in.parquet"]


async def ended(service: BatchService, job: str) -> Any:
    async with asyncio.timeout(60):
        while (found := await service.show(ADA, job)).state in ("queued", "running", "cancelling"):
            await asyncio.sleep(0.01)
    return found


async def test_a_submitted_job_is_worked_off_in_the_background(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(500))
    job = await bench.service.submit(ADA, MODEL, bench.order("in.parquet"))
    assert job.state == "queued"
    found = await ended(bench.service, job.id)
    assert (found.state, found.rows, found.requested_by) == ("done", 500, "ada")
    assert [each.id for each in await bench.service.newest(ADA, 10)] == [job.id]


async def test_a_process_that_starts_takes_up_what_another_one_left(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(2000))
    job = await bench.service.submit(ADA, MODEL, bench.order("in.parquet"))
    async with asyncio.timeout(60):
        while (await bench.service.show(ADA, job.id)).chunks < 2:
            await asyncio.sleep(0.005)
    await bench.service.stop()
    assert not (bench.files / "out.parquet").exists()
    later = bench.again()
    await later.start()
    try:
        found = await ended(later, job.id)
    finally:
        await later.stop()
    assert (found.state, found.rows) == ("done", 2000)
    assert len(read(bench.files / "out.parquet")) == 2000


class Broken:
    """A runtime whose graphs fail after some runs."""

    def __init__(self, runs: int) -> None:
        self.runs = runs

    def load(self, content: bytes, **about: Any) -> Any:
        from stanchion.serving.backends.onnx import OnnxRuntime

        real, broken = OnnxRuntime().load(content, **about), self

        class Graph:
            def probabilities(self, rows: Any) -> list[float]:
                broken.runs -= 1
                if broken.runs < 0:
                    raise RuntimeError("the device is gone")
                return real.probabilities(rows)

        return Graph()


async def test_a_failure_that_may_pass_keeps_what_was_done(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(500))
    whole = await bench.run(bench.order("in.parquet", "whole.parquet"))
    order = bench.order("in.parquet")
    failing = bench.again(runtime=Broken(3))
    with pytest.raises(Unavailable, match="RuntimeError"):
        async for _ in failing.run(ADA, MODEL, order):
            pass
    [job, _] = await bench.service.newest(ADA, 10)
    assert (job.state, job.chunks, job.problem is not None and job.problem.code) == ("failed", 3, "unavailable")
    done = await bench.run(replace(order, resume=True))
    assert (done.id, done.state, done.rows) == (job.id, "done", 500)
    assert read(done.order.output) == read(whole.order.output)
