"""The gRPC listener: credential, limits, deadline, ledger and errors are those of HTTP; it drains and it speaks TLS."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from stanchion.app.desk import Desk
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.errors import BY_CODE, Misconfigured, NotAuthenticated, StanchionError
from stanchion.core.http.door import Limits
from stanchion.core.rpc import RpcMethod, RpcService
from stanchion.core.security.contract import Identity
from stanchion.core.telemetry.contract import LedgerRow

grpc = pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
listener = pytest.importorskip("stanchion.app.grpc.server", reason="the extra `grpc` is not installed")
PROBLEM, Certificate, GrpcServer = listener.PROBLEM, listener.Certificate, listener.GrpcServer
GOOD = (("authorization", "Bearer good"),)


class House:
    """What a desk stands on: two keys, a book, and no spans."""

    def __init__(self) -> None:
        self.rows: list[LedgerRow] = []
        self.full = False
        self.faults: list[Exception] = []
        self.keys = {"Bearer good": "ada"}
        self.written = asyncio.Event()

    def write(self, row: LedgerRow) -> None:
        self.rows.append(row)
        self.written.set()

    async def authenticate(self, authorization: str | None, *, peer: str | None = None) -> Identity:
        if authorization not in self.keys:
            raise NotAuthenticated("no")
        return Identity("acme", self.keys[authorization], Rights())

    def span(self, ctx: Context, name: str) -> AbstractContextManager[Context]:
        return nullcontext(ctx)

    def annotate(self, ctx: Context, attributes: Any, *, name: str) -> None: ...

    def desk(self, **limits: Any) -> Desk:
        return Desk(
            authenticator=self,
            book=self,
            sampler=lambda trace_id: False,
            spans=self,
            faults=lambda trace_id, where, error: self.faults.append(error),
            clock=SystemClock(),
            limits=Limits(**limits),
            owner="acme",
        )


def refusal(error: StanchionError, given: bytes) -> bytes:
    return f"{error.code}:{given.decode()}".encode()


class Service:
    """Methods that do as the bytes say."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.seen: list[Context] = []

    async def answer(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        self.seen.append(ctx)
        row.subject = "thing"
        word = given.decode()
        if word in BY_CODE:
            raise BY_CODE[word](f"{word} it is")
        if word == "broken":
            raise ZeroDivisionError("secret detail")
        if word == "wait":
            self.begun.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return given.upper()

    def services(self) -> list[RpcService]:
        return [
            RpcService(
                "test.Test",
                [
                    RpcMethod("Ask", self.answer),
                    RpcMethod("Free", self.answer, open=True),
                    RpcMethod("Talk", self.answer, refusal=refusal),
                ],
            )
        ]


@asynccontextmanager
async def serving(house: House, service: Service, **limits: Any) -> AsyncIterator[Any]:
    server = GrpcServer(service.services(), house.desk(**limits), host="127.0.0.1", port=0, certificate=None)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        channel.server = server
        yield channel
    await server.stop(0)


def ask(channel: Any, given: bytes = b"hi", method: str = "Ask", **options: Any) -> Any:
    options.setdefault("metadata", GOOD)
    return channel.unary_unary(f"/test.Test/{method}")(given, **options)


async def status(call: Any) -> tuple[Any, str, dict[str, Any]]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    trailing = dict(raised.value.trailing_metadata())
    return raised.value.code(), raised.value.details(), json.loads(trailing.get(PROBLEM, b"{}"))


async def test_a_call_has_a_caller_a_deadline_and_a_ledger_row() -> None:
    house, service = House(), Service()
    async with serving(house, service, seconds=60) as channel:
        trace = "ab" * 16
        assert await ask(channel, metadata=(*GOOD, ("traceparent", f"00-{trace}-{'cd' * 8}-01")), timeout=30) == b"HI"
        [ctx], [row] = service.seen, house.rows
        assert (ctx.tenant, ctx.principal, ctx.trace.trace_id, ctx.request_id) == ("acme", "ada", trace, row.request_id)
        assert ctx.deadline is not None
        # gRPC rounds a time limit up to its next coarser unit.
        assert 0 < ctx.deadline - SystemClock().monotonic() <= 33
        assert (row.tenant, row.principal, row.route) == ("acme", "ada", "GRPC /test.Test/Ask")
        assert (row.status, row.outcome, row.subject) == (200, "ok", "thing")
        await ask(channel)
        assert service.seen[1].deadline - SystemClock().monotonic() <= 60


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer bad"),), (("authorization", ""),)])
async def test_without_a_good_credential_nothing_runs(metadata: Any) -> None:
    house, service = House(), Service()
    async with serving(house, service) as channel:
        code, _, problem = await status(ask(channel, metadata=metadata))
        assert (code, problem["code"]) == (grpc.StatusCode.UNAUTHENTICATED, "not_authenticated")
        assert await ask(channel, method="Free", metadata=metadata) == b"HI"
    assert [ctx.tenant for ctx in service.seen] == [""]
    assert [row.outcome for row in house.rows] == ["not_authenticated", "ok"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("invalid_input", "INVALID_ARGUMENT"),
        ("payload_too_large", "INVALID_ARGUMENT"),
        ("not_allowed", "PERMISSION_DENIED"),
        ("not_found", "NOT_FOUND"),
        ("conflict", "ABORTED"),
        ("throttled", "RESOURCE_EXHAUSTED"),
        ("unavailable", "UNAVAILABLE"),
        ("circuit_open", "UNAVAILABLE"),
        ("deadline_exceeded", "DEADLINE_EXCEEDED"),
        ("not_trustworthy", "INTERNAL"),
    ],
)
async def test_an_error_becomes_a_status_with_its_problem_document(code: str, expected: str) -> None:
    house = House()
    async with serving(house, Service()) as channel:
        found, details, problem = await status(ask(channel, code.encode()))
    assert (found.name, details, problem["code"]) == (expected, f"{code} it is", code)
    assert problem["trace_id"] == house.rows[0].trace_id
    assert house.rows[0].outcome == code


async def test_a_fault_is_told_without_its_words() -> None:
    house = House()
    async with serving(house, Service()) as channel:
        found, details, _ = await status(ask(channel, b"broken"))
    assert found is grpc.StatusCode.INTERNAL
    assert "secret" not in details
    assert isinstance(house.faults[0], ZeroDivisionError)


async def test_a_message_over_the_limit_and_an_unknown_method_are_refused() -> None:
    async with serving(House(), Service(), body=1000) as channel:
        assert (await status(ask(channel, b"x" * 2000)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await status(ask(channel, method="Nothing")))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_no_more_calls_run_than_the_limit() -> None:
    house, service = House(), Service()
    async with serving(house, service, concurrent=1) as channel:
        held = ask(channel, b"wait")
        await service.begun.wait()
        assert (await status(ask(channel)))[2]["code"] == "throttled"
        service.release.set()
        assert await held == b"WAIT"


async def test_nothing_is_taken_that_cannot_be_recorded() -> None:
    house = House()
    house.full = True
    async with serving(house, Service()) as channel:
        assert (await status(ask(channel)))[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_client_that_goes_ends_the_work() -> None:
    house, service = House(), Service()
    async with serving(house, service) as channel:
        call = ask(channel, b"wait")
        await service.begun.wait()
        call.cancel()
        await service.cancelled.wait()
        await house.written.wait()
    assert (house.rows[0].status, house.rows[0].outcome) == (499, "cancelled")


async def test_each_message_of_a_stream_is_a_call_of_its_own() -> None:
    house, service = House(), Service()
    async with serving(house, service) as channel:
        talk = channel.stream_stream("/test.Test/Talk")(metadata=GOOD)
        heard = []
        for word in (b"a", b"not_found", b"b"):
            await talk.write(word)
            heard.append(await talk.read())
        assert heard == [b"A", b"not_found:not_found", b"B"]
        house.keys.clear()
        await talk.write(b"c")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await talk.read()
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert [row.outcome for row in house.rows] == ["ok", "not_found", "ok", "not_authenticated"]


async def test_calls_under_way_finish_while_no_new_one_is_taken() -> None:
    service = Service()
    async with serving(House(), service) as channel:
        held = ask(channel, b"wait")
        await service.begun.wait()
        stopping = asyncio.create_task(channel.server.stop(30))
        while (await status(ask(channel)))[0] is not grpc.StatusCode.UNAVAILABLE:
            await asyncio.sleep(0)
        service.release.set()
        assert await held == b"WAIT"
        await stopping


async def test_an_address_in_use_is_told() -> None:
    async with serving(House(), Service()) as channel:
        with pytest.raises(Misconfigured, match="cannot listen"):
            GrpcServer([], House().desk(), host="127.0.0.1", port=channel.server.port, certificate=None)


async def test_it_speaks_tls_with_its_certificate_and_nothing_else(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    given = Certificate.of(chain, key)
    server = GrpcServer(Service().services(), House().desk(), host="127.0.0.1", port=0, certificate=given)
    await server.start()
    trusting = grpc.ssl_channel_credentials(chain.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{server.port}", trusting) as channel:
        assert await ask(channel) == b"HI"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        assert (await status(ask(channel, timeout=60)))[0] is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, secret
