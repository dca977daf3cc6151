"""Made-up secrets and personal data go in through every door, and come to rest nowhere.

Left out are the places that keep what they are given because that is their purpose: names of keys, flags, evidence
of a promotion, stored policies and pushed features. What is refused there is kept nowhere either.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

# All made up. The card number is the well-known test number; the phone number is of a range kept for fiction.
KEY = "st_cAnArYkEyId1_" + "C4naryS3cret" * 3 + "C4nar_a1b2c3"
BEARER = "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiJ0b2tlbiJ9.Y2FuYXJ5LXNpZ25hdHVyZQ"
PASSWORD = "c4nary-Tr0ub4dor-passphrase"
MAIL = "canary.person@example.org"
CARD = "4111 1111 1111 1111"
PHONE = "+44 7700 900123"
CANARIES = {"key": KEY, "bearer": BEARER, "password": PASSWORD, "mail": MAIL, "card": CARD, "phone": PHONE}
# What patterns can tell by its form. A password cannot be told from a name, so it is not sent where names stand.
KNOWN = {name: value for name, value in CANARIES.items() if name != "password"}

SYSTEM = """
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from stanchion import System

app = System("canary")


class In(BaseModel):
    text: str = Field(max_length=60)
    kind: Literal["plain", "fails", "late", "odd"] = "plain"
    number: float = Field(0, le=10)
    code: str = Field("x", pattern="^[a-z]*$")

    @field_validator("text")
    @classmethod
    def check(cls, value: str) -> str:
        if value.startswith("odd:"):
            raise RuntimeError(f"a fault of the declaration over {value}")
        if value.startswith("bad:"):
            raise ValueError("not acceptable")
        return value


class Out(BaseModel):
    length: int


def refuse(item: In) -> Out | None:
    if item.kind == "late":
        raise KeyError(item.text)
    return Out(length=-1) if item.kind == "fails" else None


@app.model("reader", fallback=refuse)
async def reader(items: Sequence[In]) -> list[Out]:
    for item in items:
        if item.kind in ("fails", "late"):
            raise ValueError(f"cannot read {item.text!r} of {item}")
    return [Out(length=len(item.text)) for item in items]


class Person(BaseModel):
    age: int = Field(ge=0)


people = app.features("people", Person, entity="person", ttl=timedelta(hours=1))
"""


@dataclass
class Told:
    """Everything the system answered."""

    running: Any
    answers: list[tuple[str, Any]] = field(default_factory=list)

    def ask(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        answer = self.running.ask(method, path, body, **more)
        self.answers.append((f"{method} {path[:60]}", answer))
        return answer


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def through_headers(told: Told) -> None:
    for name, value in CANARIES.items():
        for header in ("User-Agent", "Referer", "X-Forwarded-For", "Idempotency-Key", "traceparent", "tracestate",
                       "baggage", "Request-Timeout", "Accept", "Cookie", f"X-Canary-{name}"):  # fmt: skip
            told.ask("GET", "/v1/models", headers={header: value})
            told.ask("GET", "/v1/models", key=None, headers={header: value})
        told.ask("GET", "/v1/models", key=value)
        told.ask("GET", "/console", key=None, headers={"Cookie": f"stanchion_session={quoted(value)}"})
        told.ask("GET", "/v1/models", key=None, headers={"Authorization": f"Basic {value}"})
        told.ask("POST", "/v1/predictions", {}, headers={"Content-Type": f"text/{value}"})
        login = urllib.parse.urlencode({"key": value}).encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        told.ask("POST", "/console/login", login, key=None, headers=form)
    told.ask("GET", "/v1/models", headers={"Host": PASSWORD + ":"})


def through_paths(told: Told) -> None:
    for value in KNOWN.values():
        one = quoted(value)
        for method, path in (
            ("GET", f"/{one}"), ("GET", f"/v1/{one}/x"), ("PATCH", f"/v1/models/{one}"), ("GET", f"/v1/models/{one}"),
            ("GET", f"/v1/models/{one}/versions/{one}"), ("GET", f"/v1/serving/models/{one}"),
            ("GET", f"/v1/telemetry/traces/{one}"), ("GET", f"/v1/audit/proofs/{one}"), ("DELETE", f"/v1/keys/{one}"),
            ("DELETE", f"/v1/models/reader/aliases/{one}"), ("GET", f"/console/models/{one}"),
            ("GET", f"/console/static/{one}"),
        ):  # fmt: skip
            told.ask(method, path)
            told.ask(method, path, key=None)
            told.ask(method, path, key=told.running.nobody)
        told.ask("POST", f"/v1/keys/{one}/rotate", {"overlap_seconds": 1})
        told.ask("PUT", f"/v1/models/{one}/aliases/{one}", {"version": one})
        told.ask("POST", f"/v1/models/{one}/promotions", {"version": "1.0.0", "to": "staging", "evidence": value})
        told.ask("POST", f"/v1/models/{one}/trainings")
        told.ask("POST", f"/v1/features/{one}/read", {"keys": [value]})
        told.ask("POST", f"/v1/flags/{one}/kill", {"on": True})


def through_queries(told: Told) -> None:
    for value in CANARIES.values():
        one = quoted(value)
        for path in ("/v1/keys?after={}", "/v1/keys?limit={}", "/v1/audit/events?action={}", "/v1/models?after={}",
                     "/v1/telemetry/requests?request_id={}", "/healthz?password={}", "/docs?token={}",
                     "/console/login?next={}", "/nothing?q={}", "/v1/predictions?api_key={}"):  # fmt: skip
            told.ask("GET", path.format(one))
            told.ask("GET", path.format(one), key=None)


def through_features(told: Told) -> None:
    for value in CANARIES.values():
        bodies: list[Any] = [
            {"text": value}, {"text": value, "kind": "fails"}, {"text": value, "kind": "late"},
            {"text": f"odd:{value}"}, {"text": f"bad:{value}"}, {"text": value * 9}, {"text": [value]},
            {"text": {"in": value}}, {"text": "x", "kind": value}, {"text": "x", "number": value},
            {"text": "x", "code": value}, {"text": "x", "password": value}, {"text": "x", "other": {"card": value}},
        ]  # fmt: skip
        for features in bodies:
            told.ask("POST", "/v1/predictions", {"model_id": "reader", "features": features})
        told.ask("POST", "/v1/predictions", {"model_id": "reader", "instances": bodies})
        told.ask("POST", "/v1/predictions", {"model_id": "reader", "features": bodies[1]}, key=told.running.nobody)
        for row in ({"key": value, "values": {"age": value}, "at": "2026-01-01T00:00:00Z"},
                    {"key": value, "values": {"age": -1, "x": value}, "at": value}):  # fmt: skip
            told.ask("POST", "/v1/features/people/push", {"rows": [row]})
        told.ask("POST", "/v1/features/people/read", {"keys": [value, value * 9]})
    for value in KNOWN.values():
        told.ask("POST", "/v1/predictions", {"model_id": value, "features": {}})
        told.ask("POST", "/v1/predictions", {"model_id": f"reader@{value}", "features": {}})
        told.ask("POST", "/v1/predictions", {"model_id": "reader", "features": {"text": "x", value: value}})
        told.ask("POST", "/v1/predictions", {value: "x"})


def through_bad_bodies(told: Told) -> None:
    for value in CANARIES.values():
        raw = value.encode()
        for path in ("/v1/predictions", "/v1/keys", "/v1/flags/evaluate", "/v1/policies/check"):
            for body in (raw, b'{"password": "' + raw, b'{"a": "' + raw + b'\xff"}', b'["' + raw + b'", NaN]',
                         b'"' + raw + b'"', b"[" * 99 + b'"' + raw + b'"' + b"]" * 99):  # fmt: skip
                told.ask("POST", path, body)
        told.ask("POST", "/v1/keys", {"name": {"x": value}, "roles": value})
        told.ask("POST", "/v1/predictions", b'{"model_id": "' + raw * 300_000 + b'"}')
    for value in KNOWN.values():
        told.ask("POST", "/v1/predictions", f'{{"{value}": 1, "{value}": 2}}'.encode())


def through_flags_and_policies(told: Told) -> None:
    for value in CANARIES.values():
        told.ask("POST", "/v1/flags/evaluate", {"keys": ["f"], "attributes": {"mail": value, "key": value}})
        told.ask("PUT", "/v1/flags/f", {"key": "f", "variants": value, "default": value})
        told.ask(
            "PUT", "/v1/flags/f", {"key": "f", "variants": {"on": True}, "default": "on", "rules": [{"if": value}]}
        )
        told.ask("PUT", "/v1/policies", {"text": f'permit (principal == "{value}"', "version": 0})
        told.ask(
            "PUT", "/v1/policies", {"text": f'permit (principal, action == Action::"{value}", resource);', "version": 0}
        )
        told.ask("PUT", "/v1/policies", {"text": f"// {value}", "version": 999})
        told.ask("POST", "/v1/policies/check", {"action": value, "resource": value, "roles": [value]})


def through_the_wire(told: Told) -> None:
    """Bytes that are no HTTP."""
    place = urlsplit(told.running.url)
    for value in CANARIES.values():
        for line in (
            value,
            f"GET /{value} HTTP/1.1\r\nHost: a\r\nHost: b",
            f"GET / HTTP/1.1\r\n{value}",
            f"POST / HTTP/1.1\r\nContent-Length: {value}",
        ):
            with socket.create_connection((str(place.hostname), place.port), timeout=60) as link:
                link.sendall(line.encode() + b"\r\n\r\n")
                link.shutdown(socket.SHUT_WR)
                while link.recv(65536):
                    pass


DOORS = (
    through_headers, through_paths, through_queries, through_features, through_bad_bodies,
    through_flags_and_policies, through_the_wire,
)  # fmt: skip


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, begin: Callable[..., Any], commands: Callable[..., Any]
) -> Iterator[Told]:
    """A system that has been told everything, with all its spans kept and its log at its most talkative."""
    folder = tmp_path_factory.mktemp("canary")
    (folder / "system.py").write_text(SYSTEM)
    env = {
        "STANCHION_TELEMETRY__SAMPLE": "1",
        "STANCHION_TELEMETRY__LOG_LEVEL": "debug",
        "STANCHION_TELEMETRY__SAMPLE_PER_SECOND": "10000",
    }
    running = begin(folder / "data", file=folder / "system.py", env=env)
    made = commands(
        "keys", "create", "--name", "nobody", "--scope", "nothing:none", "--data", running.data, "--json", cwd=folder
    )
    running.nobody = json.loads(made.stdout)["secret"]
    told = Told(running)
    for door in DOORS:
        try:
            door(told)
        except (http.client.HTTPException, ConnectionError) as error:
            raise AssertionError(f"{door.__name__} broke the connection: {error!r}") from error
    yield told


def spellings(value: str) -> list[bytes]:
    """A value as it may lie in a file: plain, without spaces, quoted for a URL, in base64."""
    plain = value.encode()
    return [plain, plain.replace(b" ", b""), quoted(value).encode(), base64.b64encode(plain)]


def found_in(content: bytes) -> set[str]:
    return {name for name, value in CANARIES.items() if any(each in content for each in spellings(value))}


def test_the_requests_reached_what_they_were_meant_to(told: Told) -> None:
    statuses = {answer.status for _, answer in told.answers}
    assert {200, 400, 401, 403, 404, 405, 413, 422, 500} <= statuses
    outcomes = [answer.json for where, answer in told.answers if "/v1/predictions" in where and answer.status == 200]
    assert {each["served_by"] for each in outcomes} >= {"primary", "rule"}
    log = told.running.errors()
    assert "RuntimeError" in log and "rung primary of reader failed: ValueError" in log


# A reading names the key it was asked for, and a refused policy the word of it that is at fault.
ABOUT_THEMSELVES = {("POST /v1/features/people/read", 200): set(CANARIES), ("PUT /v1/policies", 422): {"password"}}


def test_no_answer_repeats_what_was_sent(told: Told) -> None:
    repeated = [
        (where, answer.status, names)
        for where, answer in told.answers
        if (names := found_in(shown(answer)) - ABOUT_THEMSELVES.get((where, answer.status), set()))
    ]
    assert repeated == [], "\n".join(map(str, repeated))


def shown(answer: Any) -> bytes:
    """An answer without the one place where a page must keep what it was sent: where to go on after the login."""
    kept = {k: v for k, v in answer.headers.items() if k != "location"}
    content = answer.content
    if b"text/html" in answer.headers.get("content-type", "").encode():
        content = b"\n".join(line for line in content.splitlines() if b'name="next"' not in line)
    return json.dumps(kept).encode() + content


def test_no_metric_span_ledger_row_or_audit_event_holds_it(told: Told) -> None:
    running = told.running
    assert found_in(running.ask("GET", "/metrics").content) == set()
    assert len(running.ask("GET", "/v1/telemetry/requests?limit=100").json["items"]) == 100
    assert running.ask("GET", "/v1/telemetry/traces?limit=100").json
    assert found_in(running.ask("GET", "/v1/audit/export").content) == set()


def test_the_log_holds_none_of_it(told: Told) -> None:
    bad = [line for line in told.running.errors().splitlines() if found_in(line.encode())]
    assert bad == []


def test_no_file_under_the_data_folder_holds_any_of_it(told: Told) -> None:
    def everywhere() -> dict[str, set[str]]:
        files = [path for path in told.running.data.rglob("*") if path.is_file()]
        assert {"state.db", "telemetry.db", "stderr.txt"} <= {path.name for path in files}
        held = {str(path.relative_to(told.running.data)): found_in(path.read_bytes()) for path in files}
        return {name: found for name, found in held.items() if found}

    assert everywhere() == {}  # with the write-ahead logs of a running system
    assert told.running.stop() == 0
    assert everywhere() == {}


def test_what_is_sought_would_be_found(tmp_path: Path) -> None:
    """The search itself: a card number in other clothes, a key in base64."""
    assert found_in(b"4111111111111111") == {"card"}
    assert found_in(b"x" + base64.b64encode(KEY.encode()) + b"y") == {"key"}
    assert found_in(b"canary.person%40example.org") == {"mail"}
