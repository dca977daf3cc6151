"""Releases of a real server under constant load: whatever is switched, taken back or killed, no call fails."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest

from .graphs import MODEL, prepare

ENV = {"STANCHION_SERVING__ROLLOUT_POLL_SECONDS": "0.1"}
POINT = {"x": 2.0, "y": -1.0}
GUARDS = [{"metric": "errors", "tolerance": 0.1}]


@dataclass
class Load:
    """Clients that ask without a pause longer than some milliseconds, and what they were answered."""

    running: Any
    threads: int = 3
    answers: list[tuple[int, str, str]] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Load:
        self.ended = threading.Event()
        self.clients = [threading.Thread(target=self._run) for _ in range(self.threads)]
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for client in self.clients:
            client.join(60)

    def _run(self) -> None:
        place = urlsplit(self.running.url)
        link = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.running.key}", "Content-Type": "application/json"}
        body = json.dumps({"model_id": MODEL, "features": POINT})
        try:
            while not self.ended.wait(0.004):
                link.request("POST", "/v1/predictions", body, headers)
                answer = link.getresponse()
                told = json.loads(answer.read())
                self.answers.append((answer.status, told.get("model_version", ""), told.get("served_by", "")))
        except BaseException as error:
            self.faults.append(error)
        finally:
            link.close()

    def since(self, mark: int) -> Counter[tuple[int, str, str]]:
        return Counter(self.answers[mark:])

    def sound(self) -> None:
        """No call failed."""
        assert self.faults == []
        assert len(self.answers) > 40
        assert Counter(status for status, _, _ in self.answers) == {200: len(self.answers)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, begin: Callable[..., Any]) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("releases")
    data = prepare(folder)
    yield begin(data, "--no-train", file=folder / "system.py", env=ENV)


@pytest.fixture
def load(running: Any) -> Iterator[Load]:
    """The load, over a server on which 1.0.0 is in production and nothing is being rolled out."""
    started = Load(running)
    with started:
        yield started
    started.sound()


def tell(running: Any, method: str, path: str, body: object = None) -> Any:
    answer = running.ask(method, path, body)
    assert answer.status in (200, 201), (path, answer.content)
    return answer.json


def report(running: Any) -> Any:
    return tell(running, "GET", f"/v1/serving/rollouts/{MODEL}")


def start(running: Any, version: str, kind: str, **more: Any) -> Any:
    body = {"model": MODEL, "version": version, "kind": kind, "guards": GUARDS, **more}
    return tell(running, "POST", "/v1/serving/rollouts", body)


def reaches(running: Any, until: Any, *states: str) -> Any:
    until(lambda: report(running)["rollout"]["state"] in states)
    return report(running)


def answered(load: Load, until: Any, version: str, *, calls: int = 40) -> None:
    """Return when this many calls in a row were answered by the version."""
    until(lambda: {v for _, v, _ in load.answers[-calls:]} == {version})


def test_a_promotion_and_a_rollback_by_hand(running: Any, load: Load, until: Any) -> None:
    answered(load, until, "1.0.0")
    body = {"version": "1.1.0", "to": "production", "evidence": "compared"}
    tell(running, "POST", f"/v1/models/{MODEL}/promotions", body)
    answered(load, until, "1.1.0")
    tell(running, "POST", f"/v1/models/{MODEL}/rollback", {"reason": "complaints"})
    answered(load, until, "1.0.0")


def test_green_is_shadowed_then_switched_to_and_back(running: Any, load: Load, until: Any) -> None:
    start(running, "1.1.0", "blue_green", steps=[{"percent": 0, "seconds": 0.5, "samples": 60}])
    found = reaches(running, until, "promoted", "rolled_back")
    assert found["rollout"]["state"] == "promoted", found["rollout"]["reason"]
    assert found["compared"] >= 60
    answered(load, until, "1.1.0")
    told = tell(running, "POST", f"/v1/serving/rollouts/{MODEL}/rollback", {"reason": "a partner complains"})
    assert told["state"] == "rolled_back"
    answered(load, until, "1.0.0")
    assert {rung for _, _, rung in load.answers} == {"primary"}


def test_a_sound_canary_is_promoted_by_itself(running: Any, load: Load, until: Any) -> None:
    steps = [{"percent": share, "seconds": 0.5, "samples": 40} for share in (20, 50)]
    start(running, "1.1.0", "canary", steps=steps)
    found = reaches(running, until, "promoted", "rolled_back")
    assert found["rollout"]["state"] == "promoted", found["rollout"]["reason"]
    answered(load, until, "1.1.0")
    assert [event["state"] for event in found["history"]] == ["promoted", "promoting", "running", "running"]
    tell(running, "POST", f"/v1/serving/rollouts/{MODEL}/rollback", {"reason": "the next test wants 1.0.0"})
    answered(load, until, "1.0.0")


def test_a_worse_canary_is_taken_back_by_itself_within_its_budget(running: Any, load: Load, until: Any) -> None:
    answered(load, until, "1.0.0")
    mark = len(load.answers)
    budget = 25
    start(running, "1.2.0", "canary", steps=[{"percent": 30, "seconds": 30, "samples": 500}], failure_budget=budget)
    found = reaches(running, until, "promoted", "rolled_back")
    assert found["rollout"]["state"] == "rolled_back"
    assert "1.2.0" in found["rollout"]["reason"]
    answered(load, until, "1.0.0")
    worse = {key: count for key, count in load.since(mark).items() if key[1] == "1.2.0"}
    # A call that was under way when the budget ran out may add to it.
    assert 0 < sum(worse.values()) <= budget + load.threads
    assert {rung for _, _, rung in worse} == {"simple"}
    assert tell(running, "GET", f"/v1/models/{MODEL}")["version"] == "1.0.0"


def test_rung_after_rung_is_killed_and_every_call_is_answered(running: Any, load: Load, until: Any) -> None:
    def served_by(rungs: set[str]) -> bool:
        return {rung for _, _, rung in load.answers[-40:]} == rungs

    rungs = ("primary", "simple", "rule", "cached", "default")
    for rung, next_one in pairwise(rungs):
        tell(running, "POST", "/v1/serving/drills", {"model": MODEL, "rung": rung, "seconds": 60})
        until(partial(served_by, {next_one}))
    assert [drill["rung"] for drill in tell(running, "GET", "/v1/serving/drills")["data"]][-1] == "primary"
    assert running.ask("DELETE", f"/v1/serving/drills/{MODEL}").json == {"ended": 4}
    until(partial(served_by, {"primary"}))
    [ladder] = [m["rungs"] for m in tell(running, "GET", "/v1/serving/models")["data"] if m["model"] == MODEL]
    assert {rung["breaker"] for rung in ladder} <= {"closed", "open", "half_open", "restoring"}
    assert ladder[0]["breaker"] == "closed"


def test_every_step_is_in_the_audit_log(running: Any) -> None:
    assert tell(running, "POST", "/v1/audit/verify")["ok"]
    lines = running.ask("GET", "/v1/audit/export").content.splitlines()
    events = [event for event in map(json.loads, lines) if event["action"] == "serving:rollout"]
    stored = [
        (rollout["id"], event["state"])
        for rollout in tell(running, "GET", "/v1/serving/rollouts")["data"]
        for event in tell(running, "GET", f"/v1/serving/rollouts/{MODEL}?rollout={rollout['id']}")["history"]
    ]
    told = [(event["facts"]["rollout"], event["facts"]["state"]) for event in events if event["outcome"] == "done"]
    assert sorted(told) == sorted(stored)
    drills = [event for event in map(json.loads, lines) if event["action"] == "serving:drill"]
    assert len(drills) == 5


def test_only_an_admin_may_drill_and_a_developer_may_not_roll_out(running: Any, commands: Any) -> None:
    def key(role: str) -> str:
        made = commands(
            "keys", "create", "--name", role, "--role", role, "--data", running.data, "--json", cwd=running.data
        )
        return str(json.loads(made.stdout)["secret"])

    drill = {"model": MODEL, "rung": "primary", "seconds": 1}
    rollout = {"model": MODEL, "version": "1.1.0", "kind": "shadow"}
    for role, may_drill, may_roll in (("operator", 403, 201), ("developer", 403, 403), ("viewer", 403, 403)):
        secret = key(role)
        assert running.ask("POST", "/v1/serving/drills", drill, key=secret).status == may_drill
        assert running.ask("POST", "/v1/serving/rollouts", rollout, key=secret).status == may_roll
        assert running.ask("GET", f"/v1/serving/rollouts/{MODEL}", key=secret).status == 200
    aborted = tell(running, "POST", f"/v1/serving/rollouts/{MODEL}/abort", {"reason": "done"})
    assert aborted["started_by"].startswith("key:")


def test_what_cannot_be_is_refused_with_its_place(running: Any) -> None:
    answer = running.ask("POST", "/v1/serving/rollouts", {"model": MODEL, "version": "1.1.0", "kind": "sideways"})
    assert answer.status == 422
    answer = running.ask(
        "POST",
        "/v1/serving/rollouts",
        {"model": MODEL, "version": "1.1.0", "kind": "shadow", "steps": [{"percent": 5}]},
    )
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, "$.plan.steps")
    assert running.ask("POST", "/v1/serving/rollouts", {"model": MODEL, "version": "7.0.0", "kind": "ab"}).status == 404
    assert running.ask("POST", f"/v1/serving/rollouts/{MODEL}/pause", {}).status == 409
    assert running.ask("GET", "/v1/serving/rollouts/nothing").status == 404


def test_the_command_line_says_the_same(running: Any, commands: Any) -> None:
    def told(*arguments: str) -> Any:
        done = commands(*arguments, "--data", running.data, "--json", cwd=running.data)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    begun = told("rollout", "start", MODEL, "1.1.0", "--kind", "shadow", "--guard", "drift:0.2")
    assert (begun["state"], begun["candidate"]) == ("running", "1.1.0")
    assert told("rollout", "show", MODEL)["rollout"]["id"] == begun["id"]
    assert told("rollout", "abort", MODEL)["state"] == "aborted"
    drill = told("drill", MODEL, "--rung", "simple", "--mode", "slow", "--share", "0.5", "--for", "90s")
    assert (drill["rung"], drill["mode"], drill["share"]) == ("simple", "slow", 0.5)
    assert told("drill", "stop", MODEL) == {"ended": 1}
