"""A batch that expires, whose process changes, whose file goes; what is kept is sealed, and swept in its time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, InvalidInput, NotFound, PayloadTooLarge
from stanchion.core.security.tables import SECURITY_SCHEMA, api_keys
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage import Blobs, Database
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.core.storage.schema import Schema
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.gateway import Account, Ask, CallBatch, CallBatchOrder, Gateway, Reply, Usage
from stanchion.gateway.batches.desk import BatchDesk, BatchLimits
from stanchion.gateway.batches.tables import metadata

from .conftest import chat, line

CTX = Context("t1", "key:ada", Rights(frozenset({"predictor"}), limit=frozenset({"gateway:*"}))).labelled("internal")
ENDPOINT = "/v1/chat/completions"
Says = Callable[[Context, Ask], Awaitable[None]]


class Moving(SystemClock):
    """The machine's clock, and what a test adds to its date."""

    def __init__(self) -> None:
        self.later = timedelta()

    def now(self) -> Any:
        return super().now() + self.later


class Book:
    """Keeps ledger rows in a list."""

    def __init__(self) -> None:
        self.full = False
        self.rows: list[LedgerRow] = []

    def write(self, row: LedgerRow) -> None:
        self.rows.append(row)


class Door:
    """Stands where the gated gateway does."""

    def __init__(self, says: Says | None = None) -> None:
        self.asked: list[tuple[Context, Ask]] = []
        self.says = says

    async def complete(self, ctx: Context, ask: Ask) -> Reply:
        self.asked.append((ctx, ask))
        if self.says is not None:
            await self.says(ctx, ask)
        return Reply(b'{"said": true}', Account("u", "m", "primary", usage=Usage(3, 4), cost=5))


@dataclass
class Bench:
    """One database; desks are processes over it."""

    database: Database
    blobs: Blobs
    vault: Vault
    clock: Moving
    book: Book

    @asynccontextmanager
    async def desk(self, door: Door, **limits: Any) -> AsyncIterator[BatchDesk]:
        made = BatchLimits(**{"lease": 0.5, "poll": 0.05, "grace": 1.0, **limits})
        desk = BatchDesk(self.database, self.blobs, self.vault, self.clock, limits=made)
        gateway: Any = door
        desk.enter(gateway, self.book)
        await desk.start()
        try:
            yield desk
        finally:
            await desk.stop()


@pytest.fixture(params=["memory", "postgres"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    clock = Moving()
    url = "memory:" if request.param == "memory" else request.getfixturevalue("postgres_url")
    database, blobs = open_database(url), open_blobs("memory:")
    await database.prepare(SECURITY_SCHEMA)
    await database.prepare(Schema("gateway_batches", metadata))
    yield Bench(database, blobs, Vault(database, MasterKeys.single(bytes(32)), clock=clock), clock, Book())
    await blobs.close()
    await database.close()


async def begun(desk: BatchDesk, count: int, ctx: Context = CTX, **more: Any) -> CallBatch:
    content = "\n".join(line(f"q{n}", chat(f"{n}")) for n in range(count)).encode()
    file = await desk.add_file(ctx, "calls.jsonl", content)
    return await desk.create_batch(ctx, CallBatchOrder(file.id, ENDPOINT, **more))


async def reached(desk: BatchDesk, batch: CallBatch, *states: str) -> CallBatch:
    while (found := await desk.batch(CTX, batch.id)).state not in states:
        await asyncio.sleep(0.01)
    return found


async def lines(desk: BatchDesk, file: str) -> list[Any]:
    return [json.loads(each) for each in b"".join([p async for p in desk.file_content(CTX, file)]).splitlines()]


async def test_a_line_is_called_as_its_author_with_the_bytes_of_its_body(bench: Bench) -> None:
    door = Door()
    body = '{"model":  "gpt", "messages": [], "unknown": 1e3}'
    raw = f'{{"custom_id": "a", "method": "POST", "url": "{ENDPOINT}", "body": {body}}}'.encode()
    async with bench.desk(door) as desk:
        file = await desk.add_file(CTX, "calls.jsonl", b"\xef\xbb\xbf" + raw + b"\r\n")
        batch = await desk.create_batch(CTX, CallBatchOrder(file.id, ENDPOINT, tags={"team": "law"}))
        found = await reached(desk, batch, "completed")
    [(ctx, ask)] = door.asked
    assert (ctx.tenant, ctx.principal, ctx.rights, ctx.labels) == (CTX.tenant, CTX.principal, CTX.rights, CTX.labels)
    assert ctx.request_id != CTX.request_id
    assert (ask.body, ask.tags) == (body.encode(), {"team": "law", "batch": batch.id})
    assert (found.completed, found.usage.tokens_out, found.cost) == (1, 4, 5)
    assert [(row.route, row.outcome, row.tokens_in) for row in bench.book.rows] == [(f"BATCH {ENDPOINT}", "ok", 3)]


@pytest.mark.parametrize("way", ["revoked", "expired", "rights"])
async def test_what_a_key_loses_later_the_lines_that_are_left_lose_as_well(bench: Bench, way: str) -> None:
    values: dict[str, Any] = {"tenant": "t1", "id": "ada", "name": "ada", "digest": b"", "created_by": "test"}
    values |= {"roles": "predictor reader", "scopes": "gateway:*", "created_at": 0}
    await bench.database.write(CTX, lambda c: c.execute(api_keys.insert().values(values)))
    lost = {"revoked": {"revoked_at": 1}, "expired": {"expires_at": 1}, "rights": {"roles": "reader"}}[way]

    async def third(ctx: Context, ask: Ask) -> None:
        if b'"2"' in ask.body:
            change = api_keys.update().where(api_keys.c.id == "ada").values(lost)
            await bench.database.write(CTX, lambda c: c.execute(change))

    door = Door(third)
    async with bench.desk(door, parallel=1) as desk:
        found = await reached(desk, await begun(desk, 6), "completed", "failed")
        told = await lines(desk, found.error_file) if found.error_file else []
    asked = [ctx.rights.roles for ctx, _ in door.asked]
    assert asked[:3] == [CTX.rights.roles] * 3
    if way == "rights":
        # The gate judges what is left of them; the role that the order did not have is not given to it.
        assert asked[3:] == [frozenset()] * 3
        return
    assert (len(asked), found.state, found.completed, found.failed) == (3, "completed", 3, 3)
    assert [row["custom_id"] for row in told] == ["q3", "q4", "q5"]
    for row in told:
        assert (row["response"]["status_code"], row["error"]["code"]) == (401, "not_authenticated")
        assert row["response"]["body"]["error"]["code"] == "not_authenticated"
        assert "was revoked or has expired" in row["error"]["message"]
    assert [row.outcome for row in bench.book.rows] == ["ok"] * 3 + ["not_authenticated"] * 3


async def test_an_expired_batch_tells_of_each_line_that_was_not_tried(bench: Bench) -> None:
    go = asyncio.Event()

    async def slow(ctx: Context, ask: Ask) -> None:
        await go.wait()

    door = Door(slow)
    bench.clock.later = timedelta()
    async with bench.desk(door, parallel=2) as desk:
        batch = await begun(desk, 5)
        while len(door.asked) < 2:
            await asyncio.sleep(0.01)
    # Its process ended; the next one comes too late for the rest.
    assert await desk.batch(CTX, batch.id)
    bench.clock.later = timedelta(hours=25)
    go.set()
    async with bench.desk(door) as desk:
        found = await reached(desk, batch, "expired")
        told = await lines(desk, found.error_file)
    assert (found.total, found.completed + found.failed) == (5, 5)
    assert {row["error"]["code"] for row in told} == {"batch_expired"}
    assert len(told) == found.failed == 5 - found.completed


async def test_a_process_that_ends_lets_its_calls_end_and_leaves_the_rest(bench: Bench) -> None:
    async def slow(ctx: Context, ask: Ask) -> None:
        await asyncio.sleep(0.05)

    first, second = Door(slow), Door()
    async with bench.desk(first, parallel=2) as desk:
        batch = await begun(desk, 20)
        while len(first.asked) < 3:
            await asyncio.sleep(0.01)
    async with bench.desk(second) as desk:
        found = await reached(desk, batch, "completed")
    assert found.completed == 20
    assert len(first.asked) + len(second.asked) == 20


async def test_a_cancelled_batch_that_nobody_works_on_is_ended_by_the_next_process(bench: Bench) -> None:
    async with bench.desk(Door(), at_once=0) as desk:
        batch = await begun(desk, 3)
        assert (await desk.cancel_batch(CTX, batch.id)).state == "cancelling"
    door = Door()
    async with bench.desk(door) as desk:
        found = await reached(desk, batch, "cancelled")
    assert (found.output_file, door.asked) == ("", [])


async def test_batches_of_tenants_go_on_side_by_side(bench: Bench) -> None:
    go = asyncio.Event()

    async def held(ctx: Context, ask: Ask) -> None:
        if ctx.tenant == "t1":
            await go.wait()

    door = Door(held)
    async with bench.desk(door, at_once=2, parallel=4) as desk:
        for _ in range(5):
            await begun(desk, 2)
        other = replace(CTX, tenant="t2")
        late = await begun(desk, 2, other)
        while (await desk.batch(other, late.id)).state != "completed":
            if await desk.batches(CTX) and not go.is_set() and len(door.asked) >= 4:
                go.set()
            await asyncio.sleep(0.01)
        with pytest.raises(NotFound):
            await desk.batch(CTX, late.id)


async def test_what_lies_in_blobs_and_rows_is_sealed(bench: Bench) -> None:
    async with bench.desk(Door()) as desk:
        found = await reached(desk, await begun(desk, 2), "completed")
        names = [name async for name in bench.blobs.list("gateway/")]
        assert len(names) == 2
        for name in names:
            sealed = await bench.blobs.get(name)
            assert b"custom_id" not in sealed
            assert b"said" not in sealed
        assert found.output_file


async def test_files_are_swept_in_their_time_and_not_while_a_batch_reads_them(bench: Bench) -> None:
    async with bench.desk(Door(), at_once=0) as desk:
        await begun(desk, 1)
        await desk.add_file(CTX, "other.jsonl", b"{}", keep_seconds=60)
    bench.clock.later = timedelta(days=31)
    async with bench.desk(Door(), at_once=0):
        while len([name async for name in bench.blobs.list("gateway/")]) > 1:
            await asyncio.sleep(0.01)
    async with bench.desk(Door()) as desk:
        [batch] = await desk.batches(CTX)
        await reached(desk, batch, "expired")
    bench.clock.later = timedelta(days=70)
    async with bench.desk(Door()) as desk:
        while await desk.batches(CTX):
            await asyncio.sleep(0.01)
        assert [name async for name in bench.blobs.list("gateway/")] == []


async def test_limits_hold(bench: Bench) -> None:
    async with bench.desk(Door(), most_bytes=100, lines=2) as desk:
        with pytest.raises(PayloadTooLarge):
            await desk.add_file(CTX, "big.jsonl", b"x" * 101)
        file = await desk.add_file(CTX, "many.jsonl", b"{}\n{}\n{}")
        found = await reached(desk, await desk.create_batch(CTX, CallBatchOrder(file.id, ENDPOINT)), "failed")
        assert [fault.code for fault in found.faults] == ["too_many_lines"]
        for wrong in ({"metadata": {str(n): "" for n in range(17)}}, {"tags": {"batch": "mine"}}):
            with pytest.raises(InvalidInput):
                await desk.create_batch(CTX, CallBatchOrder(file.id, ENDPOINT, **wrong))
        with pytest.raises(Conflict):
            await desk.cancel_batch(CTX, found.id)


async def test_without_a_model_no_batch_is_begun(bench: Bench) -> None:
    desk = BatchDesk(bench.database, bench.blobs, bench.vault, bench.clock)
    file = await desk.add_file(CTX, "calls.jsonl", b"{}")
    with pytest.raises(Conflict, match="no batch is worked off"):
        await desk.create_batch(CTX, CallBatchOrder(file.id, ENDPOINT))


def test_the_stand_in_has_what_a_batch_asks_of_its_door() -> None:
    assert Door.complete.__name__ in Gateway.__dict__
