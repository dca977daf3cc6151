"""The door in front of every route: limits, caller, one ledger row, problem documents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, NotAuthenticated
from stanchion.core.http.door import Door, Limits, Surface
from stanchion.core.http.routes import context_of, row_of
from stanchion.core.security.contract import Authenticator, Identity
from stanchion.core.telemetry.contract import LedgerRow


class Keys(Authenticator):
    async def authenticate(self, authorization: str | None, *, peer: str | None = None) -> Identity:
        if authorization != "Bearer good":
            raise NotAuthenticated("no credential was sent")
        return Identity("acme", "key:1", Rights(roles=frozenset({"viewer"})))

    async def session(self, token: str | None) -> Identity:
        if token != "open":
            raise NotAuthenticated("no session")
        return Identity("acme", "key:2", Rights())


class Book:
    def __init__(self) -> None:
        self.rows: list[LedgerRow] = []
        self.full = False

    def write(self, row: LedgerRow) -> None:
        self.rows.append(row)


class Spans:
    @contextmanager
    def span(self, ctx: Context, name: str) -> Iterator[Context]:
        yield ctx


class Place:
    """A door before one small application."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.book = Book()
        self.faults: list[Exception] = []
        self.seen: list[Context] = []
        self.release = asyncio.Event()
        keys = Keys()
        self.door = Door(
            self.app,
            authenticator=keys,
            sessions=keys,
            book=self.book,
            sampler=lambda trace_id: False,
            spans=Spans(),
            faults=lambda trace_id, where, error: self.faults.append(error),
            clock=SystemClock(),
            surface=Surface(frozenset({"/docs", "/console/login"}), ("/console/static/",)),
            limits=limits or Limits(body=1000),
            owner="acme",
        )

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request

        request = Request(scope)
        self.seen.append(context_of(request))
        row_of(request).subject = "thing"
        if scope["path"] == "/conflict":
            raise Conflict("taken")
        if scope["path"] == "/broken":
            raise ZeroDivisionError("secret detail")
        if scope["path"] == "/wait":
            await self.release.wait()
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def ask(
        self,
        path: str = "/x",
        *,
        method: str = "POST",
        body: bytes | list[bytes] = b"",
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        key: str | None = "good",
        host: str = "localhost",
        version: str = "1.1",
    ) -> tuple[int, dict[str, str], Any]:
        given = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        if host:
            given.append(("host", host))
        if key is not None:
            given.append(("authorization", f"Bearer {key}"))
        chunks = body if isinstance(body, list) else [body]
        messages = [
            {"type": "http.request", "body": chunk, "more_body": i + 1 < len(chunks)} for i, chunk in enumerate(chunks)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": version,
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given],
        }
        await self.door(scope, receive, send)
        answer = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        content = b"".join(message.get("body", b"") for message in sent[1:])
        try:
            return sent[0]["status"], answer, msgspec.json.decode(content)
        except msgspec.DecodeError:
            return sent[0]["status"], answer, content


async def test_a_known_caller_reaches_the_route_and_leaves_one_row() -> None:
    place = Place()
    status, headers, body = await place.ask(body=b'{"a": 1}')
    assert (status, body) == (200, {"a": 1})
    [row] = place.book.rows
    assert (row.tenant, row.principal, row.status, row.outcome, row.subject) == ("acme", "key:1", 200, "ok", "thing")
    assert headers["x-request-id"] == row.request_id == place.seen[0].request_id
    assert row.latency_ms > 0


@pytest.mark.parametrize("key", [None, "bad", ""])
async def test_nobody_else_reaches_a_route(key: str | None) -> None:
    place = Place()
    status, headers, problem = await place.ask(key=key)
    assert status == 401
    assert headers["www-authenticate"].startswith("Bearer")
    assert problem["code"] == "not_authenticated"
    assert place.seen == []
    assert [row.outcome for row in place.book.rows] == ["not_authenticated"]


async def test_open_paths_need_no_credential_and_carry_no_right() -> None:
    place = Place()
    assert (await place.ask("/docs", key=None))[0] == 200
    assert (await place.ask("/console/static/a.css", key=None))[0] == 200
    assert {(ctx.tenant, ctx.principal) for ctx in place.seen} == {("", "anonymous")}


async def test_a_person_without_a_session_is_sent_to_the_login_page() -> None:
    place = Place()
    page = {"accept": "text/html,application/xhtml+xml"}
    status, headers, _ = await place.ask("/console/models", method="GET", key=None, headers=page)
    assert (status, headers["location"]) == (303, "/console/login?next=/console/models")
    status, headers, _ = await place.ask("/console/models", method="POST", key=None, headers=page)
    assert (status, headers["location"]) == (303, "/console/login?next=")
    assert (await place.ask("/console/models", method="GET", key="good", headers=page))[0] == 303
    assert (await place.ask("/console/fragments/x", method="GET", key=None))[0] == 401


async def test_a_session_opens_the_console_only() -> None:
    place = Place()
    cookie = {"cookie": "other=1; stanchion_session=open"}
    assert (await place.ask("/console/models", method="GET", key=None, headers=cookie))[0] == 200
    assert (await place.ask("/v1/keys", method="GET", key=None, headers=cookie))[0] == 401


async def test_an_error_of_ours_is_its_problem_document() -> None:
    place = Place()
    status, headers, problem = await place.ask("/conflict")
    assert (status, problem["code"], problem["detail"]) == (409, "conflict", "taken")
    assert headers["content-type"] == "application/problem+json"
    assert problem["trace_id"] == place.book.rows[0].trace_id


async def test_an_unknown_fault_is_logged_and_its_text_is_not_told() -> None:
    place = Place()
    status, _, problem = await place.ask("/broken")
    assert (status, problem["code"]) == (500, "internal_error")
    assert "secret detail" not in str(problem)
    assert isinstance(place.faults[0], ZeroDivisionError)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"host": ""}, 400),
        ({"headers": [("host", "other")]}, 400),
        ({"host": "a/b?c="}, 400),
        ({"host": "a b"}, 400),
        ({"headers": [("content-length", "0"), ("content-length", "1")]}, 400),
        ({"headers": [("transfer-encoding", "chunked")], "version": "1.0"}, 400),
        ({"headers": [("x", "y" * 40_000)]}, 413),
        ({"headers": [(f"x{i}", "y") for i in range(101)]}, 413),
        ({"path": "/" + "a" * 9000}, 413),
        ({"body": b"1" * 1001}, 413),
        ({"body": [b"1" * 600, b"1" * 600]}, 413),
        ({"body": b"[1,2"}, 400),
        ({"body": b'{"a":1,"a":2}'}, 400),
        ({"headers": {"request-timeout": "soon"}}, 400),
        ({"headers": {"request-timeout": "nan"}}, 400),
        ({"headers": {"request-timeout": "-1"}}, 504),
    ],
)
async def test_what_no_honest_client_sends_is_refused(change: dict[str, Any], status: int) -> None:
    place = Place()
    assert (await place.ask(**change))[0] == status
    assert place.seen == []
    assert len(place.book.rows) == 1


async def test_a_body_in_pieces_arrives_whole() -> None:
    assert (await Place().ask(body=[b"[1", b",2", b"]"]))[2] == [1, 2]


async def test_more_requests_than_allowed_are_told_to_come_again() -> None:
    place = Place(limits=Limits(concurrent=1))
    first = asyncio.create_task(place.ask("/wait"))
    while not place.door.running:
        await asyncio.sleep(0)
    status, headers, _ = await place.ask()
    assert (status, headers["retry-after"]) == (429, "1")
    place.release.set()
    assert (await first)[0] == 200


async def test_no_request_is_taken_that_could_not_be_recorded() -> None:
    place = Place()
    place.book.full = True
    assert (await place.ask())[0] == 503
    assert place.seen == []


async def test_the_callers_trace_id_is_kept_and_a_malformed_one_is_not() -> None:
    place = Place()
    await place.ask(headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
    await place.ask(headers={"traceparent": f"00-{'0' * 32}-{'cd' * 8}-01"})
    assert place.book.rows[0].trace_id == "ab" * 16
    assert place.book.rows[1].trace_id != "0" * 32


async def test_the_time_limit_asked_for_becomes_the_deadline() -> None:
    place = Place()
    await place.ask(headers={"request-timeout": "2.5"})
    deadline = place.seen[0].deadline
    assert deadline is not None and 0 < deadline - SystemClock().monotonic() <= 2.5
