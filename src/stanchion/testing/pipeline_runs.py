"""What every backend of pipelines keeps: one suite for memory, SQLite, PostgreSQL and the far side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound
from stanchion.core.values import Json
from stanchion.pipelines import LiveRun, Pipelines, Retry, Run, Stage, StageFailed, Step, choose

from .pipelines import Declared

CTX = Context("acme", "user:ada", Rights(roles=frozenset({"developer"}), scopes=frozenset({"a:b"})))
OTHER = replace(CTX, tenant="other")


def declared(done: list[str]) -> Declared:
    """The pipelines of the suite; `done` is told of what is undone and tried."""
    app = Declared()

    @app.stage()
    def add(number: int, by: int) -> int:
        return number + by

    @app.stage()
    async def double(number: int) -> int:
        return number * 2

    @app.stage()
    def numbers(upto: int) -> list[int]:
        return list(range(upto))

    @app.stage()
    def total(given: list[int]) -> int:
        return sum(given)

    @app.stage()
    def large(number: int) -> bool:
        return number > 100

    @app.pipeline("graph")
    def graph(start: int) -> int:
        """Doubles and adds, by item and by branch."""
        first = add(start, 1)
        second = double(first)
        whole = total(double.map(numbers(second), parallel=3))
        return add(choose(large(whole), lambda: add(whole, 1_000), lambda: add(whole, 1)), first)

    _waiting(app, add)
    _failures(app, done, add)
    return app


def _waiting(app: Declared, add: Stage[int]) -> None:
    @app.pipeline("waits")
    async def waits(run: LiveRun, seconds: float) -> Json:
        before = await run.step(add, 1, 2)
        try:
            value = await run.wait("go", timeout=seconds)
        except DeadlineExceeded:
            value = "late"
        return [before, value]

    @app.pipeline("two-signals")
    async def two_signals(run: LiveRun, parts: int) -> Json:
        return [await run.wait("part") for _ in range(parts)]

    @app.pipeline("sleeps")
    async def sleeps(run: LiveRun, seconds: float) -> bool:
        first = await run.now()
        await run.sleep(seconds)
        second = await run.now()
        return (second - first).total_seconds() >= seconds

    @app.pipeline("parent")
    async def parent(run: LiveRun, starts: list[int]) -> Json:
        return list(await asyncio.gather(*(run.child("graph", start) for start in starts)))

    @app.pipeline("holds")
    async def holds(run: LiveRun, seconds: float) -> Json:
        return await run.child("waits", seconds)


def _failures(app: Declared, done: list[str], add: Stage[int]) -> None:
    def undo(answer: int, ctx: Context) -> None:
        done.append(f"undo {answer} as {ctx.principal}")

    @app.stage(compensate=undo)
    def reserve(number: int) -> int:
        return number

    @app.stage(retry=Retry(attempts=3, seconds=0.01))
    def shaky(step: Step, until: int) -> int:
        done.append(f"attempt {step.attempt}")
        if step.attempt < until:
            raise OSError(f"attempt {step.attempt}")
        return step.attempt

    @app.pipeline("fails")
    def fails(until: int) -> int:
        return shaky(add(reserve(add(reserve(until), 0)), 0))

    @app.pipeline("catches")
    async def catches(run: LiveRun, until: int) -> str:
        try:
            return f"attempt {await run.step(shaky, until)}"
        except StageFailed as error:
            return error.message

    @app.stage()
    def who(ctx: Context) -> list[str]:
        return [ctx.tenant, ctx.principal, *sorted(ctx.rights.roles), *sorted(ctx.rights.scopes)]

    @app.pipeline("rights")
    async def rights(run: LiveRun, whatever: int) -> list[str]:
        return await run.step(who)


class PipelineSuite:
    """Give a fixture `pipelines`, a working service of `declared(done)`, and `done`."""

    async def _ended(self, pipelines: Pipelines, run: Run) -> Run:
        for _ in range(20):
            run = await pipelines.wait(CTX, run.id, seconds=3)
            if run.ended is not None:
                return run
        raise AssertionError(f"the run did not end: {run}")

    async def _until(self, found: Callable[[], Awaitable[bool]]) -> None:
        for _ in range(3_000):
            if await found():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it did not happen in a minute")

    async def _parked(self, pipelines: Pipelines, run: Run, name: str) -> None:
        async def waits() -> bool:
            found = await pipelines.get(CTX, run.id)
            return found.status == "waiting" and name in found.waits

        await self._until(waits)

    async def test_a_graph_runs_by_its_edges_maps_and_branches(self, pipelines: Pipelines) -> None:
        small = await self._ended(pipelines, await pipelines.begin(CTX, "graph", 1))
        assert (small.status, small.output) == ("done", 15)
        big = await self._ended(pipelines, await pipelines.begin(CTX, "graph", 6))
        assert (big.status, big.output) == ("done", 182 + 1_000 + 7)
        steps = [stage.step for stage in await pipelines.stages(CTX, big.id)]
        assert sorted(steps)[:3] == ["add", "add#2", "add#4"]
        assert len([step for step in steps if step.startswith("double#2[")]) == 14

    async def test_a_key_begins_one_run(self, pipelines: Pipelines) -> None:
        first = await pipelines.begin(CTX, "graph", 1, key="k")
        again = await pipelines.begin(CTX, "graph", 1, key="k")
        assert first.id == again.id
        with pytest.raises(Conflict):
            await pipelines.begin(CTX, "graph", 2, key="k")
        theirs = await pipelines.begin(OTHER, "graph", 1, key="k")
        assert theirs.id != first.id

    async def test_a_parked_run_goes_on_with_its_signal(self, pipelines: Pipelines) -> None:
        run = await pipelines.begin(CTX, "waits", 3_000)
        await self._parked(pipelines, run, "go")
        assert await pipelines.signal(CTX, run.id, "go", {"yes": 1}, key="one")
        assert not await pipelines.signal(CTX, run.id, "go", {"yes": 2}, key="one")
        ended = await self._ended(pipelines, run)
        assert ended.output == [3, {"yes": 1}]
        with pytest.raises(Conflict):
            await pipelines.signal(CTX, run.id, "go", 1)

    async def test_signals_that_come_early_are_kept_in_their_order(self, pipelines: Pipelines) -> None:
        run = await pipelines.begin(CTX, "two-signals", 3)
        for number in range(3):
            await pipelines.signal(CTX, run.id, "part", number)
        assert (await self._ended(pipelines, run)).output == [0, 1, 2]

    async def test_a_wait_ends_with_its_time(self, pipelines: Pipelines) -> None:
        run = await pipelines.begin(CTX, "waits", 0.1)
        assert (await self._ended(pipelines, run)).output == [3, "late"]

    async def test_a_run_sleeps_as_long_as_it_says(self, pipelines: Pipelines) -> None:
        assert (await self._ended(pipelines, await pipelines.begin(CTX, "sleeps", 0.2))).output is True

    async def test_children_give_their_answers_to_their_parent(self, pipelines: Pipelines) -> None:
        run = await self._ended(pipelines, await pipelines.begin(CTX, "parent", [1, 6, 1]))
        assert run.output == [15, 1_189, 15]
        assert {child.status for child in await pipelines.list(CTX, parent=run.id)} == {"done"}

    async def test_what_fails_is_tried_again_and_then_undone(self, pipelines: Pipelines, done: list[str]) -> None:
        run = await self._ended(pipelines, await pipelines.begin(CTX, "fails", 9))
        assert run.status == "failed"
        assert run.error is not None
        assert (run.error.code, run.error.stage) == ("stage_failed", "shaky")
        assert done == ["attempt 1", "attempt 2", "attempt 3", "undo 9 as user:ada", "undo 9 as user:ada"]
        assert [found.id for found in await pipelines.dead(CTX)] == [run.id]
        with pytest.raises(Conflict):
            await pipelines.resume(CTX, run.id)
        well = await self._ended(pipelines, await pipelines.begin(CTX, "fails", 2))
        assert (well.status, well.output) == ("done", 2)

    async def test_code_may_catch_what_failed(self, pipelines: Pipelines) -> None:
        run = await self._ended(pipelines, await pipelines.begin(CTX, "catches", 9))
        assert run.output == "OSError: attempt 3"

    async def test_a_failed_run_is_resumed_from_its_last_good_step(self, pipelines: Pipelines, done: list[str]) -> None:
        run = await self._ended(pipelines, await pipelines.begin(CTX, "catches", 9))
        fork = await self._ended(pipelines, await pipelines.fork(CTX, run.id, "shaky"))
        assert (fork.forked_from, fork.status) == (run.id, "done")
        assert len(done) == 6
        with pytest.raises(NotFound):
            await pipelines.fork(CTX, run.id, "no-such-stage")
        with pytest.raises(Conflict):
            await pipelines.resume(CTX, run.id)

    async def test_a_cancelled_run_ends_with_all_below_it(self, pipelines: Pipelines) -> None:
        run = await pipelines.begin(CTX, "holds", 3_000)
        await self._until(lambda: self._has_waiting_child(pipelines, run))
        await pipelines.cancel(CTX, run.id)
        assert (await self._ended(pipelines, run)).status == "cancelled"
        [child] = await pipelines.list(CTX, parent=run.id)
        assert (await self._ended(pipelines, child)).status == "cancelled"
        again = await pipelines.resume(CTX, child.id)
        assert again.status in ("queued", "running", "waiting")
        await pipelines.signal(CTX, child.id, "go", 5)
        assert (await self._ended(pipelines, child)).output == [3, 5]

    async def _has_waiting_child(self, pipelines: Pipelines, run: Run) -> bool:
        return any(child.status == "waiting" for child in await pipelines.list(CTX, parent=run.id))

    async def test_a_run_has_its_starters_rights_and_no_more(self, pipelines: Pipelines) -> None:
        run = await self._ended(pipelines, await pipelines.begin(CTX, "rights", 1))
        assert run.output == ["acme", "user:ada", "developer", "a:b"]
        assert run.principal == "user:ada"

    async def test_inputs_are_of_the_declared_type(self, pipelines: Pipelines) -> None:
        wrong: list[Json] = ["x", {"a": 1}, None]
        for inputs in wrong:
            with pytest.raises(InvalidInput):
                await pipelines.begin(CTX, "graph", inputs)
        with pytest.raises(NotFound):
            await pipelines.begin(CTX, "no-such-pipeline", 1)

    async def test_another_tenants_run_is_an_unknown_one(self, pipelines: Pipelines) -> None:
        run = await pipelines.begin(CTX, "waits", 3_000)
        for call in (pipelines.get, pipelines.stages, pipelines.cancel, pipelines.resume, pipelines.quarantined):
            with pytest.raises(NotFound):
                await call(OTHER, run.id)
        with pytest.raises(NotFound):
            await pipelines.signal(OTHER, run.id, "go", 1)
        with pytest.raises(NotFound):
            await pipelines.fork(OTHER, run.id, "add")
        assert list(await pipelines.list(OTHER)) == []
        await pipelines.cancel(CTX, run.id)

    async def test_what_a_run_took_and_gave_is_told_to_who_started_it(self, pipelines: Pipelines) -> None:
        run = await self._ended(pipelines, await pipelines.begin(CTX, "graph", 1))
        assert (run.inputs, run.output) == (1, 15)
        somebody = replace(CTX, principal="user:bob")
        seen = await pipelines.get(somebody, run.id)
        assert (seen.status, seen.inputs, seen.output) == ("done", None, None)
        held = await pipelines.values(somebody, run.id)
        assert (held.inputs, held.output) == (1, 15)

    async def test_lists_are_newest_first_and_in_pages(self, pipelines: Pipelines) -> None:
        runs = [await pipelines.begin(CTX, "graph", 1) for _ in range(5)]
        ids = sorted((run.id for run in runs), reverse=True)
        first = await pipelines.list(CTX, pipeline="graph", limit=2)
        assert [run.id for run in first] == ids[:2]
        rest = await pipelines.list(CTX, pipeline="graph", before=first[-1].id)
        assert [run.id for run in rest] == ids[2:]

    async def test_the_picture_shows_every_stage_and_its_state(self, pipelines: Pipelines) -> None:
        run = await self._ended(pipelines, await pipelines.begin(CTX, "graph", 1))
        plain, coloured = await pipelines.picture(CTX, "graph"), await pipelines.picture(CTX, "graph", run=run.id)
        assert plain.startswith("<svg ")
        assert all(f">{name}<" in plain for name in ("input", "add", "double", "numbers", "total", "choose"))
        assert "#d8f0dd" in coloured
        assert "#d8f0dd" not in plain

    async def test_what_is_declared_is_told(self, pipelines: Pipelines) -> None:
        views = {view.name: view for view in await pipelines.declared(CTX)}
        assert views["graph"].schema == {"type": "integer"}
        assert [node.id for node in views["graph"].nodes][:4] == ["input", "add", "double", "numbers"]
        assert list(views["waits"].nodes) == []
        queues = {queue.name: queue for queue in await pipelines.queues(CTX)}
        assert queues["default"].workers == 1
