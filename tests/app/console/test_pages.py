"""Every page, with data and without: what it shows, what it must never hold, and that it stands without scripts."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient

PAGES = {
    "overview": "/console/",
    "week": "/console/?minutes=10080",
    "models": "/console/models",
    "model": "/console/models/customer-churn-v2",
    "rollout": "/console/models/customer-churn-v2/rollout",
    "gateway": "/console/gateway",
    "route": "/console/gateway/routes/answers",
    "new route": "/console/gateway/routes",
    "providers": "/console/gateway/providers",
    "budgets": "/console/gateway/budgets",
    "budget": "/console/gateway/budgets/legal",
    "prompts": "/console/gateway/prompts",
    "prompt": "/console/gateway/prompts/support",
    "playground": "/console/gateway/playground",
    "reviews": "/console/review",
    "review": "/console/review/rv_0000",
    "decided review": "/console/review/rv_0005",
    "bulk review": "/console/review/bulk?queue=refunds",
    "quality of review": "/console/review/quality",
    "runs": "/console/pipelines",
    "run": "/console/pipelines/runs/01k000000000000000000003",
    "waiting run": "/console/pipelines/runs/01k000000000000000000002?record=c-77",
    "schedules": "/console/pipelines/schedules",
    "queues": "/console/pipelines/queues",
    "pipeline": "/console/pipelines/declared/nightly",
    "consumers": "/console/events",
    "dead": "/console/events/dead?consumer=extract",
    "letter": "/console/events/dead/dl1?consumer=extract",
    "tree": "/console/events/tree?id=first",
    "recent events": "/console/events/recent",
    "recent event": "/console/events/recent/17.1",
    "schemas": "/console/events/schemas",
    "schema": "/console/events/schemas/document.uploaded",
    "features": "/console/features",
    "view": "/console/features/views/spending",
    "service": "/console/features/services/churn-features?compare=1",
    "batches": "/console/batches",
    "batch": "/console/batches/01a1fcc65f447665ece51a06",
    "running batch": "/console/batches/01a1fcc65f447665ece51a00",
    "requests": "/console/observe",
    "request": "/console/observe/requests/a1b2c3d4e5f60718293a4b5c",
    "traces": "/console/observe/traces",
    "trace": "/console/observe/traces/4bf92f3577b34da6a3ce929d0e0e4736",
    "keys": "/console/govern/keys",
    "key": "/console/govern/keys/Bq8Z1xYw5vTu",
    "policies": "/console/govern/policies?action=keys:create&roles=admin",
    "audit": "/console/govern/audit",
    "event": "/console/govern/audit/5",
    "login": "/console/login",
    "unknown": "/console/nowhere",
}
NEED_DATA = {
    "run",
    "waiting run",
    "pipeline",
    "letter",
    "tree",
    "recent event",
    "schema",
    "review",
    "decided review",
    "route",
    "budget",
    "prompt",
    "rollout",
    "batch",
    "running batch",
    "model",
    "view",
    "service",
    "request",
    "trace",
    "key",
    "event",
    "unknown",
}


class Seen(HTMLParser):
    """What matters of a page: addresses, scripts, styles, rows, controls without a name."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.rows = 0
        self.forms: list[dict[str, str | None]] = []
        self.tokens = 0
        self.ids: list[str] = []
        self._script_without_source = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.addresses += [v for k, v in attrs if k in ("href", "src", "action", "data-live", "formaction") and v]
        self.inline += [f"{tag} {k}" for k, _ in attrs if k == "style" or k.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in held):
            self.inline.append(tag)
        if held.get("id"):
            self.ids.append(str(held["id"]))
        self.rows += tag == "tr"
        if tag == "form":
            self.forms.append(held)
        self.tokens += tag == "input" and held.get("name") == "csrf"


def read(text: str) -> Seen:
    seen = Seen()
    seen.feed(text)
    return seen


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_with_data_answers_and_keeps_to_the_content_policy(name: str, make_world: Any) -> None:
    answer = client(make_world()).get(PAGES[name])
    assert answer.status_code == (404 if name == "unknown" else 200)
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    seen = read(answer.text)
    assert seen.inline == []
    assert [a for a in seen.addresses if not a.startswith(("/console", "#"))] == []
    assert len(seen.ids) == len(set(seen.ids))


def test_a_span_with_a_link_leads_to_the_trace_it_names(make_world: Any) -> None:
    world, other = make_world(), "0af7651916cd43dd8448eb211c80319c"
    world.observatory.spans = [
        replace(s, attributes={"stanchion.link": f"{other}-b7"}) for s in world.observatory.spans
    ]
    assert f"/console/observe/traces/{other}" in read(client(world).get(PAGES["trace"]).text).addresses


@pytest.mark.parametrize("name", sorted(PAGES.keys() - NEED_DATA))
def test_a_page_without_data_answers_and_tells_the_next_step(name: str, make_world: Any) -> None:
    answer = client(make_world(empty=True)).get(PAGES[name])
    assert answer.status_code == 200
    if name in ("models", "batches", "requests", "traces", "audit", "keys", "overview"):
        assert '<div class="empty">' in answer.text
        assert "<code>" in answer.text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_holds_at_most_a_hundred_rows(name: str, make_world: Any) -> None:
    seen = read(client(make_world()).get(PAGES[name]).text)
    assert seen.rows <= 100


@pytest.mark.parametrize("name", sorted(NEED_DATA - {"unknown"}))
def test_what_does_not_exist_is_a_page_that_says_so(name: str, make_world: Any) -> None:
    answer = client(make_world(empty=True)).get(PAGES[name])
    assert answer.status_code == 404
    assert "not_found" in answer.text
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in answer.text


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {"login"}))
def test_every_form_that_changes_something_carries_the_token(name: str, make_world: Any) -> None:
    seen = read(client(make_world()).get(PAGES[name]).text)
    assert seen.tokens == sum(f.get("method") == "post" for f in seen.forms)


@pytest.mark.parametrize("name", PAGES)
def test_hostile_text_stays_text(name: str, make_world: Any) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    world = make_world(model=evil, card=f"# {evil}\n\n| {evil} |\n|---|\n| {evil} |\n\n- {evil}\n\n```\n{evil}\n```\n")
    world.observatory.rows = [
        type(row)(**{**{f: getattr(row, f) for f in row.__slots__}, "principal": evil, "route": evil, "rung": evil})
        for row in world.observatory.rows
    ]
    path = PAGES[name].replace(
        "customer-churn-v2", "%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src=x%20onerror=alert(2)%3E%22'"
    )
    answer = client(world).get(path)
    assert answer.status_code in (200, 404)
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert read(answer.text).inline == []
    if name == "model":
        assert "&lt;script&gt;alert(1)" in answer.text


def test_hostile_search_words_are_escaped_where_they_are_shown_again(make_world: Any) -> None:
    answer = client(make_world()).get("/console/observe", params={"search": '"><script>alert(1)</script>'})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text


def test_the_navigation_marks_where_one_is(make_world: Any) -> None:
    for path, name in (("/console/", "Overview"), ("/console/govern/audit", "Govern"), ("/console/models", "Models")):
        text = client(make_world()).get(path).text
        (here,) = re.findall(r'aria-current="page" data-go="\w">.*?<span>(\w+)</span>', text)
        assert here == name


def test_assets_are_kept_for_good_under_their_digest_and_asked_again_under_another(make_world: Any) -> None:
    http = client(make_world())
    (address,) = re.findall(r'href="(/console/static/\w+/console\.css)"', http.get("/console/login").text)
    style = http.get(address)
    assert style.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert style.headers["content-type"].startswith("text/css")
    assert http.get(address, headers={"If-None-Match": style.headers["etag"]}).status_code == 304
    other = re.sub(r"/static/\w+/", "/static/0000/", address)
    assert http.get(other).headers["cache-control"] == "no-cache"
    assert http.get("/console/static/0000/..%2Fshell.py").status_code == 404


def test_no_asset_names_another_origin(make_world: Any) -> None:
    from stanchion.app.console.assets import load_assets

    for name, content in load_assets().files.items():
        found = re.findall(rb"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", content)
        assert [f for f in found if f != b"http://www.w3.org/2000/svg"] == [], name


def test_a_fragment_is_sent_once_and_then_only_when_it_changes(make_world: Any) -> None:
    world = make_world()
    http = client(world)
    first = http.get("/console/fragments/overview")
    assert first.status_code == 200
    assert "<html" not in first.text
    again = http.get("/console/fragments/overview", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    world.observatory.rows = world.observatory.rows[1:]
    changed = http.get("/console/fragments/overview", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


def test_a_page_holds_the_very_markup_that_its_fragment_sends(make_world: Any) -> None:
    http = client(make_world())
    for page, fragment in (("/console/", "overview"), ("/console/observe", "requests")):
        rows = re.findall(r"<tr>.*?</tr>", http.get(f"/console/fragments/{fragment}").text, re.S)
        assert rows
        text = http.get(page).text
        assert all(row in text for row in rows)


def test_requests_are_paged_by_the_moment_of_the_last_row(make_world: Any) -> None:
    world = make_world()
    http = client(world)
    pages, path = 0, "/console/observe"
    seen: list[str] = []
    while path and pages < 9:
        text = http.get(path).text
        seen += re.findall(r"/console/observe/requests/(\w+)", text)
        older = re.findall(r'href="(/console/observe\?[^"]*before=[^"]*)" rel="next"', text)
        path, pages = (older[0].replace("&amp;", "&") if older else ""), pages + 1
    assert pages == 3
    assert seen == [row.request_id for row in world.observatory.rows]


def test_filters_reach_the_ledger_and_stay_in_the_form(make_world: Any) -> None:
    world = make_world()
    text = client(world).get("/console/observe?subject=customer-churn-v2&outcome=deadline_exceeded").text
    assert world.observatory.asked[0]["subject"] == "customer-churn-v2"
    assert world.observatory.asked[0]["outcome"] == "deadline_exceeded"
    assert world.observatory.asked[0]["route"] is None
    assert "<option selected>deadline_exceeded</option>" in text


def test_a_moment_that_is_none_is_refused_with_its_status(make_world: Any) -> None:
    answer = client(make_world()).get("/console/observe?before=yesterday")
    assert answer.status_code == 422
    assert "invalid_input" in answer.text


def test_search_leads_to_a_model_by_name_and_to_the_ledger_otherwise(make_world: Any) -> None:
    http = client(make_world())
    assert http.get("/console/search?q=fraud-screen").headers["location"] == "/console/models/fraud-screen"
    assert http.get("/console/search?q=abc").headers["location"] == "/console/observe?search=abc"


def test_the_overview_tells_what_needs_a_person_the_worst_first(make_world: Any) -> None:
    text = client(make_world()).get("/console/").text
    expected = [
        "Circuit open: fraud-screen, rung primary",
        "Circuit open: deep",
        "Circuit restoring: customer-churn-v2, rung simple",
        "fraud-screen has no production version",
        "Key billing service expires in 9 days",
        "1 escalated in the review queue refunds",
        "A run of nightly failed",
        "2 dead letters of extract",
        "customer-churn-v2 2.2.0 waits for a second person",
        "Audit log not verified since this process started",
    ]
    places = [text.find(words) for words in expected]
    assert -1 not in places
    assert places == sorted(places)


def test_a_part_that_does_not_answer_is_a_notice_and_not_a_broken_page(make_world: Any) -> None:
    from stanchion.core.errors import Unavailable

    world = make_world()

    async def gone(ctx: object) -> None:
        raise Unavailable("serving is restarting")

    world.doors.serving.models = gone
    answer = client(world).get("/console/")
    assert answer.status_code == 200
    assert "Serving does not answer" in answer.text


def test_the_ladder_metrics_and_calibration_of_a_version_are_shown(make_world: Any) -> None:
    text = client(make_world()).get("/console/models/customer-churn-v2?version=2.1.2").text
    assert "Measured on 2.1.2" in text
    assert "Reliability curve" in text
    assert "half open" in text
    assert "9f2c" * 16 in text


def test_modules_that_are_not_placed_leave_their_pages_standing(make_world: Any) -> None:
    http = client(make_world(registry=None, serving=None, training=None))
    for path in ("/console/", "/console/models", "/console/observe", "/console/govern/keys"):
        assert http.get(path).status_code == 200
    assert http.get("/console/models/any").status_code == 404


def test_a_model_served_without_a_registry_has_a_page(make_world: Any) -> None:
    http = client(make_world(registry=None))
    assert "customer-churn-v2" in http.get("/console/models").text
    assert "plain Python" in http.get("/console/models/customer-churn-v2").text


def test_what_the_console_asked_for_itself_is_left_out_until_it_is_wanted(make_world: Any) -> None:
    from dataclasses import replace

    world = make_world()
    world.observatory.rows = [
        replace(row, route="GET /console/fragments/overview") if i % 4 else row
        for i, row in enumerate(world.observatory.rows)
    ]
    http = client(world)
    listed = re.findall(r"/console/observe/requests/(\w+)", http.get("/console/observe").text)
    assert listed == [row.request_id for row in world.observatory.rows if "/console" not in row.route]
    assert len(re.findall(r"<tr>", http.get("/console/observe?own=show").text)) == 51
    searched = http.get("/console/observe", params={"search": world.observatory.rows[1].request_id}).text
    assert "GET /console/fragments/overview" in searched


def test_a_calibration_that_stands_in_the_card_alone_is_drawn(make_world: Any) -> None:
    card = "## Reliability\n\n| Predicted | Observed | Rows |\n|---|---|---|\n| 0.1 | 0.12 | 1,600 |\n| x | y | z |\n"
    world = make_world(card=card)
    held = world.registry.of["customer-churn-v2"]
    held[:] = [type(v)(**{**{f: getattr(v, f) for f in v.__slots__}, "metadata": {}}) for v in held]
    text = client(world).get("/console/models/customer-churn-v2").text
    assert "Reliability curve" in text
    assert '<td class="num">1,600</td>' in text


def test_a_card_with_endless_tables_keeps_the_page_within_a_hundred_rows(make_world: Any) -> None:
    card = "\n\n".join("| a |\n|---|\n" + "| b |\n" * 90 for _ in range(3))
    seen = read(client(make_world(card=card)).get("/console/models/customer-churn-v2").text)
    assert seen.rows <= 100


def test_a_route_tells_its_template_and_never_an_id(make_world: Any) -> None:
    from stanchion.core.http.door import MATCHED

    world, seen = make_world(), []
    app = world.app()

    async def door(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        seen.append(scope.get(MATCHED))

    http = TestClient(door, follow_redirects=False)
    for path in ("/console/", "/console/models/customer-churn-v2", "/console/govern/audit/5", "/console/static/a/b"):
        http.get(path)
    assert seen == [
        "/console/",
        "/console/models/{model}",
        "/console/govern/audit/{seq}",
        "/console/static/{digest}/{name}",
    ]
