"""Every route: no credential 401, wrong role 403, another tenant's id answers as an unknown id, no input gives 5xx."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.walked import KINDS, MODEL, UNKNOWN, VALID

OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/v2/health/live"), ("GET", "/v2/health/ready")}
# A webhook's credential is its message's signature: test_http.py of events shows that nothing else is taken.
OPEN |= {("POST", "/v1/webhooks/{tenant}/{hook}")}


@dataclass
class Place:
    running: Any
    theirs: str
    third: str
    nobody: str
    known: dict[str, str]


@pytest.fixture(scope="module")
def place(
    trained: Path, tmp_path_factory: pytest.TempPathFactory, begin: Callable[..., Any], commands: Callable[..., Any]
) -> Iterator[Place]:
    import shutil

    data = tmp_path_factory.mktemp("walk") / "data"
    shutil.copytree(trained, data)
    running = begin(data)

    def key(*arguments: str) -> str:
        done = commands("keys", "create", "--data", data, "--json", *arguments, cwd=data)
        assert done.returncode == 0, done.stderr
        secret: str = json.loads(done.stdout)["secret"]
        return secret

    theirs = key("--name", "theirs", "--role", "admin", "--tenant", "other")
    third = key("--name", "third", "--role", "admin", "--tenant", "third")
    nobody = key("--name", "nobody", "--scope", "nothing:none")
    headers = {"traceparent": f"00-{'12' * 16}-{'34' * 8}-01"}
    assert running.predict(headers=headers).status == 200
    own = running.ask("GET", "/v1/keys").json[0]["id"]
    yield Place(
        running, theirs, third, nobody, {**UNKNOWN, "key_id": own, "seq": "0", "model": MODEL, "version": "1.0.0"}
    )
    running.stop()


def _path(template: str, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: names[match[1]], template)


def _operations(place: Place) -> list[tuple[str, str]]:
    document = place.running.ask("GET", "/openapi.json", key=None).json
    return [(m.upper(), path) for path, item in document["paths"].items() for m in item]


def test_the_walk_knows_every_route(place: Place) -> None:
    assert set(_operations(place)) - OPEN == set(VALID)


def test_without_a_credential_every_route_answers_401(place: Place) -> None:
    for method, path in VALID:
        for key in (None, "st_forged", "eyJhbGciOiJub25lIn0.e30."):
            head = KINDS.get((method, path))
            answer = place.running.ask(method, _path(path, place.known), VALID[method, path], key=key, headers=head)
            assert (method, path, answer.status) == (method, path, 401)
            assert answer.json["code"] == "not_authenticated"


def test_with_a_role_that_permits_nothing_every_route_answers_403(place: Place) -> None:
    for method, path in VALID:
        head = KINDS.get((method, path))
        where, body = _path(path, place.known), VALID[method, path]
        answer = place.running.ask(method, where, body, key=place.nobody, headers=head)
        assert (method, path, answer.status) == (method, path, 403), answer.content
        assert answer.json["code"] == "not_allowed"


def _bare(answer: Any, known: dict[str, str]) -> tuple[int, Any]:
    """Status and body without what names the one request or the one id, known or not."""
    body = answer.json
    own = ("trace_id", "instance", "since")
    bare = {k: v for k, v in body.items() if k not in own} if isinstance(body, dict) else body
    text = json.dumps(bare, sort_keys=True)
    for name, one in [*known.items(), *UNKNOWN.items()]:
        if name not in ("key", "alias"):
            text = re.sub(rf"(?<![\w.]){re.escape(one)}(?![\w.])", f"<{name}>", text)
    return answer.status, text


def test_another_tenants_id_answers_as_an_unknown_one(place: Place) -> None:
    for method, path in VALID:
        if not re.search(r"\{(key_id|seq|trace_id|request_id|model|version|view|service|job|name)\}", path):
            continue
        body = VALID[method, path]
        theirs = place.running.ask(method, _path(path, place.known), body, key=place.theirs)
        unknown = place.running.ask(method, _path(path, UNKNOWN), body, key=place.theirs)
        assert theirs.status in (404, 200), (method, path, theirs.content)
        assert _bare(theirs, place.known) == _bare(unknown, place.known), (method, path)
        if theirs.status == 200:
            empty = ("/promotions", "/content", "/quality", "/journal/{request_id}", "/drills/{model}")
            assert path.endswith(empty) and (method == "GET" or "drills" in path)
            assert theirs.json in ([], {"data": []}, {"ended": 0}) or theirs.json["versions"] == []


def test_lists_of_another_tenant_hold_nothing_of_ours(place: Place) -> None:
    for path in ("/v1/models", "/v1/keys", "/v1/audit/events", "/v1/telemetry/requests", "/v1/telemetry/traces"):
        content = place.running.ask("GET", path, key=place.third).content.decode()
        assert MODEL not in content
        assert place.known["key_id"] not in content
        assert '"default"' not in content


def test_another_tenant_cannot_use_our_model(place: Place) -> None:
    answer = place.running.ask("POST", "/v1/predictions", VALID["POST", "/v1/predictions"], key=place.theirs)
    assert answer.status == 404


CORPUS = {
    "deep nesting": b"[" * 100_000,
    "deep object": b'{"model_id":' * 500 + b"1" + b"}" * 500,
    "NaN": b'{"model_id": "x", "features": {"tenure_months": NaN}}',
    "Infinity": b'{"model_id": "x", "features": {"tenure_months": Infinity}}',
    "duplicate name": b'{"model_id": "a", "model_id": "b", "features": {}}',
    "huge number": b'{"model_id": "x", "features": {"tenure_months": 1e99999}}',
    "huge integer": b'{"model_id": "' + MODEL.encode() + b'", "features": {"tenure_months": ' + b"9" * 5000 + b"}}",
    "bad UTF-8": b'{"model_id": "\xff\xff", "features": {}}',
    "lone surrogate": b'{"model_id": "\\ud800", "features": {}}',
    "NUL": b'{"model_id": "\\u0000", "features": {}}',
    "empty": b"",
    "a number": b"12",
    "an array": b"[]",
    "null": b"null",
    "cut off": b'{"model_id": "x", "feat',
    "wrong types": b'{"model_id": 3, "features": [1]}',
    "unknown field": b'{"model_id": "x", "features": {}, "other": 1}',
    "both forms": b'{"model_id": "x", "features": {}, "instances": []}',
}


@pytest.mark.parametrize("name", CORPUS)
def test_doubtful_bodies_get_a_problem_document(place: Place, name: str) -> None:
    for path in ("/v1/predictions", "/v1/keys", "/v1/flags/evaluate"):
        answer = place.running.ask("POST", path, CORPUS[name])
        assert 400 <= answer.status < 500, (path, answer.content)
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"code", "detail", "next_step", "status", "title", "trace_id"} <= set(answer.json)


def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(place: Place) -> None:
    answer = place.running.ask("POST", "/v1/predictions", b'{"model_id": "' + b"x" * (9 << 20) + b'"}')
    assert (answer.status, answer.json["code"]) == (413, "payload_too_large")


CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def _generate(place: Place, folder: Path, *selection: str) -> None:
    """Schemathesis over the document: nothing answers 5xx, and every answer is one that the document tells of."""
    arguments = [
        "--checks", CHECKS, "--max-examples", "10", "--phases", "examples,coverage,fuzzing", "--seed", "1",
        "--header", f"Authorization: Bearer {place.running.key}", "--request-timeout", "30", "--no-color",
        "--suppress-health-check", "all", *selection,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", place.running.url + "/openapi.json", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.timeout(900)
def test_no_generated_request_gives_a_server_error(place: Place, tmp_path: Path) -> None:
    # Trainings take seconds each. Key ids are learned from answers: used here, they would end the very key in use.
    # A stream lasts as long as a request may, and a worker waits for events: the one is cut short, the other left out.
    _generate(place, tmp_path, "--exclude-path-regex", r"trainings$|keys/\{key_id\}|/take$|^/v1/events$")
    _generate(place, tmp_path, "--include-path", "/v1/events", "--header", "Request-Timeout: 1")
    _generate(place, tmp_path, "--include-path-regex", r"keys/\{key_id\}")
