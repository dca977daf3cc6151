"""Processes know each other: by certificate on the line, by signature in the passport."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import uvicorn
import uvloop

from stanchion.core.clock import SystemClock
from stanchion.core.context import Budget, Context, Rights, Trace
from stanchion.core.errors import Misconfigured, NotAuthenticated
from stanchion.core.security.identity import (
    Authority,
    Credentials,
    checked_id,
    client_context,
    server_context,
    spiffe_id,
)
from stanchion.core.security.passport import TYPE, Passports
from stanchion.core.security.peer import PeerProtocol
from stanchion.testing.clock import FakeClock

NOW = SystemClock().now()
SERVING, FEATURES, OTHER = (f"spiffe://mesh.test/{name}" for name in ("serving", "features", "other"))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("mesh.test", now=NOW)


@pytest.fixture(scope="module")
def issue(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Credentials]:
    folder = tmp_path_factory.mktemp("mesh")
    made: dict[str, Credentials] = {}

    def one(name: str) -> Credentials:
        if name not in made:
            made[name] = authority.issue(folder, name, now=NOW)
        return made[name]

    return one


class ReadyServer(uvicorn.Server):
    """Tells when it listens, and leaves the test's signals as they are."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(tls: ssl.SSLContext) -> AsyncIterator[str]:
    """A uvicorn server on loopback that answers with the peer it sees."""

    async def app(scope: dict[str, Any], receive: object, send: Callable[..., Any]) -> None:
        body = str(scope.get("extensions", {}).get("tls_peer")).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # plain dicts do for a test
        http=PeerProtocol,
        loop="none",
        lifespan="off",
        log_config=None,
        ssl_context_factory=lambda *_: tls,
    )
    server = ReadyServer(config)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    await server.ready.wait()
    try:
        yield f"https://127.0.0.1:{bound.getsockname()[1]}/"
    finally:
        server.should_exit = True
        await task
        bound.close()


async def asked(url: str, tls: ssl.SSLContext) -> str:
    async with aiohttp.ClientSession() as session, session.get(url, ssl=tls) as response:
        return await response.text()


async def test_both_ends_of_a_line_know_each_other(issue: Callable[[str], Credentials]) -> None:
    async with served(server_context(issue("serving"), peers=[FEATURES])) as url:
        assert await asked(url, client_context(issue("features"), server=SERVING)) == FEATURES


def test_the_line_holds_on_the_production_event_loop(issue: Callable[[str], Credentials]) -> None:
    async def scenario() -> None:
        async with served(server_context(issue("serving"), peers=[FEATURES])) as url:
            assert await asked(url, client_context(issue("features"), server=SERVING)) == FEATURES
            with pytest.raises(aiohttp.ClientError):
                await asked(url, client_context(issue("features"), server=OTHER))
            with pytest.raises(aiohttp.ClientError):
                await asked(url, client_context(issue("other"), server=SERVING))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_a_client_hangs_up_on_a_server_that_is_not_the_one_expected(issue: Callable[[str], Credentials]) -> None:
    async with served(server_context(issue("serving"), peers=[FEATURES])) as url:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await asked(url, client_context(issue("features"), server=OTHER))


async def test_a_server_lets_in_no_peer_that_is_not_listed(issue: Callable[[str], Credentials]) -> None:
    async with served(server_context(issue("serving"), peers=[FEATURES])) as url:
        with pytest.raises(aiohttp.ClientError):
            await asked(url, client_context(issue("other"), server=SERVING))


async def test_a_server_lets_in_nobody_without_a_certificate_of_its_authority(
    issue: Callable[[str], Credentials], tmp_path: Path
) -> None:
    foreign = Authority.create("mesh.test", now=NOW).issue(tmp_path, "features", now=NOW)
    trusting = replace(foreign, authority=issue("serving").authority)
    bare = ssl.create_default_context(cafile=str(issue("serving").authority))
    bare.check_hostname = False
    async with served(server_context(issue("serving"), peers=[FEATURES])) as url:
        for tls in (client_context(trusting, server=SERVING), bare):
            with pytest.raises(aiohttp.ClientError):
                await asked(url, tls)


def test_key_files_are_for_their_owner_alone(authority: Authority, tmp_path: Path) -> None:
    made = authority.issue(tmp_path, "serving", now=NOW)
    assert made.key.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Misconfigured, match="already"):
        authority.issue(tmp_path, "serving", now=NOW)
    made.key.chmod(0o644)
    with pytest.raises(Misconfigured, match="open to others"):
        server_context(made, peers=[FEATURES])


def test_an_authority_is_kept_and_found_again(tmp_path: Path) -> None:
    first = Authority.load_or_create(tmp_path, "mesh.test", now=NOW)
    again = Authority.load_or_create(tmp_path, "mesh.test", now=NOW)
    assert first.certificate_pem == again.certificate_pem
    with pytest.raises(Misconfigured):
        Authority.load_or_create(tmp_path, "away.test", now=NOW)


@pytest.mark.parametrize(
    "bad", ["", "spiffe://mesh", "spiffe://mesh/", "spiffe://Mesh/a", "https://mesh/a", "spiffe://h/a b"]
)
def test_what_is_no_spiffe_id_is_refused(bad: str) -> None:
    with pytest.raises(Misconfigured):
        checked_id(bad)
    assert spiffe_id({"subjectAltName": (("URI", bad),)}) is None


def test_a_certificate_with_two_names_names_nobody() -> None:
    assert spiffe_id({"subjectAltName": (("URI", SERVING), ("URI", OTHER))}) is None
    assert spiffe_id({"subjectAltName": (("DNS", SERVING),)}) is None
    assert spiffe_id({}) is spiffe_id(None) is None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def ctx(clock: FakeClock) -> Context:
    return Context(
        tenant="acme",
        principal="key:abc",
        rights=Rights(frozenset({"viewer"}), frozenset({"a:b"}), frozenset({"a:*"})),
        deadline=clock.monotonic() + 5,
        budget=Budget(cost=0.5, tokens=10),
        trace=Trace.new(sampled=True),
        labels=frozenset({"confidential"}),
    )


def test_a_passport_carries_the_whole_context_but_the_effect(
    issue: Callable[[str], Credentials], clock: FakeClock, ctx: Context
) -> None:
    sender, receiver = (Passports(issue(name), clock=clock) for name in ("features", "serving"))
    passport = sender.issue(ctx, SERVING)
    clock.advance(2)
    assert receiver.inspect(passport, FEATURES) == replace(ctx, deadline=clock.monotonic() + 5)
    bare = Context(tenant="acme", principal="system:x")
    assert receiver.inspect(sender.issue(bare, SERVING), FEATURES) == bare


def test_a_passport_is_good_for_one_peer_one_receiver_and_one_minute(
    issue: Callable[[str], Credentials], clock: FakeClock, ctx: Context
) -> None:
    sender, receiver, third = (Passports(issue(name), clock=clock) for name in ("features", "serving", "other"))
    passport = sender.issue(ctx, SERVING)
    for inspector, peer in ((receiver, OTHER), (receiver, None), (third, FEATURES)):
        with pytest.raises(NotAuthenticated):
            inspector.inspect(passport, peer)
    clock.advance(91)
    with pytest.raises(NotAuthenticated):
        receiver.inspect(passport, FEATURES)


def test_a_changed_passport_is_refused(
    issue: Callable[[str], Credentials], clock: FakeClock, ctx: Context, tmp_path: Path
) -> None:
    sender, receiver = (Passports(issue(name), clock=clock) for name in ("features", "serving"))
    passport = sender.issue(ctx, SERVING)
    head = {"typ": TYPE, "x5c": jwt.get_unverified_header(passport)["x5c"]}
    body = jwt.decode(passport, options={"verify_signature": False})
    key = issue("features").key.read_bytes()

    def made(claims: dict[str, object] = body, *, key: Any = key, alg: str = "ES256", **change: object) -> str:
        return jwt.encode(claims, key, algorithm=alg, headers={**head, **change})

    foreign = Authority.create("mesh.test", now=NOW).issue(tmp_path, "features", now=NOW)
    bad = [
        made({**body, "tenant": "rival"}, key=issue("other").key.read_bytes()),
        made({**body, "exp": body["exp"] + 3600}),
        made({**body, "extra": 1}),
        made({**body, "roles": "admin"}),
        made(typ="JWT"),
        made(alg="HS256", key=b"x" * 32),
        made(alg="none", key=None),
        made(x5c=[]),
        made(x5c=["AAAA"]),
        made(x5c="AAAA"),
        made(extra="x"),
        made({**body, "aud": [SERVING]}),
        passport.replace(".", ".\n", 1),
        Passports(foreign, clock=clock).issue(ctx, SERVING),
        passport[:-4],
        "",
        "a.b.c",
        "x" * 40_000,
    ]
    receiver.inspect(made(), FEATURES)
    for one in bad:
        with pytest.raises(NotAuthenticated) as caught:
            receiver.inspect(one, FEATURES)
        assert caught.value.detail == "the passport is not one for this process by the peer that sent it"


def test_a_certificate_with_another_key_is_no_identity(
    issue: Callable[[str], Credentials], clock: FakeClock, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match="not the key"):
        Passports(replace(issue("serving"), key=issue("features").key), clock=clock)
    with pytest.raises(Misconfigured, match="no private key"):
        Passports(replace(issue("serving"), key=tmp_path / "none.key"), clock=clock)


def test_an_expired_certificate_signs_no_passport(authority: Authority, tmp_path: Path, ctx: Context) -> None:
    clock = FakeClock(NOW)
    short = authority.issue(tmp_path, "features", now=NOW, days=1)
    sender, receiver = (
        Passports(short, clock=clock),
        Passports(authority.issue(tmp_path, "serving", now=NOW), clock=clock),
    )
    receiver.inspect(sender.issue(ctx, SERVING), FEATURES)
    clock.advance(86_401)
    with pytest.raises(NotAuthenticated):
        receiver.inspect(sender.issue(ctx, SERVING), FEATURES)
