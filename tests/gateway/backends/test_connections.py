"""The gateway's own connections to upstreams: kept, bounded, and never out of step with what was asked."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.errors import DeadlineExceeded, StanchionError, Unavailable
from stanchion.gateway.backends.http import HttpTransport
from stanchion.gateway.contract.specs import UpstreamSpec
from stanchion.gateway.ports import Wire

CTX = Context("t1", "key:test")
WIRE = Wire("/chat/completions", b'{"model": "m"}')
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server that answers each request with the next of its scripts, to the byte; `None` closes the connection."""

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self._scripts = list(scripts)
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                for piece in self._scripts.pop(0):
                    if piece is None:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)  # so that the pieces are read apart
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def reached(serve: Serve, **more: Any) -> AsyncIterator[HttpTransport]:
    async def reveal(reference: str) -> str:
        return "k-1"

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    made = HttpTransport(UpstreamSpec(name="up", kind="openai", url=url, **more), clock=SystemClock(), secrets=reveal)
    try:
        yield made
    finally:
        await made.close()
        server.close()


async def read(link: HttpTransport, wire: Wire = WIRE) -> tuple[int, bytes]:
    async with link.send(CTX, wire) as response:
        return response.status, await response.read()


def whole(body: bytes, head: bytes = b"") -> list[bytes | None]:
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), head, body)]


async def test_one_connection_serves_call_after_call() -> None:
    server = Scripted(whole(b"one"), whole(b"two"), [b"HTTP/1.1 204 No Content\r\n\r\n"], whole(b"four"))
    async with reached(server.serve) as link:
        assert [await read(link) for _ in range(4)] == [(200, b"one"), (200, b"two"), (204, b""), (200, b"four")]
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert server.requests[0].endswith(b"\r\n\r\n" + WIRE.body)


async def test_chunks_cut_anywhere_are_put_together() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer += b"4\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\n\r\n"
    server = Scripted([bytes([each]) for each in answer], [answer])
    async with reached(server.serve) as link:
        assert await read(link) == await read(link) == (200, b"Wikipedia in \r\n\r\nchunks.")
    assert server.connections == 1


async def test_what_is_told_before_the_answer_is_passed_over() -> None:
    server = Scripted([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", *whole(b"one")])
    async with reached(server.serve) as link:
        assert await read(link) == (200, b"one")


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    server = Scripted([b"HTTP/1.1 200 OK\r\n\r\none ", b"two", None], whole(b"three"))
    async with reached(server.serve) as link:
        assert await read(link) == (200, b"one two")
        assert await read(link) == (200, b"three")
    assert server.connections == 2


async def test_an_answer_that_wants_its_connection_closed_is_the_last_on_it() -> None:
    server = Scripted(whole(b"one", b"Connection: close\r\n"), whole(b"two"))
    async with reached(server.serve) as link:
        assert [await read(link), await read(link)] == [(200, b"one"), (200, b"two")]
    assert server.connections == 2


@pytest.mark.parametrize(
    "script",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", None],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", None],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n"],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf"],
        [b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nhalf"],
        [*whole(gzip.compress(b"a whole answer")[:-9], b"Content-Encoding: gzip\r\n")],
        [*whole(gzip.compress(bytes(1 << 20)), b"Content-Encoding: gzip\r\n")],
        [*whole(bytes(70_000))],
        [b"220 mail.example.org ESMTP\r\n"],
        [None],
    ],
    ids=[
        "cut length", "cut chunks", "bad chunk", "two lengths", "long head", "upgrade", "bad gzip", "brotli",
        "cut gzip", "gzip bomb", "too long", "another protocol", "nothing",
    ],
)  # fmt: skip
async def test_what_is_no_whole_answer_is_an_error_and_spoils_no_other(script: list[bytes | None]) -> None:
    server = Scripted(script, whole(b"fine"))
    async with reached(server.serve, most_bytes=65_536) as link:
        with pytest.raises(Unavailable):
            await read(link)
        assert await read(link) == (200, b"fine")


async def test_what_nobody_asked_for_is_never_taken_for_the_next_answer() -> None:
    server = Scripted([*whole(b"one"), *whole(b"smuggled")], [*whole(b"two")], whole(b"three"))
    async with reached(server.serve) as link:
        found = []
        for _ in range(3):
            try:
                found.append((await read(link))[1])
            except Unavailable:
                found.append(b"")
    assert b"smuggled" not in found


async def test_a_packed_body_is_unpacked() -> None:
    server = Scripted(whole(gzip.compress(b"words " * 500), b"content-encoding: gzip\r\n"))
    async with reached(server.serve) as link:
        assert await read(link) == (200, b"words " * 500)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_asked() -> None:
    server = Scripted([*whole(b"one"), None], whole(b"two"))
    async with reached(server.serve) as link:
        assert await read(link) == (200, b"one")
        while server.connections < 2:
            try:
                assert await read(link) == (200, b"two")
            except Unavailable:
                continue  # asked at the very moment at which it was closed


async def test_silence_ends_with_the_time_of_the_upstream() -> None:
    server = Scripted([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"], [b""], whole(b"fine"))
    async with reached(server.serve, seconds=0.2) as link:
        for _ in range(2):
            with pytest.raises(DeadlineExceeded):
                await read(link)


async def test_what_came_before_the_break_is_given_first() -> None:
    server = Scripted([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n", b"3\r\ntwo\r\n", None])
    found = b""
    async with reached(server.serve) as link, link.send(CTX, WIRE) as response:
        with pytest.raises(Unavailable):
            async for piece in response.pieces():
                found += piece
    assert found == b"onetwo"


async def test_calls_beyond_the_limit_wait_for_a_connection() -> None:
    running = most = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        while await reader.read(65_536):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            writer.write(whole(b"fine")[0] or b"")
        writer.close()

    async with reached(serve, concurrency=2) as link:
        found = await asyncio.gather(*(read(link) for _ in range(9)))
    assert found == [(200, b"fine")] * 9
    assert most == 2


async def test_a_caller_who_leaves_gives_the_place_back_and_leaves_no_answer_behind() -> None:
    server = Scripted([b""], *[whole(b"%d" % number) for number in range(3)])
    async with reached(server.serve, concurrency=1) as link:
        task = asyncio.create_task(read(link))
        while not server.requests:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [await read(link) for _ in range(3)] == [(200, b"0"), (200, b"1"), (200, b"2")]
    assert server.connections == 2


async def test_a_sender_waits_for_a_reader_who_is_slow() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        for _ in range(1024):
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536
        writer.close()

    async with reached(serve, most_bytes=1 << 27) as link, link.send(CTX, WIRE) as response:
        before = -1
        while sent > before:  # until the sender stands still
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 60 << 20
        assert len(await response.read()) == 1 << 26


@pytest.mark.parametrize(
    "wire",
    [
        Wire("/x HTTP/1.1\r\nHost: evil", b""),
        Wire("/x y", b""),
        Wire("/x", b"", {"anthropic-beta": "a\r\nx-evil: 1"}),
        Wire("/x", b"", {"anthropic-beta": "a\nb"}),
        Wire("/x", b"", {"bad name": "a"}),
        Wire("/x", b"", {"bad:name": "a"}),
        Wire("/x", b"", {"n": "a\0"}),
    ],
)
async def test_nothing_that_is_sent_can_make_another_request_of_it(wire: Wire) -> None:
    server = Scripted(whole(b"fine"))
    async with reached(server.serve) as link:
        with pytest.raises(StanchionError):
            await read(link, wire)
    assert not server.requests


async def test_where_nobody_listens_there_is_nothing_to_be_had() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    async def reveal(reference: str) -> str:
        return ""

    spec = UpstreamSpec(name="up", kind="openai", url=f"http://127.0.0.1:{port}/v1")
    link = HttpTransport(spec, clock=SystemClock(), secrets=reveal)
    with pytest.raises(Unavailable):
        await read(link)


@pytest.mark.parametrize(
    "begun",
    [b"X-A: ", b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"Transfer-Encoding: chunked\r\n\r\n5;a="],
    ids=["header", "trailer", "chunk"],
)
async def test_what_has_no_end_is_not_gathered(begun: bytes) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            await reader.readuntil(b"\r\n\r\n" + WIRE.body)
            writer.write(b"HTTP/1.1 200 OK\r\n" + begun)
            while True:
                writer.write(b"a" * 65_536)
                await writer.drain()
                sent += 65_536
        except ConnectionError:
            writer.close()

    async with reached(serve, seconds=60) as link:
        with pytest.raises(Unavailable, match="head is too long"):
            await read(link)
    assert sent < 32 << 20


async def test_an_answer_that_nobody_reads_holds_up_no_other() -> None:
    server = Scripted(whole(bytes(300_000)), whole(b"fine"))
    async with reached(server.serve, seconds=60) as link:
        async with link.send(CTX, WIRE):
            await asyncio.sleep(0.1)  # all of it has come, and its sender was told to wait
        assert await read(link) == (200, b"fine")


async def test_an_answer_before_the_request_was_taken_ends_its_connection() -> None:
    connections = 0
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n" if connections == 1 else FINE)
        await over.wait()
        writer.close()

    async with reached(serve, seconds=60) as link:
        assert await read(link, Wire("/x", bytes(64 << 20))) == (413, b"")
        assert await read(link) == (200, b"fine")
        over.set()
    assert connections == 2


async def test_a_url_without_a_path_is_asked_for_its_root() -> None:
    server = Scripted(whole(b"fine"))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def reveal(reference: str) -> str:
        return ""

    link = HttpTransport(UpstreamSpec(name="up", kind="compatible", url=url), clock=SystemClock(), secrets=reveal)
    assert await read(link, Wire("", WIRE.body)) == (200, b"fine")
    assert server.requests[0].startswith(b"POST / HTTP/1.1\r\n")
    await link.close()
    listening.close()


async def test_the_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = Scripted(whole(b"fine"))
    async with reached(server.serve) as link:
        assert await read(link) == (200, b"fine")
