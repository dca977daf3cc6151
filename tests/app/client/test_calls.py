"""Typed outcomes, typed errors, retries that respect the server and the caller's time, and streams."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from stanchion.app.client import Client, Outcome, Refused
from stanchion.app.client.calls import Events
from stanchion.core.errors import (
    CircuitOpen,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    Misconfigured,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    StanchionError,
    Throttled,
    Unavailable,
)
from stanchion.core.resilience import RetryRules

ANSWER = {
    "request_id": "r1",
    "trace_id": "t1",
    "model_id": "m",
    "model_version": "1.0.0",
    "served_by": "primary",
    "latency_ms": 0.5,
    "label": "high",
    "score": 0.7,
}


def problem(code: str, status: int, **more: Any) -> httpx2.Response:
    return httpx2.Response(status, json={"code": code, "detail": code, "trace_id": "t9", **more})


class Item(BaseModel):
    months: int
    name: str | None = None


class Risk(BaseModel):
    label: Literal["low", "high"]
    score: float


@dataclass
class Plain:
    label: str
    score: float


def test_an_outcome_is_of_the_type_that_was_asked_for(client: Any, script: Any) -> None:
    with client() as calling:
        outcome = calling.predict("m", Item(months=3), into=Risk, explain=True, priority="bulk", unit="u7")
        assert outcome.value == Risk(label="high", score=0.7)
        assert (outcome.model, outcome.version, outcome.served_by) == ("m", "1.0.0", "primary")
        assert (outcome.request_id, outcome.trace_id, outcome.latency_ms) == ("r1", "t1", 0.5)
        assert calling.predict("m", {"months": 3}, into=Plain).value == Plain("high", 0.7)
        assert calling.predict("m", {"months": 3}).value == {"label": "high", "score": 0.7}
    assert json.loads(script.requests[0].content) == {
        "model_id": "m",
        "features": {"months": 3, "name": None},
        "explain": "timing",
        "options": {"priority": "bulk", "unit": "u7"},
    }
    assert script.requests[0].headers["authorization"] == "Bearer st_key"


def test_a_refused_instance_leaves_the_others_answered(client: Any, script: Any) -> None:
    error = {"code": "invalid_input", "detail": "no", "errors": [{"path": "$.instances[1].months", "message": "no"}]}
    answers = {**script_answer(), "predictions": [{"label": "low", "score": 0.1}, {"error": error}]}
    script.replies.append(httpx2.Response(200, json=answers))
    with client() as calling:
        outcomes = calling.predict_many("m", [Item(months=1), {"months": "x"}], into=Risk)
    good, bad = outcomes
    assert isinstance(good, Outcome)
    assert (good.value, good.instance, good.index) == (Risk(label="low", score=0.1), 0, 0)
    assert isinstance(bad, Refused)
    assert (bad.index, bad.error.fields[0].path) == (1, "$.instances[1].months")
    with pytest.raises(InvalidInput):
        outcomes.values()


def script_answer() -> dict[str, Any]:
    return {"request_id": "r1", "trace_id": "t1", "model_id": "m", "model_version": "1.0.0", "served_by": "primary"}


def test_the_only_instance_of_a_call_is_refused_the_same_way(client: Any, script: Any) -> None:
    fields = [{"path": "$.instances[0].months", "message": "no"}]
    script.replies.append(problem("invalid_input", 422, errors=fields))
    script.replies.append(problem("invalid_input", 422, errors=[{"path": "$.model_id", "message": "no"}]))
    with client() as calling:
        [refused] = calling.predict_many("m", [{}])
        assert isinstance(refused, Refused)
        with pytest.raises(InvalidInput):
            calling.predict_many("a b", [{}])


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("invalid_input", 422, InvalidInput),
        ("not_authenticated", 401, NotAuthenticated),
        ("not_allowed", 403, NotAllowed),
        ("not_found", 404, NotFound),
        ("conflict", 409, Conflict),
        ("internal_error", 500, StanchionError),
        ("deadline_exceeded", 504, DeadlineExceeded),
        ("circuit_open", 503, CircuitOpen),
    ],
)
def test_a_problem_document_is_raised_as_our_error_and_not_tried_again(
    code: str, status: int, kind: type[StanchionError], client: Any, script: Any
) -> None:
    script.replies.append(problem(code, status))
    with client() as calling, pytest.raises(kind) as raised:
        calling.predict("m", {})
    assert type(raised.value) is kind
    assert raised.value.__notes__ == ["trace t9"]
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, NotAuthenticated), (404, NotFound), (413, InvalidInput), (400, StanchionError)]
)
def test_an_answer_of_something_in_between_is_an_error_of_its_status(
    status: int, kind: type[StanchionError], client: Any, script: Any
) -> None:
    script.replies.append(httpx2.Response(status, text="<html>"))
    with client() as calling, pytest.raises(kind):
        calling.predict("m", {})


@pytest.mark.parametrize(
    "reply",
    [problem("unavailable", 503), problem("throttled", 429), httpx2.Response(502), httpx2.ConnectError("no")],
    ids=["unavailable", "throttled", "a proxy's 502", "no connection"],
)
def test_a_passing_failure_is_tried_again(reply: Any, client: Any, script: Any) -> None:
    script.replies += [reply, reply]
    with client() as calling:
        assert calling.predict("m", {}).version == "1.0.0"
    assert len(script.requests) == 3
    assert all(wait <= 0.2 for wait in script.waits)


def test_the_servers_own_wait_is_kept(client: Any, script: Any) -> None:
    script.replies.append(problem("throttled", 429, retry_after=2.5))
    script.replies.append(httpx2.Response(503, headers={"Retry-After": "3"}))
    with client() as calling:
        calling.predict("m", {})
    assert script.waits == [2.5, 3.0]


def test_a_wait_beyond_the_most_or_beyond_the_callers_time_is_not_begun(client: Any, script: Any) -> None:
    with client() as calling:
        for more in ({"retry_after": 6}, {"retry_after": 4}):
            script.replies.append(problem("throttled", 429, **more))
            with pytest.raises(Throttled):
                calling.predict("m", {}, timeout=3)
    assert script.waits == []


def test_attempts_end(client: Any, script: Any) -> None:
    script.replies += [problem("unavailable", 503) for _ in range(9)]
    with client() as calling, pytest.raises(Unavailable):
        calling.predict("m", {})
    assert len(script.requests) == 4


def test_retries_of_all_calls_together_have_a_budget(client: Any, script: Any) -> None:
    """While everything fails, traffic grows by little and not by the number of attempts."""
    script.replies += [problem("unavailable", 503) for _ in range(1000)]
    with client(retries=RetryRules(attempts=4, base=0.000001, maximum=1)) as calling:
        for _ in range(100):
            with pytest.raises(Unavailable):
                calling.predict("m", {})
    assert len(script.requests) <= 100 + 10 + 0.1 * 100


def test_the_time_left_travels_and_shrinks(client: Any, script: Any) -> None:
    script.replies += [problem("unavailable", 503, retry_after=2), problem("unavailable", 503, retry_after=1)]
    with client(timeout=10) as calling:
        calling.predict("m", {})
    told = [float(request.headers["request-timeout"]) for request in script.requests]
    assert told == pytest.approx([10, 8, 7])


def test_no_attempt_begins_when_the_time_is_over(client: Any, script: Any) -> None:
    def late(request: httpx2.Request) -> httpx2.Response:
        script.clock.advance(20)
        raise httpx2.ConnectError("no")

    script.replies.append(late)
    with client(timeout=10) as calling, pytest.raises(Unavailable):
        calling.predict("m", {})
    assert len(script.requests) == 1
    script.replies.append(httpx2.ReadTimeout("slow"))
    with client(timeout=10) as calling, pytest.raises(DeadlineExceeded):
        calling.predict("m", {})


def test_an_instance_without_a_form_in_json_is_refused_before_it_is_sent(client: Any, script: Any) -> None:
    with client() as calling, pytest.raises(InvalidInput):
        calling.predict("m", {"x": object()})
    assert script.requests == []


def events(*given: tuple[str, Any]) -> bytes:
    return b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in given)


def answered(index: int) -> tuple[str, Any]:
    outcome = {"label": "low", "score": 0.1}
    return "answer", {**script_answer(), "index": index, "request_id": f"r{index}", "outcome": outcome}


def test_a_stream_gives_each_outcome_and_ends(client: Any, script: Any) -> None:
    bad = ("answer", {"index": 0, "error": {"code": "invalid_input", "detail": "no"}})
    content = events(answered(1), bad, ("end", {}))
    script.replies.append(httpx2.Response(200, content=content, headers={"x-trace-id": "t5"}))
    with client() as calling:
        first, second = calling.stream("m", [{}, {}], into=Risk)
    assert (first.value, first.index, first.instance, first.request_id) == (Risk(label="low", score=0.1), 1, 0, "r1")
    assert first.trace_id == "t5"
    assert (second.index, second.error.code) == (0, "invalid_input")


def test_a_stream_that_breaks_off_says_so(client: Any, script: Any) -> None:
    script.replies.append(httpx2.Response(200, content=events(answered(0))))
    with client() as calling:
        stream = calling.stream("m", [{}, {}])
        next(stream)
        with pytest.raises(Unavailable, match="broke off"):
            next(stream)
    assert len(script.requests) == 1


def test_an_error_in_band_is_raised_and_a_stream_is_begun_anew_only_before_its_first_outcome(
    client: Any, script: Any
) -> None:
    error = ("error", {"code": "unavailable", "detail": "away"})
    script.replies += [
        problem("unavailable", 503),
        httpx2.Response(200, content=events(error)),
        httpx2.Response(200, content=events(answered(0), error)),
    ]
    with client() as calling:
        stream = calling.stream("m", [{}, {}])
        assert next(stream).index == 0
        with pytest.raises(Unavailable):
            next(stream)
    assert len(script.requests) == 3


@given(st.lists(st.text(max_size=12), max_size=5), st.data())
def test_events_are_the_same_however_their_bytes_arrive(texts: list[str], data: st.DataObject) -> None:
    whole = events(*((f"e{place}", {"text": text}) for place, text in enumerate(texts)))
    whole = data.draw(st.sampled_from([whole, whole.replace(b"\n", b"\r\n")]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parser, found = Events(), []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += parser.fed(whole[start:end])
    assert [each["text"] for _, each in found] == texts


def test_models_and_feedback_are_of_the_contracts_types(client: Any, script: Any) -> None:
    served = {
        "model": "m", "version": "1.0.0", "stage": None, "input_schema": {}, "output_schema": {}, "rungs": [],
        "loaded_at": None, "fault": None,
    }  # fmt: skip
    script.replies.append(httpx2.Response(200, json={"data": [served]}))
    with client() as calling:
        [model] = calling.models()
        assert (model.model, model.version) == ("m", "1.0.0")
        noted = {"status": "stored", "model": "m", "version": "1.0.0", "error": None}
        script.replies += [httpx2.Response(200, json=ANSWER), httpx2.Response(200, json={"results": [noted]})]
        assert calling.feedback(calling.predict("m", {}), label=1, outcome=9.5, metric="revenue").status == "stored"
        refused = {**noted, "status": "refused", "error": {"code": "not_found", "detail": "not kept"}}
        script.replies.append(httpx2.Response(200, json={"results": [refused]}))
        with pytest.raises(NotFound):
            calling.feedback("r9", label="high")
    told = [json.loads(request.content)["items"] for request in script.requests[-2:]]
    assert told[0] == [{"request_id": "r1", "instance": 0, "label": 1, "outcome": 9.5, "metric": "revenue"}]
    assert told[1] == [{"request_id": "r9", "label": "high"}]


def test_what_an_answer_says_of_itself_is_no_part_of_its_value(client: Any, script: Any) -> None:
    marks = {"served_by": "cached", "age_seconds": 3.5, "overruled_by": "cap", "review": "near the threshold"}
    script.replies.append(httpx2.Response(200, json={**ANSWER, **marks, "arm": "canary"}))
    several = {**script_answer(), "predictions": [{"label": "low", **marks}, {"label": "high"}]}
    script.replies.append(httpx2.Response(200, json=several))
    with client() as calling:
        single, (first, second) = calling.predict("m", {}), calling.predict_many("m", [{}, {}])
    for found in (single, first):
        assert (found.served_by, found.age_seconds, found.overruled_by) == ("cached", 3.5, "cap")
        assert found.review == "near the threshold"
    assert (single.value, single.arm) == ({"label": "high", "score": 0.7}, "canary")
    assert (first.value, second.value, second.served_by) == ({"label": "low"}, {"label": "high"}, "primary")


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", "", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        Client(url, "k")


def test_a_key_travels_in_the_clear_to_this_machine_only() -> None:
    with pytest.raises(Misconfigured, match="unencrypted"):
        Client("http://10.0.0.1:8080", "k")
    for url in ("http://localhost:1", "http://[::1]:1", "http://127.0.0.2:1", "https://10.0.0.1"):
        Client(url, "k").close()
    Client("http://10.0.0.1:8080", "k", insecure=True).close()
    Client("http://10.0.0.1:8080").close()


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Any) -> None:
    with pytest.raises(Misconfigured, match=r"absent\.pem"):
        Client("https://x", "k", authority=tmp_path / "absent.pem")


def test_the_client_is_imported_without_what_speaks_http_or_serves() -> None:
    program = (
        "import sys; from stanchion import Client, AsyncClient; from stanchion.app.client import Client as C;"
        "assert C is Client; print([m for m in ('httpx2', 'fastapi', 'onnxruntime', 'pydantic', 'numpy', 'sqlalchemy')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_async_client_does_the_same(async_client: Any, script: Any) -> None:
    async with async_client() as calling:
        script.replies += [problem("unavailable", 503, retry_after=1)]
        assert (await calling.predict("m", Item(months=1), into=Risk)).value == Risk(label="high", score=0.7)
        assert script.waits == [1.0]
        script.replies.append(httpx2.Response(200, json={**script_answer(), "predictions": [{"label": "low"}]}))
        assert (await calling.predict_many("m", [{}])).values() == [{"label": "low"}]
        script.replies += [problem("unavailable", 503), httpx2.Response(200, content=events(answered(0), ("end", {})))]
        assert [each.index async for each in calling.stream("m", [{}])] == [0]
        script.replies.append(problem("not_found", 404))
        with pytest.raises(NotFound):
            await calling.predict("m", {})
