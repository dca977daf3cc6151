"""What happens to rows: checks, quarantine, the trail of a record, kept answers, dry runs and large answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import msgspec
import pandera.pandas as pandera
import pytest
from pydantic import BaseModel
from sqlalchemy import Connection, text

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.errors import Misconfigured, NotFound
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.pipelines import Check, LiveRun, Pipelines, Run, Step, choose
from stanchion.pipelines.backends.sql import SqlEngine
from stanchion.pipelines.backends.tables import SCHEMA
from stanchion.pipelines.keeping import Keeping
from stanchion.pipelines.values import Answers
from stanchion.testing.clock import FakeClock
from stanchion.testing.pipelines import Declared, pipeline_service

CTX = Context("acme", "user:ada", Rights(roles=frozenset({"developer"})))


class Order(BaseModel):
    id: str
    amount: float


class Sum(msgspec.Struct):
    id: str
    total: float


@dataclass(frozen=True)
class Wanted:
    bad: int


@asynccontextmanager
async def served(app: Declared, *, inline: int = 65_536) -> AsyncIterator[Pipelines]:
    database = open_database("memory:")
    await database.prepare(SCHEMA)
    service = await pipeline_service(
        database, open_blobs("memory:"), app, clock=SystemClock(), poll=0.01, inline=inline
    )
    await service.start()
    yield service
    await service.stop()
    await database.close()


async def ran(service: Pipelines, pipeline: str, inputs: object, *, dry: bool = False, ctx: Context = CTX) -> Run:
    run = await service.begin(ctx, pipeline, inputs, dry=dry)
    done = await service.wait(ctx, run.id, seconds=60)
    assert done.ended is not None
    return done


def checked(most_bad: float) -> Declared:
    app = Declared()
    schema = pandera.DataFrameSchema({"amount": pandera.Column(float, pandera.Check.gt(0))})

    @app.stage(record="id")
    def extract(wanted: Wanted) -> list[Order]:
        return [Order(id=f"o{n}", amount=-1.0 if n < wanted.bad else float(n)) for n in range(10)]

    @app.stage(record="id", check=Check(schema=schema, rows=_not_nine, most_bad=most_bad))
    def validate(orders: list[Order], step: Step) -> list[Order]:
        step.quarantine("o8", "by hand", orders[8])
        step.note(f"{len(orders)} came")
        return [order for order in orders if order.id not in ("o7", "o8")]

    @app.stage(record="id")
    def double(orders: list[Order]) -> list[Sum]:
        return [Sum(order.id, order.amount * 2) for order in orders]

    @app.pipeline("orders")
    def orders(wanted: Wanted) -> list[Sum]:
        return double(validate(extract(wanted)))

    return app


def _not_nine(order: Order) -> list[str]:
    return ["no nines"] if order.id == "o9" else []


@pytest.mark.parametrize("inline", [65_536, 16])
async def test_bad_rows_are_set_aside_with_their_reasons_and_the_trail_tells_what_became_of_each(inline: int) -> None:
    async with served(checked(0.5), inline=inline) as service:
        run = await ran(service, "orders", {"bad": 2})
        assert [row["id"] for row in run.output] == ["o2", "o3", "o4", "o5", "o6"]
        aside = {row.record: row for row in await service.quarantined(CTX, run.id)}
        assert sorted(aside) == ["o0", "o1", "o8", "o9"]
        assert aside["o0"].reasons == ("amount: greater_than(0)",)
        assert aside["o0"].row == {"id": "o0", "amount": -1.0}
        assert (aside["o9"].reasons, aside["o8"].reasons) == (("no nines",), ("by hand",))
        stage = {stage.step: stage for stage in await service.stages(CTX, run.id)}["validate"]
        assert (stage.rows, stage.quarantined, list(stage.notes)) == (5, 4, ["10 came"])

        async def trail(record: str) -> list[tuple[str, str]]:
            return [(step.stage, step.outcome) for step in (await service.record(CTX, run.id, record)).steps]

        assert await trail("o3") == [("extract", "produced"), ("validate", "unchanged"), ("double", "changed")]
        assert await trail("o0") == [("extract", "produced"), ("validate", "quarantined")]
        assert await trail("o7") == [("extract", "produced"), ("validate", "dropped")]
        whole = (await service.record(CTX, run.id, "o3")).steps[-1]
        assert (whole.before, whole.after) == ({"id": "o3", "amount": 3.0}, {"id": "o3", "total": 6.0})
        with pytest.raises(NotFound):
            await service.record(CTX, run.id, "nobody")


async def test_a_gate_stops_a_run_with_too_many_bad_rows_and_resume_reads_the_mended_source() -> None:
    async with served(checked(0.2)) as service:
        run = await ran(service, "orders", {"bad": 5})
        assert run.status == "failed"
        assert run.error is not None
        assert (run.error.code, run.error.stage) == ("invalid_input", "validate")
        assert "of 8 rows fail the check" in run.error.message
        await service.resume(CTX, run.id)
        again = await service.wait(CTX, run.id, seconds=60)
        assert again.status == "failed"
        assert len([row for row in await service.quarantined(CTX, run.id) if row.record == "o8"]) == 1


async def test_an_answer_is_kept_for_the_same_inputs_tenant_and_rights() -> None:
    app, calls = Declared(), []

    @app.stage(cache=timedelta(hours=1))
    def costly(number: int) -> int:
        calls.append(number)
        return number * 2

    @app.pipeline("kept")
    def kept(number: int) -> int:
        return costly(number)

    async with served(app) as service:
        for number in (1, 1, 2):
            assert (await ran(service, "kept", number)).output == number * 2
        again = await ran(service, "kept", 1)
        [stage] = await service.stages(CTX, again.id)
        assert stage.cached
        await ran(service, "kept", 1, ctx=replace(CTX, tenant="other"))
        await ran(service, "kept", 1, ctx=replace(CTX, rights=Rights(roles=frozenset({"viewer"}))))
    assert calls == [1, 2, 1, 1]


async def test_a_large_answer_is_kept_apart_from_the_run_that_made_it_until_its_time_is_over() -> None:
    app, calls, clock = Declared(), [], FakeClock()

    @app.stage(cache=timedelta(hours=1))
    def costly(number: int) -> list[int]:
        calls.append(number)
        return list(range(number))

    @app.stage()
    def total(given: list[int]) -> int:
        return sum(given)

    @app.pipeline("kept")
    def kept(number: int) -> int:
        return total(costly(number))

    database, blobs = open_database("memory:"), open_blobs("memory:")
    await database.prepare(SCHEMA)
    engine, answers = SqlEngine(database, clock=clock), Answers(blobs, inline=8)
    keeping = Keeping(engine, answers, clock, days=1)
    service = await pipeline_service(database, blobs, app, clock=clock, inline=8)
    await service.start()

    async def found(days: float) -> None:
        clock.advance(days * 86_400)
        await keeping.sweep()

    async def asked() -> Run:
        clock.advance(1)  # no two runs begin at one moment
        return await ran(service, "kept", 100)

    first = await asked()
    await answers.forget("acme", first.id)
    assert (await asked()).output == first.output == 4_950
    assert calls == [100]
    await found(0.1)
    shared = [name async for name in blobs.list("pipelines/") if "/kept/" in name]
    assert shared == []
    assert await engine.expired(1 << 60, 10) == []
    assert (await asked()).output == 4_950
    assert calls == [100, 100]
    await found(2.0)
    assert [name async for name in blobs.list("pipelines/")] == []
    await service.stop()
    await database.close()


async def test_a_kept_answer_is_not_undone_by_a_run_that_did_not_make_it_and_none_is_kept_with_rows_aside() -> None:
    app, calls, undone = Declared(), [], []

    def undo(given: list[int]) -> None:
        undone.append(given)

    @app.stage(cache=timedelta(hours=1), compensate=undo, check=Check(rows=lambda row: None if row else "it is zero"))
    def costly(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        return numbers

    @app.stage()
    def fails(given: list[int]) -> int:
        raise ValueError("always")

    @app.pipeline("undone")
    def pipeline(numbers: list[int]) -> int:
        return fails(costly(numbers))

    async with served(app) as service:
        for numbers in ([1, 2], [1, 2], [0, 3], [0, 3]):
            run = await ran(service, "undone", numbers)
            assert run.status == "failed"
        first = (await service.stages(CTX, run.id))[0]
        assert (first.cached, first.rows, first.quarantined) == (False, 1, 1)
        assert [row.reasons for row in await service.quarantined(CTX, run.id)] == [("it is zero",)]
        kept = (await service.list(CTX))[2]
        first = (await service.stages(CTX, kept.id))[0]
        assert (first.cached, first.rows) == (True, 2)
    assert calls == [[1, 2], [0, 3], [0, 3]]
    assert undone == [[1, 2], [3], [3]]


async def test_a_dry_run_leaves_out_what_has_an_effect_and_all_that_needs_it() -> None:
    app, sent = Declared(), []

    @app.stage()
    def price(number: int) -> int:
        return number * 2

    @app.stage(effect=True)
    def send(number: int) -> int:
        sent.append(number)
        return number

    @app.stage()
    def store(sql: Connection, number: int) -> int:
        sql.execute(text("CREATE TABLE never (x INTEGER)"))
        return number

    @app.stage()
    def after(number: int) -> int:
        return number

    @app.pipeline("graph")
    def graph(number: int) -> int:
        priced = price(number)
        store(priced)
        return after(send(priced))

    @app.pipeline("code")
    async def code(run: LiveRun, number: int) -> int:
        return await run.step(send, await run.step(price, number))

    async with served(app) as service:
        for name in ("graph", "code"):
            run = await ran(service, name, 4, dry=True)
            assert (run.status, run.output) == ("done", None)
            states = {stage.step: stage.status for stage in await service.stages(CTX, run.id)}
            assert states["price"] == "done"
            assert states["send"] == "skipped"
            assert "after" not in states
        assert sent == []
        assert (await ran(service, "code", 4)).output == 8
    assert sent == [8]


def test_what_cannot_be_kept_or_is_no_graph_is_refused_where_it_is_declared() -> None:
    app = Declared()

    @app.stage()
    def same(number: int) -> int:
        return number

    with pytest.raises(Misconfigured, match="untyped"):

        @app.stage()
        def untyped(number):  # type: ignore[no-untyped-def]
            return number

    with pytest.raises(Misconfigured, match="twice"):
        app.stage("same")(lambda: None)
    with pytest.raises(Misconfigured, match="computes"):

        @app.pipeline("computes")
        def computes(number: int) -> int:
            return same(number) + 1

    with pytest.raises(Misconfigured, match="calls no stage"):

        @app.pipeline("empty")
        def empty(number: int) -> int:
            return number

    with pytest.raises(Misconfigured, match="takes number"):

        @app.pipeline("wrong")
        def wrong(number: int) -> int:
            return same(number, by=2)

    with pytest.raises(Misconfigured, match="gives a list"):

        @app.stage(check=Check(rows=lambda row: None))
        def no_list(number: int) -> int:
            return number

    with pytest.raises(Misconfigured, match="at least once at a time"):

        @app.pipeline("never")
        def never(numbers: list[int]) -> None:
            same.map(numbers, parallel=0)

    assert same(3) == 3
    assert choose(True, lambda: 1, lambda: 2) == 1
