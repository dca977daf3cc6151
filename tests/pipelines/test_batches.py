"""Steps of many runs in one commit: each is judged by its own hold, and one that cannot be stored fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.storage.open import open_database
from stanchion.pipelines.backends.sql import SqlEngine
from stanchion.pipelines.backends.tables import SCHEMA
from stanchion.pipelines.ports import Cancelled, Claimed, Executor, Recording, RunRow, StepRow, Superseded

CTX = Context("acme", "user:ada")
ME = Executor("machine.1.1.aa", 0, ("*",), (("p", "1"),))


def run_row(number: int) -> RunRow:
    return RunRow(
        tenant="acme", id=f"run{number}", pipeline="p", version="1", status="queued", queue="default", priority=1,
        key=None, inputs="1", author="{}", created=number, due=0,
    )  # fmt: skip


def step(name: str) -> StepRow:
    return StepRow(name, 1, "stage", "done", 1, 2, output="1", notes=("a note",))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlEngine]:
    url = {"memory": "memory:", "sqlite": f"sqlite://{tmp_path}/runs.db"}.get(request.param, "")
    database = open_database(url or request.getfixturevalue("postgres_url"), durable=False)
    await database.prepare(SCHEMA)
    yield SqlEngine(database, clock=SystemClock())
    await database.close()


async def claimed(engine: SqlEngine, number: int) -> Sequence[Claimed]:
    for each in range(number):
        await engine.enqueue(CTX, run_row(each))
    return await engine.claim(ME, {}, limit=number, now=1)


async def written(engine: SqlEngine, run: int) -> list[str]:
    return [row.step for row in await engine.steps("acme", f"run{run}")]


async def test_steps_of_many_runs_are_all_stored_as_they_were_given(engine: SqlEngine) -> None:
    runs = await claimed(engine, 50)
    steps = [(each, step(f"step{number}")) for each in runs for number in range(4)]
    await asyncio.gather(*(engine.record(each.hold, Recording(row)) for each, row in steps))
    for number in range(50):
        assert await engine.steps("acme", f"run{number}") == [step(f"step{at}") for at in range(4)]


async def test_in_one_batch_only_the_steps_whose_hold_is_good_are_stored(engine: SqlEngine) -> None:
    runs = await claimed(engine, 4)
    await engine.cancel(CTX, "run3", 1)
    holds = [each.hold for each in runs]
    holds[1] = replace(holds[1], epoch=holds[1].epoch - 1)
    holds[2] = replace(holds[2], tenant="other")
    answers = await asyncio.gather(
        *(engine.record(hold, Recording(step("late"))) for hold in holds), return_exceptions=True
    )
    assert answers[0] == step("late")
    assert [type(each) for each in answers[1:]] == [Superseded, Superseded, Cancelled]
    assert [await written(engine, number) for number in range(3)] == [["late"], [], []]


async def test_a_step_that_cannot_be_stored_fails_alone(engine: SqlEngine, caplog: pytest.LogCaptureFixture) -> None:
    runs = await claimed(engine, 5)
    await engine.record(runs[2].hold, Recording(step("twice")))
    answers = await asyncio.gather(
        *(engine.record(each.hold, Recording(step("twice"))) for each in runs), return_exceptions=True
    )
    assert [isinstance(each, Exception) for each in answers] == [False, False, True, False, False]
    assert [await written(engine, number) for number in range(5)] == [["twice"]] * 5
    [told] = [record.getMessage() for record in caplog.records if record.name.endswith("batching")]
    assert "tried alone: IntegrityError" in told or "tried alone: UniqueViolation" in told
