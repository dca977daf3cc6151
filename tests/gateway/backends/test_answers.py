"""What is taken for an answer, against aiohttp's client: the same bodies, and nothing that the other refuses.

To be stricter is fine. `STRICTER` names where the gateway is, and why.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib

import aiohttp
import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.errors import StanchionError
from stanchion.gateway.backends.http import HttpTransport
from stanchion.gateway.contract.specs import UpstreamSpec
from stanchion.gateway.ports import Wire

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
FIVE = b"Content-Length: 5\r\n"
GZIP = b"Content-Encoding: gzip\r\n"
PACKED = gzip.compress(b"a packed body")


def sized(body: bytes, more: bytes = b"") -> bytes:
    return OK + b"Content-Length: %d\r\n%b\r\n%b" % (len(body), more, body)


# Each as a server sends it before it closes the connection.
ANSWERS: dict[str, bytes] = {
    "length": OK + FIVE + b"\r\nhello",
    "no length": OK + b"\r\nhello",
    "nothing": b"",
    "no body": OK + b"Content-Length: 0\r\n\r\n",
    "too short": OK + FIVE + b"\r\nhell",
    "more than its length": OK + FIVE + b"\r\nhello and more",
    "two answers": (OK + FIVE + b"\r\nhello") * 2,
    "two lengths that agree": OK + FIVE * 2 + b"\r\nhello",
    "two lengths that differ": OK + FIVE + b"Content-Length: 4\r\n\r\nhello",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length below nothing": OK + b"Content-Length: -1\r\n\r\nhello",
    "a length with a sign": OK + b"Content-Length: +5\r\n\r\nhello",
    "a length in hexadecimal": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "a length beyond counting": OK + b"Content-Length: 99999999999999999999\r\n\r\nhello",
    "an empty length": OK + b"Content-Length:\r\n\r\nhello",
    "chunks": CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks and a length": CHUNKED + FIVE + b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "a length and chunks": OK + FIVE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks without the last": CHUNKED + b"\r\n5\r\nhello\r\n",
    "chunks without the last line": CHUNKED + b"\r\n5\r\nhello\r\n0\r\n",
    "chunk extensions": CHUNKED + b'\r\n5;a="b"\r\nhello\r\n0;c\r\n\r\n',
    "trailers": CHUNKED + b"Trailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    "a trailer that packs": CHUNKED + b"\r\n5\r\nhello\r\n0\r\nContent-Encoding: gzip\r\n\r\n",
    "a chunk longer than told": CHUNKED + b"\r\n4\r\nhello\r\n0\r\n\r\n",
    "a chunk of no number": CHUNKED + b"\r\nfive\r\nhello\r\n0\r\n\r\n",
    "a chunk below nothing": CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n",
    "a chunk in 0x": CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk beyond counting": CHUNKED + b"\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "chunks by line feeds": CHUNKED + b"\r\n5\nhello\n0\n\n",
    "chunks told twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "gzip and chunks": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "another transfer": OK + b"Transfer-Encoding: identity\r\n\r\nhello",
    "chunks of 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "2.0": b"HTTP/2.0 200 OK\r\n" + FIVE + b"\r\nhello",
    "3.7": b"HTTP/3.7 200 OK\r\n" + FIVE + b"\r\nhello",
    "no version": b"200 OK\r\n" + FIVE + b"\r\nhello",
    "no reason": b"HTTP/1.1 200\r\n" + FIVE + b"\r\nhello",
    "status of two digits": b"HTTP/1.1 20 OK\r\n" + FIVE + b"\r\nhello",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n" + FIVE + b"\r\nhello",
    "status of nothing": b"HTTP/1.1 000 OK\r\n" + FIVE + b"\r\nhello",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + FIVE + b"\r\nhello",
    "hints with a body": b"HTTP/1.1 104 X\r\nContent-Length: 4\r\n\r\nevil" + OK + FIVE + b"\r\nhello",
    "only hints": b"HTTP/1.1 100 Continue\r\n\r\n",
    "204 with a body": b"HTTP/1.1 204 No Content\r\n" + FIVE + b"\r\nhello",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\n" + FIVE + b"\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nhello",
    "an error with a body": b"HTTP/1.1 500 No\r\n" + FIVE + b"\r\nhello",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n" + FIVE + b"\r\nhello",
    "an empty header": OK + b"X-Empty:\r\nX-Spaces:   \r\n" + FIVE + b"\r\nhello",
    "a folded header": OK + b"X-A: one\r\n two\r\n" + FIVE + b"\r\nhello",
    "space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "a header without a colon": OK + b"nonsense\r\n" + FIVE + b"\r\nhello",
    "a header without a name": OK + b": x\r\n" + FIVE + b"\r\nhello",
    "a zero in a header": OK + b"X-A: a\0b\r\n" + FIVE + b"\r\nhello",
    "a return in a header": OK + b"X-A: a\rX-B: b\r\n" + FIVE + b"\r\nhello",
    "line feeds alone": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "a line before": b"\r\n" + OK + FIVE + b"\r\nhello",
    "a long header": OK + b"X-A: " + b"a" * 200_000 + b"\r\n" + FIVE + b"\r\nhello",
    "a header without end": OK + b"X-A: " + b"a" * 1_000_000,
    "a trailer without end": CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX-A: " + b"a" * 1_000_000,
    "another protocol": b"220 mail.example.org ESMTP\r\n",
    "gzip": sized(PACKED, GZIP),
    "deflate": sized(zlib.compress(b"a packed body"), b"Content-Encoding: deflate\r\n"),
    "gzip cut": sized(PACKED[:-9], GZIP),
    "gzip that is none": sized(b"hello", GZIP),
    "two of gzip": sized(PACKED * 2, GZIP),
    "gzip and more": sized(PACKED + b"more", GZIP),
    "gzip of nothing": sized(b"", GZIP),
    "plain by name": sized(b"hello", b"Content-Encoding: IDENTITY\r\n"),
    "unknown packing": sized(b"hello", b"Content-Encoding: sdch\r\n"),
}  # fmt: skip

Found = tuple[int, bytes] | None


async def gateways(port: int) -> Found:
    async def reveal(reference: str) -> str:
        return ""

    spec = UpstreamSpec(name="up", kind="openai", url=f"http://127.0.0.1:{port}", seconds=30)
    link = HttpTransport(spec, clock=SystemClock(), secrets=reveal)
    try:
        async with link.send(Context("t1", "key:test"), Wire("/x", b"{}")) as response:
            return response.status, await response.read()
    except StanchionError:
        return None
    finally:
        await link.close()


async def aiohttps(port: int) -> Found:
    limit = aiohttp.ClientTimeout(total=30)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(f"http://127.0.0.1:{port}/x", data=b"{}", allow_redirects=False) as response,
        ):
            return response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError):
        return None


STRICTER = {
    "two answers": "the second may be somebody else's",
    "gzip and chunks": "a body that is packed on the way only, and was not asked for so",
    "another transfer": "the same",
    "status of nothing": "no status of HTTP",
    "hints with a body": "its body could be taken for the answer's",
    "upgrade": "nothing else was asked for",
    "a folded header": "readers differ on what it says",
    "space before the colon": "readers differ on whose length it is",
    "line feeds alone": "readers differ on where a line ends",
    "gzip cut": "half of a body",
    "two of gzip": "one body was asked for",
    "unknown packing": "it would be handed on packed",
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_the_gateway_takes_no_more_than_aiohttp_and_the_same_bodies(name: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(ANSWERS[name])
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        ours, theirs = await gateways(port), await aiohttps(port)
    finally:
        server.close()
    if name in STRICTER:
        assert ours is None
        assert theirs is not None
    else:
        assert ours == theirs
