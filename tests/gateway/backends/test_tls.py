"""Upstreams over TLS: whom the gateway believes, what others get of it (nothing), and ends that nobody vouches for."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.errors import DeadlineExceeded, Misconfigured, Unavailable
from stanchion.gateway.backends.http import HttpTransport
from stanchion.gateway.backends.pool import place_of
from stanchion.gateway.contract.specs import Credential, UpstreamSpec
from stanchion.gateway.ports import Wire

CTX = Context("t1", "key:test")
WIRE = Wire("/chat/completions", b'{"model": "m"}')
DAY = datetime.timedelta(days=1)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Authority:
    """An authority of certificates, and what it vouched for."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = self._built(self._name, self._key.public_key(), after=10 * DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _built(self, name: x509.Name, key: Any, *, after: datetime.timedelta) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        return (
            made.serial_number(x509.random_serial_number()).not_valid_before(now - 9 * DAY).not_valid_after(now + after)
        )

    def context(self, *names: str, after: datetime.timedelta = DAY) -> ssl.SSLContext:
        """For a server whose certificate holds these names until then."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._built(x509.Name([]), key.public_key(), after=after)
        held = [
            x509.DNSName(name) if name[-1].isalpha() else x509.IPAddress(ipaddress.ip_address(name)) for name in names
        ]
        made = made.add_extension(x509.SubjectAlternativeName(held), critical=True)
        path = self._folder / f"server-{x509.random_serial_number()}.pem"
        path.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def known(folder: Path) -> Authority:
    return Authority(folder, "known")


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Authority:
    return Authority(folder, "stranger")


@pytest.fixture(autouse=True)
def trusted(known: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(known.path))


@dataclass
class Cut:
    """The connection ends here: `told` by TLS, or cut off beneath it; `half` leaves the server's end of it reading."""

    told: bool = True
    half: bool = False


class Speaker:
    """A server of TLS over plain sockets, whose end of a connection is in its own hands.

    Each request is answered by the next script, to the byte. What it was asked is kept, and under which names.
    """

    def __init__(self, context: ssl.SSLContext, *scripts: list[bytes | Cut]) -> None:
        self._context, self._scripts = context, list(scripts)
        self.connections = 0
        self.requests: list[bytes] = []
        self.names: list[str | None] = []
        self.spoken: list[str | None] = []
        self.closed = asyncio.Event()
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = lambda _tls, name, _context: self.names.append(name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(inward, outward, server_side=True)

        async def done(act: Any, *given: Any) -> Any:
            while True:
                try:
                    found = act(*given)
                except ssl.SSLWantReadError:
                    writer.write(outward.read())
                    more = await reader.read(65_536)
                    if not more:
                        raise ConnectionResetError from None
                    inward.write(more)
                else:
                    writer.write(outward.read())
                    await writer.drain()
                    return found

        try:
            await done(tls.do_handshake)
            self.spoken.append(tls.selected_alpn_protocol())
            while True:
                request = b""
                while not request.endswith(WIRE.body):
                    request += await done(tls.read, 65_536)
                self.requests.append(request)
                for piece in self._scripts.pop(0):
                    if isinstance(piece, bytes):
                        await done(tls.write, piece)
                        continue
                    if piece.told:
                        with pytest.raises(ssl.SSLWantReadError):
                            tls.unwrap()
                        writer.write(outward.read())
                    if piece.half:
                        await reader.read()
                    return
        except (OSError, IndexError):
            pass
        finally:
            writer.close()
            self.closed.set()


@asynccontextmanager
async def reached(speaker: Speaker, host: str = "localhost", **more: Any) -> AsyncIterator[HttpTransport]:
    async def reveal(reference: str) -> str:
        return "k-1"

    server = await asyncio.start_server(speaker.serve, "::1" if ":" in host else "127.0.0.1", 0)
    url = f"https://{host}:{server.sockets[0].getsockname()[1]}/v1"
    spec = UpstreamSpec(name="up", kind="openai", url=url, credential=Credential("env:KEY"), **more)
    made = HttpTransport(spec, clock=SystemClock(), secrets=reveal)
    try:
        yield made
    finally:
        await made.close()
        server.close()


async def read(link: HttpTransport) -> tuple[int, bytes]:
    async with link.send(CTX, WIRE) as response:
        return response.status, await response.read()


def whole(body: bytes) -> list[bytes | Cut]:
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)]


async def test_whole_answers_and_streams_share_one_connection(known: Authority) -> None:
    stream: list[bytes | Cut] = [CHUNKED, *[b"3\r\n%03d\r\n" % number for number in range(50)], b"0\r\n\r\n"]
    speaker = Speaker(known.context("localhost"), whole(b"one"), stream, whole(bytes(1 << 20)), whole(b"four"))
    async with reached(speaker) as link:
        assert await read(link) == (200, b"one")
        async with link.send(CTX, WIRE) as response:
            pieces = [piece async for piece in response.pieces()]
        assert b"".join(pieces) == b"".join(b"%03d" % number for number in range(50))
        assert await read(link) == (200, bytes(1 << 20))
        assert await read(link) == (200, b"four")
    assert speaker.connections == 1
    assert speaker.names == ["localhost"]
    assert speaker.spoken == ["http/1.1"]
    assert b"authorization: Bearer k-1\r\n" in speaker.requests[0]


async def test_a_server_is_known_by_its_address_too(known: Authority) -> None:
    speaker = Speaker(known.context("127.0.0.1"), whole(b"one"))
    async with reached(speaker, "127.0.0.1") as link:
        assert await read(link) == (200, b"one")
    assert speaker.names == [None]


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_an_address_of_six_parts_is_named_in_brackets(known: Authority) -> None:
    speaker = Speaker(known.context("::1"), whole(b"one"))
    try:
        async with reached(speaker, "[::1]") as link:
            assert await read(link) == (200, b"one")
    except OSError:
        pytest.skip("no IPv6 here")
    assert b"host: [::1]:" in speaker.requests[0]


async def refused(speaker: Speaker, host: str = "localhost") -> str:
    async with reached(speaker, host) as link:
        with pytest.raises(Unavailable) as caught:
            await read(link)
        with pytest.raises(Unavailable):
            await link.probe(CTX, "/models")
    assert not speaker.requests
    return str(caught.value)


async def test_a_certificate_of_another_host_is_refused_before_anything_is_sent(known: Authority) -> None:
    assert "certificate is refused: Hostname mismatch" in await refused(Speaker(known.context("elsewhere.example")))
    assert "certificate is refused: IP address mismatch" in await refused(
        Speaker(known.context("localhost")), "127.0.0.1"
    )


async def test_an_unknown_authority_is_refused_before_anything_is_sent(stranger: Authority) -> None:
    told = await refused(Speaker(stranger.context("localhost")))
    assert "the upstream up cannot be reached: its certificate is refused: unable to get local issuer" in told


async def test_a_certificate_that_has_run_out_is_refused_before_anything_is_sent(known: Authority) -> None:
    told = await refused(Speaker(known.context("localhost", after=-DAY)))
    assert "certificate is refused: certificate has expired" in told


async def test_without_a_store_of_its_own_the_gateway_believes_the_machines(
    known: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate is refused" in await refused(Speaker(known.context("localhost")))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_of_tls_are_refused(known: Authority) -> None:
    context = known.context("localhost")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert "cannot be reached" in await refused(Speaker(context))


async def test_tls_of_a_place_verifies_by_default() -> None:
    tls = place_of("https://api.example.com/v1").tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_server_that_speaks_no_tls_is_told_as_such(known: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    speaker = Speaker(known.context("localhost"))
    monkeypatch.setattr(speaker, "serve", serve)
    assert "no TLS with it" in await refused(speaker)


async def test_a_server_that_never_ends_the_handshake_costs_the_time_of_connecting(
    known: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    speaker = Speaker(known.context("localhost"))
    monkeypatch.setattr(speaker, "serve", serve)
    async with reached(speaker, connect_seconds=0.1) as link:
        with pytest.raises(Unavailable, match=r"no connection within 0\.1 s"):
            await read(link)


@pytest.mark.parametrize("told", [True, False], ids=["told", "cut"])
@pytest.mark.parametrize(
    "script",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
        [CHUNKED + b"4\r\nhalf\r\n"],
        [CHUNKED + b"4\r\nhalf\r\n0\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [],
    ],
    ids=["length", "chunks", "last chunk", "head", "nothing"],
)
async def test_an_answer_that_is_cut_is_never_whole(known: Authority, script: list[bytes | Cut], *, told: bool) -> None:
    speaker = Speaker(known.context("localhost"), [*script, Cut(told)], whole(b"fine"))
    async with reached(speaker) as link:
        with pytest.raises(Unavailable, match="cut its answer off" if "\\r\\n\\r\\n" in str(script) else "lost"):
            await read(link)
        assert await read(link) == (200, b"fine")


async def test_a_body_without_a_length_is_whole_only_if_its_sender_says_so(known: Authority) -> None:
    script: list[bytes | Cut] = [b"HTTP/1.1 200 OK\r\n\r\nhalf ", b"of it"]
    speaker = Speaker(known.context("localhost"), [*script, Cut()], [*script, Cut(told=False)])
    async with reached(speaker) as link:
        assert await read(link) == (200, b"half of it")
        with pytest.raises(Unavailable, match="cut its answer off"):
            await read(link)


async def test_a_connection_that_the_server_has_done_with_is_not_asked_again(known: Authority) -> None:
    """It goes on reading, as those do that end TLS first and wait for the other side."""
    speaker = Speaker(known.context("localhost"), [*whole(b"one"), Cut(half=True)], whole(b"two"))
    async with reached(speaker, seconds=30) as link:
        assert await read(link) == (200, b"one")
        await asyncio.wait_for(speaker.closed.wait(), 30)  # so the gateway's side is closed too
        assert await read(link) == (200, b"two")
    assert [request.count(b"POST ") for request in speaker.requests] == [1, 1]


async def test_what_is_sent_is_never_sent_again(known: Authority) -> None:
    speaker = Speaker(known.context("localhost"), whole(b"one"), [Cut()], whole(b"three"))
    async with reached(speaker) as link:
        assert await read(link) == (200, b"one")
        with pytest.raises(Unavailable):
            await read(link)  # over the kept connection: it was read and not answered
        assert len(speaker.requests) == 2
        assert await read(link) == (200, b"three")


async def test_a_caller_who_leaves_a_stream_closes_its_connection(known: Authority) -> None:
    speaker = Speaker(known.context("localhost"), [CHUNKED + b"3\r\none\r\n", *[b"3\r\ntwo\r\n"] * 3], whole(b"fine"))
    async with reached(speaker, concurrency=1) as link:
        begun = asyncio.Event()

        async def leave() -> None:
            async with link.send(CTX, WIRE) as response:
                async for _ in response.pieces():
                    begun.set()

        task = asyncio.create_task(leave())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(speaker.closed.wait(), 30)
        assert await read(link) == (200, b"fine")
    assert speaker.connections == 2


@pytest.mark.parametrize("told", [True, False], ids=["told", "cut"])
async def test_a_slow_reader_gets_all_that_came_before_the_end(known: Authority, *, told: bool) -> None:
    body = bytes(3 << 20)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    speaker = Speaker(
        known.context("localhost"), [head + body, Cut(told)], [head + body[:-1], Cut(told)], whole(bytes(20 << 20))
    )
    async with reached(speaker) as link:
        async with link.send(CTX, WIRE) as response:
            await asyncio.sleep(0.05)
            assert await response.read() == body
        found = 0
        async with link.send(CTX, WIRE) as response:
            await asyncio.sleep(0.05)
            with pytest.raises(Unavailable, match="cut its answer off"):
                async for piece in response.pieces():
                    found += len(piece)
        assert found == len(body) - 1
        async with link.send(CTX, WIRE) as response:  # so far ahead that its sender has to wait
            await asyncio.sleep(0.05)
            assert len(await response.read()) == 20 << 20


async def test_silence_ends_with_the_time_of_the_upstream(known: Authority) -> None:
    speaker = Speaker(known.context("localhost"), [CHUNKED])
    async with reached(speaker, seconds=0.3) as link:
        with pytest.raises(DeadlineExceeded):
            await read(link)


@pytest.mark.parametrize("url", ["https://straße.example/v1", "https://a..b/v1", f"https://{'a' * 70}.example/v1"])
def test_a_host_that_two_readers_would_read_differently_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        place_of(url)
