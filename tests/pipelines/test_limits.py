"""What holds over all processes: limits of queues, order, versions, and what a run may wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.core import tasks
from stanchion.core.clock import SystemClock, micros
from stanchion.core.context import Context, Rights
from stanchion.core.errors import InvalidInput
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.pipelines import LiveRun, Pipelines, Rate, Retry, Run, Step
from stanchion.pipelines.backends.tables import SCHEMA
from stanchion.testing.pipelines import Declared, pipeline_service

CTX = Context("acme", "user:ada", Rights(roles=frozenset({"developer"})))


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite://{tmp_path}/runs.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    found = open_database(url, durable=False)
    await found.prepare(SCHEMA)
    yield found
    await found.close()


@asynccontextmanager
async def worker(database: Database, app: Declared, **options: object) -> AsyncIterator[Pipelines]:
    service = await pipeline_service(database, open_blobs("memory:"), app, clock=SystemClock(), **options)  # type: ignore[arg-type]
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(3_000):
        if await found():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in a minute")


async def ended(pipelines: Pipelines, run: str, ctx: Context = CTX) -> Run:
    found = await pipelines.wait(ctx, run, seconds=60)
    assert found.ended is not None
    return found


async def test_a_queues_concurrency_holds_over_processes_and_parked_runs_do_not_count(database: Database) -> None:
    app, busy, most = Declared(), [0], [0]
    app.queue("narrow", concurrency=2)

    @app.stage()
    async def work(number: int) -> int:
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        await asyncio.sleep(0.05)
        busy[0] -= 1
        return number

    @app.pipeline("counted", queue="narrow")
    async def counted(run: LiveRun, number: int) -> int:
        await run.wait("go")
        return await run.step(work, number)

    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(worker(database, app)) for _ in range(3)]
        runs = [await services[0].begin(CTX, "counted", number) for number in range(8)]

        async def parked() -> bool:
            return len(await services[0].list(CTX, status="waiting")) == 8

        await until(parked)
        for run in runs:
            await services[1].signal(CTX, run.id, "go", None)
        for run in runs:
            await ended(services[2], run.id)
    assert 1 <= most[0] <= 2


async def test_a_queues_rate_holds_over_processes(database: Database) -> None:
    app, begun = Declared(), []
    app.queue("slow", rate=Rate(3, 1.0))

    @app.stage()
    def note(number: int) -> int:
        return number

    @app.pipeline("noted", queue="slow")
    def noted(number: int) -> int:
        return note(number)

    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(worker(database, app)) for _ in range(2)]
        runs = [await services[0].begin(CTX, "noted", number) for number in range(8)]
        for run in runs:
            await ended(services[0], run.id)
        begun = sorted(micros(r.started) for r in await services[0].list(CTX) if r.started is not None)
    assert len(begun) == 8
    assert all(later - first >= 1_000_000 for first, later in zip(begun, begun[3:], strict=False))


async def test_runs_of_a_queue_begin_in_the_order_in_which_they_were_asked_for(database: Database) -> None:
    app, order = Declared(), []
    app.queue("line", concurrency=1)

    @app.stage()
    def note(number: int) -> int:
        order.append(number)
        return number

    @app.pipeline("noted", queue="line")
    def noted(number: int) -> int:
        return note(number)

    @app.pipeline("first", queue="line", priority=1)
    def first(number: int) -> int:
        return note(number)

    async with worker(database, app, work=False) as asking:
        runs = [await asking.begin(CTX, "noted", number) for number in range(20)]
        runs.append(await asking.begin(CTX, "first", 99))
    async with worker(database, app) as service:
        for run in runs:
            await ended(service, run.id)
    assert order == [99, *range(20)]


def _versioned(version: str, app: Declared) -> Declared:
    @app.stage()
    def say(word: str) -> str:
        return f"{version} says {word}"

    @app.pipeline("said", version=version)
    async def said(run: LiveRun, word: str) -> list[str]:
        before = await run.step(say, word)
        await run.wait("go")
        return [before, await run.step(say, word)]

    return app


async def test_a_run_goes_on_with_its_own_code_or_stays_and_says_so(database: Database) -> None:
    old, new = _versioned("one", Declared()), _versioned("two", Declared())
    async with worker(database, old) as service:
        run = await service.begin(CTX, "said", "hello")

        async def parked() -> bool:
            return (await service.get(CTX, run.id)).status == "waiting"

        await until(parked)
    async with worker(database, new) as service:
        await service.signal(CTX, run.id, "go", None)
        later = await service.begin(CTX, "said", "hi")
        await service.signal(CTX, later.id, "go", None)
        assert (await ended(service, later.id)).output == ["two says hi"] * 2
        stays = await service.get(CTX, run.id)
        assert (stays.status, stays.version) == ("waiting", "one")
        assert "one" in stays.blocked and "two" in stays.blocked
        assert [each.id for each in await service.dead(CTX)] == [run.id]
        async with worker(database, old):
            done = await ended(service, run.id)
        assert done.output == ["one says hello"] * 2


async def test_a_run_adopts_the_present_code_if_somebody_says_so(database: Database) -> None:
    old, new = _versioned("one", Declared()), _versioned("two", Declared())
    async with worker(database, old) as service:
        run = await service.begin(CTX, "said", "hello")

        async def parked() -> bool:
            return (await service.get(CTX, run.id)).status == "waiting"

        await until(parked)
    async with worker(database, new) as service:
        await service.signal(CTX, run.id, "go", None)
        await service.resume(CTX, run.id, adopt=True)
        done = await ended(service, run.id)
        assert done.output == ["one says hello", "two says hello"]


async def test_a_workers_queues_are_the_ones_it_was_given(database: Database) -> None:
    app = Declared()

    @app.stage()
    def same(number: int) -> int:
        return number

    @app.pipeline("heavy", queue="heavy")
    def heavy(number: int) -> int:
        return same(number)

    @app.pipeline("light", queue="light")
    def light(number: int) -> int:
        return same(number)

    async with worker(database, app, queues=["light"]) as service:
        left = await service.begin(CTX, "heavy", 1)
        taken = await service.begin(CTX, "light", 1)
        await ended(service, taken.id)
        assert (await service.get(CTX, left.id)).status == "queued"
        async with worker(database, app, queues=["heavy"]):
            await ended(service, left.id)


async def test_a_stage_that_takes_too_long_is_tried_again_and_fails(database: Database) -> None:
    app, tried = Declared(), []

    @app.stage(timeout=0.05, retry=Retry(attempts=2, seconds=0.01))
    async def stuck(step: Step, number: int) -> int:
        tried.append(step.key)
        await asyncio.sleep(60)
        return number

    @app.pipeline("late")
    def late(number: int) -> int:
        return stuck(number)

    async with worker(database, app) as service:
        run = await service.begin(CTX, "late", 1)
        done = await ended(service, run.id)
    assert done.error is not None and done.error.code == "deadline_exceeded"
    assert tried == [f"{run.id}/stuck"] * 2


async def test_a_stage_that_swallows_its_cancellation_is_ended_in_its_time_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.05)
    app = Declared()

    @app.stage(timeout=0.05, retry=Retry(attempts=1))
    async def stubborn(number: int) -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()
        return number

    @app.pipeline("late")
    def late(number: int) -> int:
        return stubborn(number)

    async with worker(database, app) as service:
        run = await service.begin(CTX, "late", 1)
        done = await ended(service, run.id)
    assert done.error is not None and done.error.code == "deadline_exceeded"


async def test_a_pipelines_time_bounds_a_run_with_its_waits(database: Database) -> None:
    app = Declared()

    @app.pipeline("patient", timeout=timedelta(seconds=0.3))
    async def patient(run: LiveRun, number: int) -> int:
        await run.wait("never")
        return number

    async with worker(database, app) as service:
        run = await service.begin(CTX, "patient", 1)
        done = await ended(service, run.id)
    assert (done.status, done.error and done.error.code) == ("failed", "deadline_exceeded")


async def test_an_answer_that_is_not_of_its_type_fails_the_stage(database: Database) -> None:
    app = Declared()

    @app.stage()
    def wrong(number: int) -> int:
        return "no number"  # type: ignore[return-value]

    @app.pipeline("typed")
    def typed(number: int) -> int:
        return wrong(number)

    async with worker(database, app) as service:
        run = await service.begin(CTX, "typed", 1)
        done = await ended(service, run.id)
    assert (done.status, done.error and done.error.code) == ("failed", "invalid_input")


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["a", "b"]), max_size=8), st.integers(0, 8))
async def test_each_signal_is_taken_once_in_the_order_of_its_name(names: list[str], early: int) -> None:
    app = Declared()

    @app.pipeline("takes")
    async def takes(run: LiveRun, wanted: list[str]) -> list[int]:
        return [await run.wait(name, kind=int) for name in wanted]

    database = open_database("memory:")
    await database.prepare(SCHEMA)
    async with worker(database, app, poll=0.01) as service:
        run = None
        for at, name in enumerate(names):
            if at == min(early, len(names) - 1):
                run = await service.begin(CTX, "takes", names)
                for number, sent in enumerate(names[:at]):
                    await service.signal(CTX, run.id, sent, number)
            if run is not None:
                await service.signal(CTX, run.id, name, at)
        run = run or await service.begin(CTX, "takes", names)
        done = await ended(service, run.id)
    await database.close()
    assert done.output == list(range(len(names)))


async def test_a_signal_has_a_name_that_can_be_kept(database: Database) -> None:
    app = Declared()

    @app.pipeline("waits")
    async def waits(run: LiveRun, number: int) -> int:
        await run.wait("go")
        return number

    async with worker(database, app) as service:
        run = await service.begin(CTX, "waits", 1)
        for name in ("", "child:1", "a\x00b", "x" * 201):
            with pytest.raises(InvalidInput):
                await service.signal(CTX, run.id, name, 1)
        with pytest.raises(InvalidInput):
            await service.begin(CTX, "waits", 1, key="a\x00")
