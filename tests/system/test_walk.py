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

MODEL = "customer-churn-v2"
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/v2/health/live"), ("GET", "/v2/health/ready")}
# A webhook's credential is its message's signature: test_http.py of events shows that nothing else is taken.
OPEN |= {("POST", "/v1/webhooks/{tenant}/{hook}")}
FEATURES = {"customer_id": "1", "tenure_months": 1, "monthly_charges": 1.0}
TENSORS = {
    "inputs": [
        {"name": "customer_id", "shape": [1, 1], "datatype": "BYTES", "data": ["1"]},
        {"name": "tenure_months", "shape": [1, 1], "datatype": "INT64", "data": [1]},
        {"name": "monthly_charges", "shape": [1, 1], "datatype": "FP64", "data": [1.0]},
    ]
}
FLAG = {"key": "f", "variants": {"on": True, "off": False}, "default": "off"}

_PART = '--walk\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
UPLOAD = (
    _PART.format("purpose", "batch") + _PART.format('file"; filename="calls.jsonl', "{}") + "--walk--\r\n"
).encode()

CHAT = {"model": "no-such-model", "messages": [{"role": "user", "content": "Hello."}]}

CHOSEN = {"types": ["a.*"], "since": "2026-01-01T00:00:00Z"}

# A valid request for every operation. Names in <> are filled with ids that exist, or with ones that do not.
DRAFT = {"queue": "no-such-queue", "input": {}, "proposal": {}, "key": "walk"}
DECISION = {"version": 1, "digest": "ab" * 32, "token": 1, "verdict": "approve"}
VALID: dict[tuple[str, str], Any] = {
    ("GET", "/v1/keys"): None,
    ("POST", "/v1/keys"): {"name": "walk", "roles": ["viewer"]},
    ("POST", "/v1/keys/{key_id}/rotate"): {"overlap_seconds": 60},
    ("DELETE", "/v1/keys/{key_id}"): None,
    ("GET", "/v1/policies"): None,
    ("PUT", "/v1/policies"): {"text": "", "version": 0},
    ("GET", "/v1/policies/built-in"): None,
    ("POST", "/v1/policies/check"): {"action": "serving:predict", "roles": ["viewer"]},
    ("GET", "/v1/audit/events"): None,
    ("POST", "/v1/audit/verify"): None,
    ("GET", "/v1/audit/proofs/{seq}"): None,
    ("GET", "/v1/audit/export"): None,
    ("GET", "/v1/telemetry/requests"): None,
    ("GET", "/v1/telemetry/requests/{request_id}/content"): None,
    ("GET", "/v1/telemetry/overview"): None,
    ("GET", "/v1/telemetry/traces"): None,
    ("GET", "/v1/telemetry/traces/{trace_id}"): None,
    ("GET", "/v1/flags"): None,
    ("POST", "/v1/flags/evaluate"): {"keys": ["f"]},
    ("PUT", "/v1/flags/{key}"): FLAG,
    ("POST", "/v1/flags/{key}/kill"): {"on": True},
    ("GET", "/v1/features"): None,
    ("POST", "/v1/features/{view}/read"): {"keys": ["1"]},
    ("POST", "/v1/features/{view}/push"): {"rows": [{"key": "1", "values": {}, "at": "2026-01-01T00:00:00Z"}]},
    ("GET", "/v1/features/health"): None,
    ("GET", "/v1/features/services"): None,
    ("POST", "/v1/features/services/{service}/vectors"): {"entities": [{"customer_id": "1"}]},
    ("POST", "/v1/features/services/{service}/log"): {
        "vectors": [{"request_id": "r1", "entities": {}, "values": {}, "read_at": "2026-01-01T00:00:00Z"}]
    },
    ("GET", "/v1/features/services/{service}/skew"): None,
    ("POST", "/v1/features/{view}/materialise"): {},
    ("POST", "/v1/features/services/{service}/historical"): {
        "time": "at",
        "rows": [{"customer_id": "1", "at": "2026-01-01T00:00:00Z"}],
    },
    ("GET", "/v1/features/services/{service}/lineage"): None,
    ("GET", "/v1/lineage/features/{service}"): None,
    ("POST", "/get-online-features"): {"feature_service": "walk", "entities": {"customer_id": ["1"]}},
    ("GET", "/v1/models"): None,
    ("GET", "/v1/models/{model}"): None,
    ("GET", "/v1/models/{model}/versions"): None,
    ("GET", "/v1/models/{model}/versions/{version}"): None,
    ("GET", "/v1/models/{model}/promotions"): None,
    ("POST", "/v1/models/{model}/promotions"): {"version": "1.0.0", "to": "production", "evidence": "walk"},
    ("POST", "/v1/models/{model}/rollback"): {"reason": "walk"},
    ("PUT", "/v1/models/{model}/aliases/{alias}"): {"version": "1.0.0"},
    ("DELETE", "/v1/models/{model}/aliases/{alias}"): None,
    ("GET", "/v1/trainings"): None,
    ("POST", "/v1/models/{model}/trainings"): None,
    ("GET", "/v1/serving/models"): None,
    ("GET", "/v1/serving/models/{model}"): None,
    ("GET", "/v1/serving/models/{model}/quality"): None,
    ("POST", "/v1/feedback"): {"items": [{"request_id": "ab" * 12, "label": 1}]},
    ("GET", "/v1/serving/journal/{request_id}"): None,
    ("GET", "/v1/serving/rollouts"): None,
    ("POST", "/v1/serving/rollouts"): {"model": MODEL, "version": "1.0.0", "kind": "shadow"},
    ("GET", "/v1/serving/rollouts/{model}"): None,
    ("POST", "/v1/serving/rollouts/{model}/approve"): None,
    ("POST", "/v1/serving/rollouts/{model}/pause"): {"reason": "walk"},
    ("POST", "/v1/serving/rollouts/{model}/resume"): {"reason": "walk"},
    ("POST", "/v1/serving/rollouts/{model}/abort"): {"reason": "walk"},
    ("POST", "/v1/serving/rollouts/{model}/promote"): {"evidence": "walk"},
    ("POST", "/v1/serving/rollouts/{model}/rollback"): {"reason": "walk"},
    ("GET", "/v1/serving/drills"): None,
    ("POST", "/v1/serving/drills"): {"model": MODEL, "rung": "primary", "seconds": 1},
    ("DELETE", "/v1/serving/drills/{model}"): None,
    ("GET", "/v1/serving/batches"): None,
    ("POST", "/v1/serving/batches"): {"model_id": MODEL, "input": "in.csv", "output": "out.csv"},
    ("GET", "/v1/serving/batches/{job}"): None,
    ("POST", "/v1/serving/batches/{job}/cancel"): None,
    ("GET", "/v1/serving/sidecars"): None,
    ("GET", "/v1/serving/sidecars/{name}"): None,
    ("POST", "/v1/serving/sidecars/{name}/outcomes"): {"outcomes": [{"request_id": "ab" * 12, "outcome": 1.0}]},
    ("POST", "/v1/advice"): {"sidecar": "walk", "features": FEATURES, "base": 1.0},
    ("POST", "/v1/chat/completions"): CHAT,
    ("POST", "/v1/completions"): {"model": "no-such-model", "prompt": "Hello."},
    ("POST", "/v1/responses"): {"model": "no-such-model", "input": "Hello."},
    ("POST", "/v1/embeddings"): {"model": "no-such-model", "input": "Hello."},
    ("POST", "/v1/rerank"): {"model": "no-such-model", "query": "Hello.", "documents": ["Hello."]},
    ("POST", "/v1/messages"): {**CHAT, "max_tokens": 5},
    ("GET", "/v1/files"): None,
    ("POST", "/v1/files"): UPLOAD,
    ("GET", "/v1/files/{file_id}"): None,
    ("DELETE", "/v1/files/{file_id}"): None,
    ("GET", "/v1/files/{file_id}/content"): None,
    ("GET", "/v1/batches"): None,
    ("POST", "/v1/batches"): {
        "input_file_id": "file-0",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
    },
    ("GET", "/v1/batches/{batch_id}"): None,
    ("POST", "/v1/batches/{batch_id}/cancel"): None,
    ("GET", "/v1/gateway/routes"): None,
    ("PUT", "/v1/gateway/routes/{route}"): {"primary": "no-such-model"},
    ("DELETE", "/v1/gateway/routes/{route}"): None,
    ("GET", "/v1/gateway/routes/{route}/versions"): None,
    ("POST", "/v1/gateway/routes/{route}/restore"): {"restored": 1},
    ("GET", "/v1/gateway/cascades"): None,
    ("POST", "/v1/gateway/plan"): {"request": CHAT},
    ("GET", "/v1/gateway/upstreams"): None,
    ("PUT", "/v1/gateway/upstreams/{upstream}/drain"): {"drained": True},
    ("GET", "/v1/gateway/tools"): None,
    ("POST", "/v1/gateway/tools/{tool}"): {"arguments": {}},
    ("POST", "/v1/mcp"): {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
    ("GET", "/v1/gateway/budgets"): None,
    ("GET", "/v1/gateway/budgets/{budget}"): None,
    ("PUT", "/v1/gateway/budgets/{budget}"): {"limits": [{"window": "day", "cost": "1"}]},
    ("DELETE", "/v1/gateway/budgets/{budget}"): None,
    ("GET", "/v1/gateway/teams"): None,
    ("PUT", "/v1/gateway/teams/{team}"): {"members": ["key:walk"]},
    ("DELETE", "/v1/gateway/teams/{team}"): None,
    ("GET", "/v1/gateway/usage"): None,
    ("GET", "/v1/gateway/usage/rows"): None,
    ("GET", "/v1/gateway/usage/export"): None,
    ("GET", "/v1/gateway/invoices"): None,
    ("POST", "/v1/gateway/scores"): {"scores": [{"request_id": "ab" * 12, "value": 1}]},
    ("GET", "/v1/gateway/comparison"): None,
    ("GET", "/v1/gateway/prompts"): None,
    ("GET", "/v1/gateway/prompts/{prompt}"): None,
    ("POST", "/v1/gateway/prompts/{prompt}"): {"messages": [{"role": "user", "text": "Hello."}]},
    ("PUT", "/v1/gateway/prompts/{prompt}/labels/{label}"): {"weights": {"1": 1}},
    ("POST", "/v1/gateway/prompts/{prompt}/render"): {},
    ("GET", "/v1/events"): None,
    ("POST", "/v1/events"): {"specversion": "1.0", "id": "1", "source": "/walk", "type": "walked"},
    ("GET", "/v1/events/consumers"): None,
    ("POST", "/v1/events/consumers/{consumer}/pause"): None,
    ("POST", "/v1/events/consumers/{consumer}/resume"): None,
    ("DELETE", "/v1/events/consumers/{consumer}"): None,
    ("POST", "/v1/events/consumers/{consumer}/take"): {},
    ("POST", "/v1/events/consumers/{consumer}/settle"): {"outcomes": [{"token": "walk"}]},
    ("POST", "/v1/events/consumers/{consumer}/extend"): {"tokens": ["walk"]},
    ("POST", "/v1/events/consumers/{consumer}/redrive"): CHOSEN,
    ("POST", "/v1/events/consumers/{consumer}/discard"): {"ids": ["walk"]},
    ("POST", "/v1/events/consumers/{consumer}/replay"): CHOSEN,
    ("GET", "/v1/events/dead"): None,
    ("GET", "/v1/events/trees/{correlation}"): None,
    ("GET", "/v1/events/recent"): None,
    ("GET", "/v1/events/recent/{place}"): None,
    ("GET", "/v1/events/asyncapi"): None,
    ("GET", "/v1/events/schemas"): None,
    ("GET", "/v1/events/schemas/{subject}"): None,
    ("POST", "/v1/events/schemas/{subject}"): {"schema": {"type": "object"}},
    ("GET", "/v1/events/schemas/{subject}/versions"): None,
    ("GET", "/v1/events/schemas/{subject}/versions/{number}"): None,
    ("POST", "/v1/events/schemas/{subject}/check"): {"schema": {"type": "object"}},
    ("PUT", "/v1/events/schemas/{subject}/compatibility"): {"compatibility": "full"},
    ("GET", "/v1/events/hooks"): None,
    ("PUT", "/v1/events/hooks/{hook}"): {"direction": "in", "type": "walked"},
    ("POST", "/v1/events/hooks/{hook}/rotate"): {},
    ("DELETE", "/v1/events/hooks/{hook}"): None,
    ("GET", "/v1/pipelines"): None,
    ("POST", "/v1/pipelines/{pipeline}/runs"): {"inputs": {}},
    ("POST", "/v1/pipelines/{pipeline}/backfills"): {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    ("GET", "/v1/pipelines/{pipeline}/graph.svg"): None,
    ("GET", "/v1/pipelines/-/schedules"): None,
    ("PUT", "/v1/pipelines/-/schedules/{schedule}"): {"paused": True},
    ("GET", "/v1/pipelines/-/queues"): None,
    ("GET", "/v1/runs"): None,
    ("GET", "/v1/runs/-/dead"): None,
    ("GET", "/v1/runs/{run}"): None,
    ("GET", "/v1/runs/{run}/stages"): None,
    ("GET", "/v1/runs/{run}/values"): None,
    ("GET", "/v1/runs/{run}/progress"): None,
    ("GET", "/v1/runs/{run}/quarantine"): None,
    ("GET", "/v1/runs/{run}/records/{record}"): None,
    ("POST", "/v1/runs/{run}/signals"): {"name": "go", "value": 1},
    ("POST", "/v1/runs/{run}/cancel"): None,
    ("POST", "/v1/runs/{run}/resume"): {},
    ("POST", "/v1/runs/{run}/fork"): {"stage": "extract"},
    ("GET", "/v1/reviews/queues"): None,
    ("GET", "/v1/reviews/reviewers"): None,
    ("PUT", "/v1/reviews/reviewers/{principal}"): {"skills": ["walking"]},
    ("GET", "/v1/reviews/queues/{queue}/statistics"): None,
    ("POST", "/v1/reviews/golden"): {"draft": DRAFT, "verdict": "approve"},
    ("GET", "/v1/reviews/queues/{queue}/datasets"): None,
    ("POST", "/v1/reviews/queues/{queue}/datasets"): None,
    ("GET", "/v1/reviews/queues/{queue}/datasets/{number}"): None,
    ("GET", "/v1/reviews"): None,
    ("POST", "/v1/reviews"): {"drafts": [DRAFT]},
    ("POST", "/v1/reviews/ask"): {"draft": DRAFT},
    ("POST", "/v1/reviews/claim"): {},
    ("POST", "/v1/reviews/decisions"): {"decisions": [{"item": "review-0", **DECISION}]},
    ("GET", "/v1/reviews/{item}"): None,
    ("DELETE", "/v1/reviews/{item}"): None,
    ("GET", "/v1/reviews/{item}/evidence"): None,
    ("POST", "/v1/reviews/{item}/decision"): DECISION,
    ("POST", "/v1/reviews/{item}/undo"): None,
    ("POST", "/v1/reviews/{item}/heartbeat"): {"token": 1},
    ("POST", "/v1/reviews/{item}/release"): {"token": 1},
    ("POST", "/v1/reviews/{item}/defer"): {"token": 1, "until": "2126-01-01T00:00:00Z"},
    ("POST", "/v1/reviews/{item}/question"): {"token": 1, "question": "Why?"},
    ("POST", "/v1/reviews/{item}/information"): {"text": "So."},
    ("POST", "/v1/reviews/{item}/delegate"): {"to": "user:walk"},
    ("GET", "/metrics"): None,
    ("POST", "/v1/predictions/stream"): {"model_id": MODEL, "instances": [FEATURES]},
    ("POST", "/v1/models/{model}/predict"): {"features": FEATURES},
    ("POST", f"/v1/models/{MODEL}/predict"): {"features": FEATURES},
    ("GET", "/v2"): None,
    ("GET", "/v2/models/{model}"): None,
    ("GET", "/v2/models/{model}/versions/{version}"): None,
    ("GET", "/v2/models/{model}/ready"): None,
    ("GET", "/v2/models/{model}/versions/{version}/ready"): None,
    ("POST", "/v2/models/{model}/infer"): TENSORS,
    ("POST", "/v2/models/{model}/versions/{version}/infer"): TENSORS,
    ("POST", "/v2/repository/index"): {},
    ("POST", "/v2/repository/models/{model}/load"): {},
    ("POST", "/v2/repository/models/{model}/unload"): {},
    ("POST", "/v1/predictions"): {
        "model_id": MODEL,
        "features": {"customer_id": "1", "tenure_months": 1, "monthly_charges": 1.0},
    },
}
# What is not sent as application/json.
KINDS = {
    ("POST", "/v1/events"): {"Content-Type": "application/cloudevents+json"},
    ("POST", "/v1/files"): {"Content-Type": "multipart/form-data; boundary=walk"},
}
UNKNOWN = {
    "file_id": "file-0",
    "batch_id": "batch_0",
    "key_id": "aaaaaaaaaaaa",
    "seq": "999999",
    "trace_id": "ab" * 16,
    "request_id": "ab" * 12,
    "key": "f",
    "view": "no-such-view",
    "service": "no-such-service",
    "job": "no-such-job",
    "route": "no-such-route",
    "budget": "no-such-budget",
    "prompt": "no-such-prompt",
    "label": "staging",
    "item": "review-0000",
    "queue": "no-such-queue",
    "principal": "user:walk",
    "number": "1",
    "team": "no-such-team",
    "tool": "no-such__tool",
    "consumer": "no-such-consumer",
    "correlation": "no-such-correlation",
    "subject": "no-such-subject",
    "hook": "no-such-hook",
    "place": "0.9223372036854775807",
    "upstream": "no-such-upstream",
    "name": "no-such-sidecar",
    "pipeline": "no-such-pipeline",
    "run": "no-such-run",
    "record": "no-such-record",
    "schedule": "no-such-schedule",
    "model": "no-such-model",
    "version": "7.7.7",
    "alias": "champion",
}


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
