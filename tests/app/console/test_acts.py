"""Forms: what they do, what refuses them, and what the answer must not leak."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

MODEL = "/console/models/customer-churn-v2"
JOBS = "/console/batches/01a1fcc65f447665ece51a"
FORMS = {
    "/console/logout": {},
    f"{MODEL}/promote": {"version": "2.2.0", "to": "production", "evidence": "better", "confirm": "yes"},
    f"{MODEL}/approve": {"version": "2.2.0", "to": "production", "confirm": "yes"},
    f"{MODEL}/rollback": {"reason": "worse", "confirm": "yes"},
    f"{MODEL}/alias": {"alias": "canary", "version": "2.2.0"},
    f"{MODEL}/rollout": {"version": "2.2.0", "kind": "canary", "percents": "5 50", "confirm": "yes"},
    f"{MODEL}/rollout/change": {"what": "abort", "reason": "not today", "confirm": "yes"},
    f"{JOBS}01/cancel": {"confirm": "yes"},
    f"{JOBS}03/resume": {},
    "/console/gateway/routes": {"name": "x", "model-1": "small"},
    "/console/gateway/routes/answers": {"version": "3", "model-1": "small"},
    "/console/gateway/routes/answers/drop": {"version": "3", "confirm": "yes"},
    "/console/gateway/providers/first/drain": {"drained": "yes"},
    "/console/gateway/budgets": {"name": "x", "cost-day": "1"},
    "/console/gateway/budgets/legal": {"version": "2", "cost-day": "1"},
    "/console/gateway/budgets/legal/delete": {"version": "2", "confirm": "yes"},
    "/console/gateway/prompts": {"name": "x", "role-1": "user", "text-1": "x"},
    "/console/gateway/prompts/support": {"after": "2", "role-1": "user", "text-1": "x"},
    "/console/gateway/prompts/support/label": {"label": "production", "weights": "2"},
    "/console/review": {"queue": "refunds"},
    "/console/review/rv_0000/claim": {},
    "/console/review/rv_0005/undo": {},
    "/console/review/rv_0000/leave": {"what": "delegate", "to": "user:bo"},
    "/console/review/rv_0000/inform": {"note": "x"},
    "/console/pipelines/runs/01k000000000000000000000": {"what": "cancel", "confirm": "yes"},
    "/console/pipelines/schedules/every-night": {"paused": "yes"},
    "/console/pipelines/declared/nightly": {"inputs": "{}"},
    "/console/pipelines/declared/nightly/backfill": {"start": "2026-01-01", "end": "2026-01-02"},
    "/console/events/consumers/extract": {"paused": "yes"},
    "/console/events/dead": {"consumer": "extract", "what": "redrive", "all": "yes"},
    "/console/govern/keys": {"name": "x", "role-viewer": "yes"},
    "/console/govern/keys/9fKq2LmN4pRs/rotate": {"overlap_hours": "24"},
    "/console/govern/keys/9fKq2LmN4pRs/revoke": {"confirm": "yes"},
    "/console/govern/policies": {"text": "", "version": "3"},
    "/console/govern/audit/verify": {},
}


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


def send(world: Any, path: str, **fields: str) -> Any:
    return client(world).post(path, data={"csrf": "csrf-good", **fields})


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("token", [None, "", "csrf-bad"])
def test_a_form_without_the_sessions_token_changes_nothing(path: str, token: str | None, make_world: Any) -> None:
    world = make_world()
    fields = FORMS[path] if token is None else {**FORMS[path], "csrf": token}
    answer = client(world).post(path, data=fields or {"a": "b"})
    assert answer.status_code == 403
    assert world.registry.calls == world.keys.calls == world.policies.calls == world.sessions.ended == []
    doors = world.doors
    for door in (doors.serving, doors.gateway, doors.reviews, doors.pipelines, doors.events):
        assert door.asked == []


@pytest.mark.parametrize("path", FORMS)
def test_a_form_from_another_site_changes_nothing(path: str, make_world: Any) -> None:
    world = make_world()
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = client(world).post(path, data={**FORMS[path], "csrf": "csrf-good"}, headers=headers)
        assert answer.status_code == 403
    assert world.registry.calls == world.keys.calls == world.policies.calls == []


@pytest.mark.parametrize("path", FORMS)
def test_a_form_is_answered_for_its_own_page(path: str, make_world: Any) -> None:
    answer = send(make_world(), path, **FORMS[path])
    assert answer.status_code in (201, 303)
    assert answer.headers["cache-control"] == "no-store"


def test_a_body_that_is_no_form_is_refused(make_world: Any) -> None:
    http = client(make_world())
    assert http.post(f"{MODEL}/promote", json={"csrf": "csrf-good"}).status_code == 400
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert http.post(f"{MODEL}/promote", content=b"a=%ff%fe", headers=kind).status_code == 400
    assert http.post(f"{MODEL}/promote", content=b"a=" + b"x" * (2 << 20), headers=kind).status_code == 413


def test_without_a_caller_no_page_and_no_form_answers(make_world: Any) -> None:
    world = make_world()
    world.ctx = None
    http = client(world)
    for path in ("/console/", "/console/models", "/console/fragments/overview", "/console/govern/audit/export.ndjson"):
        answer = http.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/login?next=%2Fconsole%2F")
    assert http.post("/console/govern/keys", data=FORMS["/console/govern/keys"]).status_code == 303
    assert world.keys.calls == []


def test_promotion_says_what_happened_once(make_world: Any) -> None:
    world = make_world()
    http = client(world)
    answer = http.post(f"{MODEL}/promote", data={"csrf": "csrf-good", **FORMS[f"{MODEL}/promote"]})
    assert world.registry.calls == [("promote", "customer-churn-v2", "2.2.0", "production", "better")]
    assert answer.headers["location"] == MODEL
    assert "Another person must approve it" in http.get(MODEL).text
    assert "Another person must approve it" not in http.get(MODEL).text


@pytest.mark.parametrize(
    ("act", "fields", "words"),
    [
        ("promote", {"version": "2.2.0", "to": "production", "confirm": "yes"}, "needs evidence"),
        ("promote", {"version": "2.2.0", "to": "production", "evidence": "why not"}, "not confirmed"),
        ("promote", {"version": "2.2.0", "to": "moon", "confirm": "yes"}, "no stage"),
        ("rollback", {"confirm": "yes"}, "needs a reason"),
        ("rollback", {"reason": "worse"}, "not confirmed"),
        ("approve", {"version": "2.2.0", "to": "production"}, "not confirmed"),
        ("alias", {"version": "2.2.0"}, "no name"),
    ],
)
def test_an_incomplete_change_is_refused_on_its_page(
    act: str, fields: dict[str, str], words: str, make_world: Any
) -> None:
    world = make_world()
    answer = send(world, f"{MODEL}/{act}", **fields)
    assert answer.status_code == 422
    assert words in answer.text
    assert world.registry.calls == []


def test_a_refused_change_keeps_what_was_typed(make_world: Any) -> None:
    fields = {"version": "9.9.9", "to": "staging", "evidence": "seen on <b>Friday</b>", "confirm": "yes"}
    answer = send(make_world(), f"{MODEL}/promote", **fields)
    assert answer.status_code == 409
    assert "seen on &lt;b&gt;Friday&lt;/b&gt;" in answer.text
    assert "conflict" in answer.text


def test_whoever_asked_for_a_promotion_is_not_offered_to_approve_it(make_world: Any) -> None:
    from dataclasses import replace

    world = make_world()
    assert "/approve" in client(world).get(MODEL).text
    world.ctx = replace(world.ctx, principal="key:ada")
    assert "/approve" not in client(world).get(MODEL).text


def test_what_the_gate_would_refuse_is_not_offered(make_world: Any) -> None:
    world = make_world(denied=("registry:promote", "registry:alias", "keys:list", "audit:read"))
    text = client(world).get(MODEL).text
    assert "Promote 2.1.3" not in text
    assert "/approve" not in text
    assert "expires in" not in client(world).get("/console/").text
    assert client(world).get("/console/govern").headers["location"] == "/console/govern/policies"


def test_a_new_secret_is_in_its_own_answer_and_nowhere_else(make_world: Any) -> None:
    world = make_world()
    http = client(world)
    fields = {"csrf": "csrf-good", "name": "billing", "role-viewer": "yes", "scopes": "a:b, c:d", "ttl_days": "30"}
    answer = http.post("/console/govern/keys", data=fields)
    assert answer.status_code == 201
    assert world.keys.calls == [("create", "billing", ("viewer",), ("a:b", "c:d"), 30.0)]
    secret = "st_9fKq2LmN4pRs_ZXCVBNMasdfghjklqwertyuiop1234567890zxcvbn_0aB1cD"
    assert secret in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert secret not in str(answer.headers)
    assert secret not in http.get("/console/govern/keys").text


def test_a_refused_key_shows_why_and_keeps_the_form(make_world: Any) -> None:
    answer = send(make_world(), "/console/govern/keys", name="refuse", **{"role-viewer": "yes"})
    assert answer.status_code == 403
    assert "You cannot give away admin" in answer.text
    assert 'value="refuse"' in answer.text


def test_a_key_without_any_right_is_refused(make_world: Any) -> None:
    world = make_world()
    assert send(world, "/console/govern/keys", name="x").status_code == 422
    assert world.keys.calls == []


def test_revoking_asks_for_confirmation(make_world: Any) -> None:
    world = make_world()
    assert send(world, "/console/govern/keys/9fKq2LmN4pRs/revoke").status_code == 422
    assert world.keys.calls == []


def test_a_broken_policy_stays_in_the_editor(make_world: Any) -> None:
    world = make_world()
    answer = send(world, "/console/govern/policies", text="broken </textarea><script>", version="3")
    assert answer.status_code == 422
    assert "broken &lt;/textarea&gt;&lt;script&gt;" in answer.text
    assert "unexpected token" in answer.text
    assert (
        send(
            world, "/console/govern/policies", text="permit (principal, action, resource);\r\n", version="3"
        ).status_code
        == 303
    )
    assert world.policies.calls[-1] == ("put", "permit (principal, action, resource);\n", 3)


def test_verification_is_reported_and_told_on_the_overview(make_world: Any) -> None:
    world = make_world()
    world.audit.faults = ("event 7: its hash does not match <b>",)
    http = client(world)
    assert http.post("/console/govern/audit/verify", data={"csrf": "csrf-good"}).status_code == 303
    text = http.get("/console/govern/audit").text
    assert "event 7: its hash does not match &lt;b&gt;" in text
    assert "verification found 1 fault" in http.get("/console/").text


def test_a_proof_and_the_export_are_files(make_world: Any) -> None:
    http = client(make_world())
    proof = http.get("/console/govern/audit/5/proof.json")
    assert proof.json()["tree_size"] == 128
    assert proof.headers["content-disposition"] == 'attachment; filename="audit-5-proof.json"'
    lines = http.get("/console/govern/audit/export.ndjson").text.splitlines()
    assert len(lines) == 120
    assert http.get("/console/govern/audit/110/proof.json").status_code == 409
    assert "No checkpoint covers it yet" in http.get("/console/govern/audit/110").text


def test_an_export_that_is_refused_has_its_own_status(make_world: Any) -> None:
    from stanchion.core.errors import NotAllowed

    world = make_world()

    async def refused(ctx: object, *, after: int = -1) -> Any:
        raise NotAllowed("key:x lacks audit:export")
        yield

    world.audit.export = refused
    assert client(world).get("/console/govern/audit/export.ndjson").status_code == 403


def test_a_rollout_is_started_with_what_the_form_says(make_world: Any) -> None:
    world = make_world()
    answer = send(world, f"{MODEL}/rollout", version="2.2.0", kind="canary", percents="5 50", confirm="yes")
    assert answer.headers["location"] == MODEL
    send(world, f"{MODEL}/rollout", version="2.2.0", kind="shadow", percents="5 50", confirm="yes")
    send(world, f"{MODEL}/rollout", version="2.2.0", kind="ab", percents="40", confirm="yes")
    assert [what for _, what in world.doors.serving.asked] == [
        "canary 2.2.0 [5.0, 50.0]",
        "shadow 2.2.0 [0.0]",
        "ab 2.2.0 [40.0]",
    ]


def test_a_rollout_that_makes_no_sense_shows_the_page_with_what_the_form_held(make_world: Any) -> None:
    world = make_world()
    for fields, status in (
        ({"kind": "canary", "percents": "5"}, 422),
        ({"kind": "sideways", "confirm": "yes"}, 422),
        ({"kind": "canary", "percents": "x", "confirm": "yes"}, 422),
        ({"kind": "canary", "percents": "5", "budget": "0", "confirm": "yes"}, 422),
        ({"kind": "canary", "percents": "5", "version": "2.1.2", "confirm": "yes"}, 409),
    ):
        answer = send(world, f"{MODEL}/rollout", **{"version": "2.2.0", **fields})
        assert answer.status_code == status
        assert 'role="alert"' in answer.text


def test_a_rollout_is_paused_promoted_and_taken_back_by_its_buttons(make_world: Any) -> None:
    world = make_world()
    assert send(world, f"{MODEL}/rollout/change", what="pause", reason="lunch").status_code == 303
    assert send(world, f"{MODEL}/rollout/change", what="promote", reason="well").status_code == 422
    for what in ("promote", "rollback", "abort"):
        assert send(world, f"{MODEL}/rollout/change", what=what, reason="well", confirm="yes").status_code == 303
    assert send(world, f"{MODEL}/rollout/change", what="explode", confirm="yes").status_code == 422
    assert [what for what, _ in world.doors.serving.asked] == ["pause", "promote", "rollback", "abort"]


def test_who_may_not_roll_out_finds_no_button_for_it(make_world: Any) -> None:
    text = client(make_world(denied=["serving:rollout"])).get(MODEL).text
    assert "/rollout/change" not in text
    assert "Roll out" not in text
    assert "worse by at most 0.9%" in text
