"""WebSockets at the listener: the handshake is a request like any other, and each message is one of its own."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from stanchion.app.desk import Desk
from stanchion.app.http.sockets import Sockets
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.errors import NotAuthenticated
from stanchion.core.http.door import Limits
from stanchion.core.http.routes import Connection
from stanchion.core.security.contract import Identity
from stanchion.core.telemetry.contract import LedgerRow


class Peer:
    """A client's end: what it sends, what it hears, and the house behind the desk."""

    def __init__(self, *, concurrent: int = 10) -> None:
        self.rows: list[LedgerRow] = []
        self.full = False
        self.valid = True
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard: list[dict[str, Any]] = []
        self.passed: list[str] = []
        self.speak = self.echo
        desk = Desk(
            authenticator=self,
            book=self,
            sampler=lambda trace_id: False,
            spans=self,
            faults=lambda trace_id, where, error: None,
            clock=SystemClock(),
            limits=Limits(concurrent=concurrent),
            owner="acme",
        )
        self.app = Sockets(self._rest, {"/ws": self._spoken}, desk)

    async def _spoken(self, connection: Connection) -> None:
        await self.speak(connection)

    async def echo(self, connection: Connection) -> None:
        while (content := await connection.receive()) is not None:
            async with connection.message() as message:
                message.row.subject = "thing"
                told = f"{message.ctx.principal}:{content.decode()}".encode()
            await connection.send(told)

    async def _rest(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed.append(scope["type"])

    def write(self, row: LedgerRow) -> None:
        self.rows.append(row)

    async def authenticate(self, authorization: str | None, *, peer: str | None = None) -> Identity:
        if authorization != "Bearer good" or not self.valid:
            raise NotAuthenticated("no")
        return Identity("acme", "ada", Rights())

    def span(self, ctx: Context, name: str) -> AbstractContextManager[Context]:
        return nullcontext(ctx)

    def annotate(self, ctx: Context, attributes: Any, *, name: str) -> None: ...

    def say(self, text: str | bytes) -> None:
        self.said.put_nowait({"type": "websocket.receive", "text" if isinstance(text, str) else "bytes": text})

    def leave(self) -> None:
        self.said.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def open(
        self,
        path: str = "/ws",
        *,
        headers: dict[str, str] | None = None,
        scheme: str = "ws",
        extensions: Any = ("websocket.http.response",),
    ) -> None:
        given = {"host": "here:80", "authorization": "Bearer good", **(headers or {})}
        scope = {
            "type": "websocket",
            "scheme": scheme,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "http_version": "1.1",
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
            "extensions": {each: {} for each in extensions},
        }
        first: list[dict[str, Any]] = [{"type": "websocket.connect"}]

        async def receive() -> Any:
            return first.pop() if first else await self.said.get()

        async def send(message: Any) -> None:
            self.heard.append(message)

        await self.app(scope, receive, send)

    @property
    def refusal(self) -> tuple[int, str]:
        start, body = self.heard
        assert start["type"] == "websocket.http.response.start"
        assert (b"content-type", b"application/problem+json") in start["headers"]
        return start["status"], json.loads(body["body"])["code"]


async def test_each_message_has_a_caller_and_a_ledger_row() -> None:
    peer = Peer()
    peer.say("one")
    peer.say(b"two")
    peer.leave()
    await peer.open()
    assert [each.get("text") for each in peer.heard] == [None, "ada:one", "ada:two"]
    found = [(row.route, row.status, row.outcome, row.principal, row.subject) for row in peer.rows]
    assert found == [
        ("WS /ws", 101, "ok", "ada", ""),
        ("WS /ws message", 200, "ok", "ada", "thing"),
        ("WS /ws message", 200, "ok", "ada", "thing"),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"headers": {"authorization": ""}}, (401, "not_authenticated")),
        ({"headers": {"authorization": "Bearer bad"}}, (401, "not_authenticated")),
        ({"path": "/other"}, (404, "not_found")),
        ({"headers": {"origin": "http://elsewhere"}}, (403, "not_allowed")),
        ({"headers": {"origin": "https://here:80"}}, (403, "not_allowed")),
        ({"headers": {"origin": "http://here:80"}, "scheme": "wss"}, (403, "not_allowed")),
        ({"headers": {"origin": "null"}}, (403, "not_allowed")),
        ({"headers": {"host": "a/b"}}, (400, "malformed_request")),
        ({"headers": {"host": ""}}, (400, "malformed_request")),
        ({"headers": {"x-large": "x" * 40_000}}, (413, "payload_too_large")),
    ],
)
async def test_a_handshake_that_may_not_be_is_answered_as_a_request(options: Any, expected: Any) -> None:
    peer = Peer()
    peer.leave()
    peer.leave()
    await peer.open(**options)
    assert peer.refusal == expected
    assert [(row.status, row.outcome) for row in peer.rows] == [expected]


async def test_a_page_of_this_very_address_may_open_one() -> None:
    peer = Peer()
    peer.leave()
    await peer.open(headers={"origin": "http://HERE:80"})
    assert peer.heard[0]["type"] == "websocket.accept"


async def test_a_server_that_cannot_answer_a_handshake_closes_it() -> None:
    peer = Peer()
    await peer.open(headers={"authorization": ""}, extensions=())
    assert [each["type"] for each in peer.heard] == ["websocket.close"]


async def test_connections_have_a_limit_of_their_own() -> None:
    peer = Peer(concurrent=1)
    held = asyncio.create_task(peer.open())
    while not peer.heard:
        await asyncio.sleep(0)
    peer.heard.clear()
    second = asyncio.create_task(peer.open())
    while len(peer.heard) < 2:
        await asyncio.sleep(0)
    assert peer.refusal == (429, "throttled")
    for _ in range(3):
        peer.leave()
    await asyncio.gather(held, second)


async def test_a_key_that_ends_is_noticed_at_the_next_message() -> None:
    peer = Peer()
    refused = []

    async def speak(connection: Connection) -> None:
        await connection.receive()
        try:
            async with connection.message():
                raise AssertionError("it ran")
        except NotAuthenticated as error:
            refused.append(error)
            await connection.close(1008, "ended")

    peer.speak = speak
    opened = asyncio.create_task(peer.open())
    while not peer.heard:
        await asyncio.sleep(0)
    peer.valid = False
    peer.say("one")
    await opened
    assert refused
    assert peer.heard[-1] == {"type": "websocket.close", "code": 1008, "reason": "ended"}
    assert peer.rows[-1].outcome == "not_authenticated"


async def test_a_fault_closes_the_connection_and_is_raised_for_the_log() -> None:
    peer = Peer()

    async def speak(connection: Connection) -> None:
        raise ZeroDivisionError

    peer.speak = speak
    with pytest.raises(ZeroDivisionError):
        await peer.open()
    assert peer.heard[-1]["code"] == 1011


async def test_everything_else_passes_to_the_door() -> None:
    peer = Peer()
    await peer.app({"type": "http"}, peer.said.get, peer._rest)
    assert peer.passed == ["http"]
