"""The far side is one more backend: the same answers, the same errors, the same streams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest
import uvicorn
from starlette.applications import Starlette

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.contract import action
from stanchion.core.errors import Conflict, DeadlineExceeded, FieldProblem, InvalidInput, NotAuthenticated, Unavailable
from stanchion.core.remote import Inspector, Issuer, Line, connect, serve
from stanchion.core.remote.client import watched_socket


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    values: Mapping[str, float]
    note: bytes = b""


class Store(Protocol):
    @action("store:put", effect="write", resource="Row")
    async def put(self, ctx: Context, rows: Sequence[Row], *, replace: bool = False) -> int: ...

    @action("store:who", effect="read", resource="Row")
    async def who(self, ctx: Context) -> list[str]: ...

    @action("store:fail", effect="read", resource="Row")
    async def fail(self, ctx: Context, kind: str) -> None: ...

    @action("store:slow", effect="read", resource="Row", seconds=0.1)
    async def slow(self, ctx: Context) -> None: ...

    @action("store:hold", effect="read", resource="Row")
    async def hold(self, ctx: Context) -> None: ...

    @action("store:count", effect="read", resource="Row")
    def count(self, ctx: Context, to: int, *, fail_at: int = -1) -> AsyncIterator[Row]: ...


class Service(Store):
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.left = asyncio.Event()
        self.begun = 0

    async def put(self, ctx: Context, rows: Sequence[Row], *, replace: bool = False) -> int:
        self.rows = [*([] if replace else self.rows), *rows]
        return len(self.rows)

    async def who(self, ctx: Context) -> list[str]:
        return [ctx.tenant, ctx.principal, *sorted(ctx.rights.roles), ctx.request_id]

    async def fail(self, ctx: Context, kind: str) -> None:
        if kind == "conflict":
            raise Conflict("taken", next_step="Take another.")
        raise InvalidInput("bad", fields=[FieldProblem("$.a[0]", "too long")])

    async def slow(self, ctx: Context) -> None:
        await asyncio.Event().wait()

    async def hold(self, ctx: Context) -> None:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()

    async def count(self, ctx: Context, to: int, *, fail_at: int = -1) -> AsyncIterator[Row]:
        try:
            for number in range(to):
                if number == fail_at:
                    raise Conflict("stopped")
                yield Row(str(number), {"n": float("nan") if number == 1 else number}, note=b"\x00\xff")
        finally:
            self.left.set()


class Passports(Issuer, Inspector):
    """Passports for tests: kept in a table instead of signed."""

    def __init__(self) -> None:
        self.issued: dict[str, Context] = {}

    def issue(self, ctx: Context, audience: str) -> str:
        self.issued[ctx.request_id] = ctx
        return ctx.request_id

    def inspect(self, passport: str, peer: str | None) -> Context:
        if passport not in self.issued:
            raise NotAuthenticated("unknown passport")
        return self.issued[passport]


CTX = Context(tenant="a", principal="key:1", rights=Rights(roles=frozenset({"viewer"})))


@dataclass
class Far:
    store: Store
    service: Service
    line: Line
    server: uvicorn.Server


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    service, passports = Service(), Passports()
    app = Starlette(routes=serve("store", Store, service, passports))
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started:
        await asyncio.sleep(0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    line = Line(url, audience="far", issuer=passports, clock=SystemClock())
    yield Far(connect("store", Store, line), service, line, server)
    await line.close()
    server.should_exit = True
    await task


async def test_a_call_travels_with_its_types_and_its_caller(far: Far) -> None:
    rows = [Row("x", {"a": 1.5}, note=b"\x00\x01"), Row("y", {})]
    assert await far.store.put(CTX, rows) == 2
    assert far.service.rows == rows
    assert await far.store.put(CTX, rows, replace=True) == 2
    assert await far.store.who(CTX) == ["a", "key:1", "viewer", CTX.request_id]


async def test_an_error_of_the_far_side_is_raised_here_as_it_was(far: Far) -> None:
    with pytest.raises(Conflict) as conflict:
        await far.store.fail(CTX, "conflict")
    assert (conflict.value.detail, conflict.value.hint) == ("taken", "Take another.")
    with pytest.raises(InvalidInput) as invalid:
        await far.store.fail(CTX, "input")
    assert invalid.value.fields == (FieldProblem("$.a[0]", "too long"),)


async def test_a_stream_arrives_whole_and_ends(far: Far) -> None:
    rows = [row async for row in far.store.count(CTX, 1000)]
    assert [row.key for row in rows] == [str(n) for n in range(1000)]
    assert rows[0].note == b"\x00\xff" and rows[1].values["n"] != rows[1].values["n"]


async def test_an_error_inside_a_stream_arrives_after_the_items_before_it(far: Far) -> None:
    got = []
    with pytest.raises(Conflict, match="stopped"):
        async for row in far.store.count(CTX, 10, fail_at=3):
            got.append(row.key)
    assert got == ["0", "1", "2"]


async def test_leaving_a_stream_ends_it_on_the_far_side(far: Far) -> None:
    stream = far.store.count(CTX, 10_000_000)
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(60):
        await far.service.left.wait()


async def test_a_deadline_holds_across_the_line(far: Far) -> None:
    with pytest.raises(DeadlineExceeded):
        await far.store.who(CTX.until(SystemClock().monotonic() - 1))


async def test_a_far_side_that_is_gone_is_unavailable() -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    bound.close()
    line = Line(f"http://127.0.0.1:{port}", audience="far", issuer=Passports(), clock=SystemClock())
    store = connect("store", Store, line)
    with pytest.raises(Unavailable):
        await store.who(CTX)
    with pytest.raises(Unavailable):
        await anext(store.count(CTX, 1))
    await line.close()


async def test_a_far_side_that_takes_no_connection_is_unavailable() -> None:
    # Linux drops what comes when a backlog of none holds its one connection.
    with socket.socket() as deaf, socket.socket() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting.connect(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        line = Line(url, audience="far", issuer=Passports(), clock=SystemClock(), connect_seconds=0.2)
        store = connect("store", Store, line)
        with pytest.raises(Unavailable, match="takes no connection"):
            await store.who(CTX)
        with pytest.raises(Unavailable, match="takes no connection"):
            await anext(store.count(CTX, 1))
        with pytest.raises(DeadlineExceeded):
            await store.who(CTX.until(SystemClock().monotonic() + 0.05))
        await line.close()


async def test_a_methods_own_limit_holds_even_if_the_far_side_does_not_keep_it(far: Far) -> None:
    # No gate is there to end it, as in a process that is frozen.
    with pytest.raises(DeadlineExceeded):
        await far.store.slow(CTX)


async def test_a_caller_that_goes_away_cancels_its_call_on_the_far_side(far: Far) -> None:
    call = asyncio.ensure_future(far.store.hold(CTX))
    while not far.service.begun:
        await asyncio.sleep(0)
    call.cancel()
    async with asyncio.timeout(60):
        await far.service.left.wait()
    assert await far.store.who(CTX)


async def test_a_connection_is_watched_while_nothing_is_said() -> None:
    with watched_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


async def test_a_stream_cut_in_the_middle_is_unavailable_and_never_looks_complete() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.msgpack\r\nconnection: close\r\n\r\n\x00\x00")
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = Line(f"http://127.0.0.1:{port}", audience="far", issuer=Passports(), clock=SystemClock())
    with pytest.raises(Unavailable, match="broke off"):
        [row async for row in connect("store", Store, line).count(CTX, 5)]
    await line.close()
    server.close()


async def test_a_call_without_a_passport_or_with_foreign_bytes_is_refused(far: Far) -> None:
    session = far.line.session()
    async with session.post(far.line.url + "/store/who", data=b"\x80") as answer:
        assert answer.status == 401
    headers = far.line.headers(CTX)
    async with session.post(far.line.url + "/store/fail", data=b"garbage", headers=headers) as answer:
        assert answer.status == 400
