"""The contract of Batches as tests: subclass `BatchesSuite` with a door that serves `SCORED`, and a folder of files.

The door's system must belong to the tenant `t1`, hold no job, and permit everybody all; jobs may use the folder, which
the tests write to as well. Needs the extra `batch`.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from stanchion.core.context import Context, Rights, new_request_id
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.serving import BatchJob, BatchOrder, ServedSpec, Serving

MODEL = "scored"
_SECONDS = 60.0


class Loan(BaseModel):
    """A row of the input."""

    loan: str
    amount: int = Field(ge=0, le=1_000)


class Score(BaseModel):
    """A row of the output."""

    probability: float


async def score(items: Sequence[Loan]) -> list[Score]:
    """A thousandth of the amount."""
    return [Score(probability=item.amount / 1_000) for item in items]


SCORED = ServedSpec(MODEL, Loan, Score, function=score, default=Score(probability=0.0))


def caller(tenant: str = "t1") -> Context:
    """A caller with every right, and a request of its own."""
    rights = Rights(frozenset({"admin"}), frozenset({"*"}))
    return replace(Context(tenant, "ada", rights), request_id=new_request_id())


def write(folder: Path, count: int, name: str = "in.csv", *, bad: Sequence[int] = (), shift: int = 0) -> str:
    """A file of loans; those at the places `bad` (from 1) have an amount that cannot be. Its path."""
    path = folder / name
    lines = [f"l{n},{-1 if n in bad else (n + shift) % 1_000}" for n in range(1, count + 1)]
    path.write_text("\n".join(["loan,amount", *lines]) + "\n")
    return str(path)


def read(path: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(each.name for each in folder.iterdir())


def put(path: str, content: str) -> None:
    """Write a file."""
    Path(path).write_text(content)


def content(path: str) -> str:
    """What a file holds."""
    return Path(path).read_text()


def remove(path: str) -> None:
    """Delete a file."""
    Path(path).unlink()


class BatchesSuite:
    """Override the fixtures `serving` (async) and `folder`."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder that jobs of the door may use."""
        made = tmp_path / "files"
        made.mkdir()
        return made

    @pytest.fixture
    def serving(self, folder: Path) -> Serving:
        raise NotImplementedError("give the suite a door that serves SCORED, whose jobs may use the folder")

    @staticmethod
    def order(folder: Path, source: str, output: str = "out.csv", **more: Any) -> BatchOrder:
        """An order with small chunks."""
        return BatchOrder(source, str(folder / output), **{"chunk_rows": 100, "picture": False, **more})

    @staticmethod
    async def run(serving: Serving, order: BatchOrder) -> BatchJob:
        """The job at its end."""
        jobs = [job async for job in serving.run_batch(caller(), MODEL, order)]
        return jobs[-1]

    @staticmethod
    async def until(serving: Serving, job: str, *states: str) -> BatchJob:
        """The job once it is in one of these states."""
        async with asyncio.timeout(_SECONDS):
            while True:
                found = await serving.batch_job(caller(), job)
                if found.state in states:
                    return found
                await asyncio.sleep(0.02)

    async def interrupted(self, serving: Serving, order: BatchOrder, chunks: int) -> BatchJob:
        """A job that was left after so many chunks."""
        left = ""
        # What a door gives is a generator, near and far: leaving it closes it.
        jobs: Any = serving.run_batch(caller(), MODEL, order)
        async with aclosing(jobs):
            async for job in jobs:
                if job.chunks >= chunks:
                    left = job.id
                    break
        return await self.until(serving, left, "interrupted")

    async def test_the_job_is_told_after_every_chunk_and_reports_at_its_end(
        self, serving: Serving, folder: Path
    ) -> None:
        order = self.order(folder, write(folder, 250, bad=(7, 201)))
        jobs = [job async for job in serving.run_batch(caller(), MODEL, order)]
        assert [job.rows for job in jobs] == [0, 100, 200, 250, 250]
        assert {job.state for job in jobs[:-1]} == {"running"}
        done = jobs[-1]
        assert (done.state, done.model, done.requested_by, done.reused) == ("done", MODEL, "ada", False)
        report = done.report
        assert report is not None
        assert (report.rows, report.predicted, report.quarantined, report.resumed) == (250, 248, 2, 0)
        assert report.mean == pytest.approx(sum(n for n in range(1, 251) if n not in (7, 201)) / 248_000)
        rows = read(done.order.output)
        assert [int(row["row_number"]) for row in rows] == [n for n in range(1, 251) if n not in (7, 201)]
        assert all(float(row["probability"]) == int(row["row_number"]) / 1_000 for row in rows)
        bad = read(report.quarantine)
        assert [(row["row_number"], row["loan"]) for row in bad] == [("7", "l7"), ("201", "l201")]
        assert all(row["problems"].startswith("amount: ") for row in bad)
        assert await serving.batch_job(caller(), done.id) == done

    async def test_the_same_order_is_the_same_job(self, serving: Serving, folder: Path) -> None:
        order = self.order(folder, write(folder, 150))
        first = await self.run(serving, order)
        again = await self.run(serving, order)
        assert (again.id, again.reused, again.report) == (first.id, True, first.report)
        remove(first.order.output)
        fresh = await self.run(serving, order)
        assert (fresh.id == first.id, fresh.reused) == (False, False)

    async def test_a_key_stands_for_one_job(self, serving: Serving, folder: Path) -> None:
        order = self.order(folder, write(folder, 150), key="night")
        first = await self.run(serving, order)
        assert (await self.run(serving, replace(order, chunk_rows=200))).id == first.id
        other = self.order(folder, write(folder, 150, "other.csv", shift=1), key="night")
        with pytest.raises(Conflict):
            await self.run(serving, other)

    async def test_an_output_that_exists_is_not_replaced_unasked(self, serving: Serving, folder: Path) -> None:
        order = self.order(folder, write(folder, 150))
        put(order.output, "mine")
        with pytest.raises(Conflict):
            await self.run(serving, order)
        assert content(order.output) == "mine"
        assert (await self.run(serving, replace(order, overwrite=True))).state == "done"
        assert len(read(order.output)) == 150

    async def test_a_job_that_was_left_goes_on_where_it_stopped(self, serving: Serving, folder: Path) -> None:
        # Long enough that a far job is not done before it has heard that nobody listens.
        source = write(folder, 4_000, bad=(3, 850))
        whole = await self.run(serving, self.order(folder, source, "whole.csv"))
        order = self.order(folder, source)
        left = await self.interrupted(serving, order, 3)
        assert left.chunks >= 3
        assert "out.csv" not in names(folder)
        with pytest.raises(Conflict):
            await self.run(serving, order)
        jobs = [job async for job in serving.run_batch(caller(), MODEL, replace(order, resume=True))]
        assert jobs[0].rows >= 300
        assert (jobs[-1].id, jobs[-1].state, jobs[-1].rows) == (left.id, "done", 4_000)
        assert read(order.output) == read(whole.order.output)
        assert jobs[-1].report is not None
        assert jobs[-1].report.resumed == 1

    async def test_a_submitted_job_is_worked_off_in_the_background(self, serving: Serving, folder: Path) -> None:
        queued = await serving.submit_batch(caller(), MODEL, self.order(folder, write(folder, 450)))
        assert (queued.state, queued.rows_total) == ("queued", 450)
        done = await self.until(serving, queued.id, "done", "failed")
        assert (done.state, done.rows, done.chunks) == ("done", 450, 5)
        assert len(read(done.order.output)) == 450

    async def test_jobs_are_listed_the_newest_first(self, serving: Serving, folder: Path) -> None:
        source = write(folder, 120)
        made = [(await self.run(serving, self.order(folder, source, f"out{n}.csv"))).id for n in range(3)]
        assert [job.id for job in await serving.batches(caller())] == made[::-1]
        assert [job.id for job in await serving.batches(caller(), limit=2)] == made[:0:-1]
        for limit in (0, 501):
            with pytest.raises(InvalidInput):
                await serving.batches(caller(), limit=limit)

    async def test_a_job_under_way_stops_after_its_chunk_and_leaves_nothing(
        self, serving: Serving, folder: Path
    ) -> None:
        order, states = self.order(folder, write(folder, 600)), []
        async for job in serving.run_batch(caller(), MODEL, order):
            states.append(job.state)
            if job.chunks == 2 and job.state == "running":
                assert (await serving.cancel_batch(caller(), job.id)).state == "cancelling"
        assert states[-1] == "cancelled"
        assert names(folder) == ["in.csv"]
        with pytest.raises(Conflict):
            await serving.cancel_batch(caller(), job.id)

    async def test_a_job_that_was_left_is_cancelled_at_once(self, serving: Serving, folder: Path) -> None:
        order = self.order(folder, write(folder, 4_000))
        left = await self.interrupted(serving, order, 2)
        assert (await serving.cancel_batch(caller(), left.id)).state == "cancelled"
        assert names(folder) == ["in.csv"]
        assert (await self.run(serving, order)).state == "done"

    async def test_too_many_bad_rows_fail_the_job_with_the_commonest_reason(
        self, serving: Serving, folder: Path
    ) -> None:
        order = self.order(folder, write(folder, 200, bad=range(1, 121)))
        with pytest.raises(InvalidInput) as caught:
            await self.run(serving, order)
        assert caught.value.fields[0].message.startswith("120 rows: amount")
        [job] = await serving.batches(caller())
        assert (job.state, job.problem is not None and job.problem.code) == ("failed", "invalid_input")
        assert names(folder) == ["in.csv"]
        assert (await self.run(serving, replace(order, most_bad=0.9))).quarantined == 120

    async def test_what_cannot_be_done_is_refused_before_it_begins(self, serving: Serving, folder: Path) -> None:
        source = write(folder, 120)
        order = self.order(folder, source)
        for wrong in (
            replace(order, chunk_rows=1),
            replace(order, most_bad=1.5),
            replace(order, input=str(folder / "nowhere.csv")),
            replace(order, output=str(folder / "out.txt")),
            replace(order, output=str(folder.parent / "out.csv")),
            replace(order, input="/etc/passwd"),
            replace(order, keep=("colour",)),
            replace(order, time="loan"),
        ):
            for ask in (serving.submit_batch(caller(), MODEL, wrong), self.run(serving, wrong)):
                with pytest.raises(InvalidInput):
                    await ask
        with pytest.raises(NotFound):
            await serving.submit_batch(caller(), "nowhere", order)
        assert list(await serving.batches(caller())) == []

    async def test_another_tenant_finds_nothing_of_it(self, serving: Serving, folder: Path) -> None:
        job = await self.run(serving, self.order(folder, write(folder, 120)))
        stranger = caller("t2")
        assert list(await serving.batches(stranger)) == []
        for call in (
            serving.batch_job(stranger, job.id),
            serving.cancel_batch(stranger, job.id),
            serving.batch_job(caller(), "nowhere"),
            serving.cancel_batch(caller(), "nowhere"),
        ):
            with pytest.raises(NotFound):
                await call
        with pytest.raises(InvalidInput):
            await serving.submit_batch(stranger, MODEL, self.order(folder, job.order.input, "theirs.csv"))
