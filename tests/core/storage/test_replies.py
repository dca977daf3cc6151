"""Reads of Redis over a connection of our own: cut anywhere, refused, silent, lost, and shared by many callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("redis", reason="the extra `redis` is not installed")

from stanchion.core.errors import Unavailable
from stanchion.core.storage.keyvalue.redis import RedisKeyValue
from stanchion.core.storage.keyvalue.replies import Replies

Answer = Callable[[list[bytes]], bytes | None]


class Server:
    """Speaks as much of RESP2 as reads need; an answer of None closes the connection."""

    def __init__(self, answer: Answer, *, cut: bool = False) -> None:
        self._answer = answer
        self._cut = cut
        self.connections = 0
        self.asked: list[list[bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readline():
                words = []
                for _ in range(int(head[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                self.asked.append(words)
                reply = self._answer(words)
                if reply is None:
                    break
                for piece in [reply[i : i + 1] for i in range(len(reply))] if self._cut else [reply]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def store(server: Server, place: str = "127.0.0.1:{}/0") -> AsyncIterator[RedisKeyValue]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    made = RedisKeyValue("redis://" + place.format(listening.sockets[0].getsockname()[1]))
    try:
        yield made
    finally:
        await made.close()
        listening.close()


def echo(words: list[bytes]) -> bytes:
    """Each key as its own value; one called `none` has no value."""
    if words[0] != b"MGET":
        return b"+OK\r\n"
    values = [b"$-1\r\n" if key == b"none" else b"$%d\r\n%b\r\n" % (len(key), key) for key in words[1:]]
    return b"*%d\r\n" % len(values) + b"".join(values)


@pytest.mark.parametrize("cut", [False, True])
async def test_values_come_in_order_however_their_bytes_are_cut(cut: bool) -> None:
    async with store(Server(echo, cut=cut)) as kept:
        assert await kept.get(["a", "none", "ü:\r\n$3\r\n*", ""]) == [b"a", None, "ü:\r\n$3\r\n*".encode(), b""]
        assert await kept.get(["none"]) == [None]


async def test_many_callers_share_one_connection_and_each_gets_its_own() -> None:
    server = Server(echo)
    async with store(server) as kept:
        await kept.get(["first"])
        found = await asyncio.gather(*(kept.get([f"{n}", f"{n}" * 100]) for n in range(200)))
    assert found == [[b"%d" % n, b"%d" % n * 100] for n in range(200)]
    assert server.connections == 1


async def test_a_caller_who_left_takes_no_other_ones_reply() -> None:
    async with store(Server(echo)) as kept:
        await kept.get(["first"])
        tasks = [asyncio.create_task(kept.get([f"{n}"])) for n in range(10)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found[1::2] == [[b"%d" % n] for n in range(1, 10, 2)]
    assert all(isinstance(each, asyncio.CancelledError) for each in found[::2])


async def test_the_password_and_the_database_are_told_first() -> None:
    server = Server(echo)
    async with store(server, "ada:s%2Fcret@127.0.0.1:{}/3") as kept:
        assert await kept.get(["a"]) == [b"a"]
    assert server.asked[:2] == [[b"AUTH", b"ada", b"s/cret"], [b"SELECT", b"3"]]


async def test_what_the_server_refuses_is_told_and_nothing_is_lost() -> None:
    replies = iter([b"-LOADING Redis is loading\r\n", None, None])
    async with store(Server(lambda words: next(replies, None))) as kept:
        with pytest.raises(Unavailable, match="LOADING"):
            await kept.get(["a"])
        with pytest.raises(Unavailable):
            await kept.get(["a"])


async def test_a_connection_that_was_lost_is_made_anew() -> None:
    lost = iter([False, True])
    server = Server(lambda words: None if words[0] == b"MGET" and next(lost, False) else echo(words))
    async with store(server) as kept:
        assert [await kept.get(["a"]) for _ in range(4)] == [[b"a"]] * 4


async def test_silence_ends_in_time_and_the_connection_with_it() -> None:
    listening = await asyncio.start_server(Server(lambda words: b"").serve, "127.0.0.1", 0)
    _, link = await asyncio.get_running_loop().create_connection(
        lambda: Replies(0.1), *listening.sockets[0].getsockname()[:2]
    )
    first, second = link.ask(b"MGET", b"a"), link.ask(b"MGET", b"b")
    with pytest.raises(TimeoutError):
        await first
    with pytest.raises(ConnectionError):
        await second
    assert not link.usable()
    listening.close()
