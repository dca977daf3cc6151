"""The pages of the gateway: routes and their dry run, providers, budgets, prompts, and the playground."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from stanchion.app.console.pages.gateway.speaking import Speech, spoken
from stanchion.gateway import BudgetSpec, Limit, Message, RouteSpec, Variable
from tests.app.console.fake_gateway import FakeGateway

HOME = "/console/gateway"
WRITES = ["gateway:route", "gateway:drain", "gateway:write_budget", "gateway:write_prompt", "gateway:label_prompt"]


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


def page(world: Any, path: str, status: int = 200) -> str:
    answer = client(world).get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def send(world: Any, path: str, **fields: str) -> Any:
    return client(world).post(path, data={"csrf": "csrf-good", **fields})


# Routes


def test_every_route_is_listed_with_its_models_in_order_and_their_breakers(make_world: Any) -> None:
    text = page(make_world(), HOME)
    answers, reasoning = re.findall(r"<tr>\s*<td>.*?</tr>", text, re.S)
    assert answers.index(">small<") < answers.index(">large<") < answers.index(">quoter<")
    assert "version 3" in answers
    assert "deep: open" in reasoning
    assert "as declared" in reasoning
    assert "1,007" in text, "the calls of this month"
    assert "7 calls without a known price" in text
    assert "cascade:cheap-first" in text


def test_a_dry_run_tells_what_would_be_tried_at_what_cost_and_why_the_rest_is_skipped(make_world: Any) -> None:
    world = make_world()
    text = send(world, f"{HOME}/routes/answers/plan", text="When do you open?", most_out="50", tags="team=legal").text
    rows = re.findall(r'<tr><th scope="row" class="mono">.*?</tr>', text, re.S)
    assert "tried first" in rows[0]
    assert "$0.000021" in rows[0]
    assert "its condition does not hold" in rows[1]
    assert "unknown" in rows[1]
    assert "max_cost" in rows[2]
    assert "$0.0610" in rows[2]
    assert "When do you open?" in text, "what was asked stays in the form"
    assert world.doors.gateway.asked == [], "nothing is sent"


def test_a_route_is_changed_by_its_form_under_the_version_that_was_seen(make_world: Any) -> None:
    world = make_world()
    fields = {"model-1": "large", "weight-1": "2", "model-3": "small", "condition-3": 'tags.team == "legal"'}
    answer = send(world, f"{HOME}/routes/answers", version="3", max_cost="0.02", attempts="2", **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}/routes/answers")
    wanted = RouteSpec(
        name="answers",
        primary="large",
        fallbacks=("small",),
        weights={"large": 2.0},
        conditions={"small": 'tags.team == "legal"'},
        max_cost="0.02",
        attempts=2,
    )
    assert world.doors.gateway.asked == [("put_route", wanted, 3)]


def test_the_form_holds_the_route_as_it_is(make_world: Any) -> None:
    world = make_world()
    text = page(world, f"{HOME}/routes/answers")
    form = dict(re.findall(r'<input[^>]* name="([\w-]+)" value="([^"]*)"', text))
    assert (form["weight-1"], form["condition-2"], form["max_cost"], form["version"]) == (
        "3",
        "tokens &gt; 500",
        "0.01",
        "3",
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "the route asks no model"),
        ({"model-1": "small", "model-2": "small"}, "names a model twice"),
        ({"model-1": "small", "weight-1": "much"}, "the weight of small must be a number"),
        ({"model-1": "small", "max_latency_ms": "1.5"}, "the longest time must be a whole number"),
        ({"model-1": "small", "max_cost": "cheap"}, "max_cost"),
        ({"model-1": "nobody"}, "unknown model"),
        ({"model-1": "small", "version": "2"}, "another version"),
    ],
)
def test_a_route_that_cannot_be_comes_back_with_the_reason_and_what_was_typed(
    fields: dict[str, str], said: str, make_world: Any
) -> None:
    answer = send(make_world(), f"{HOME}/routes/answers", **{"version": "3", "hedge_ms": "123", **fields})
    assert answer.status_code in (409, 422)
    assert said.lower() in answer.text.lower()
    assert 'name="hedge_ms" value="123"' in answer.text


def test_a_new_route_is_put_and_taken_back_again_once_confirmed(make_world: Any) -> None:
    world = make_world()
    made = send(world, f"{HOME}/routes", **{"name": "fresh", "model-1": "small", "attempts": "1"})
    assert (made.status_code, made.headers["location"]) == (303, f"{HOME}/routes/fresh")
    assert send(world, f"{HOME}/routes/fresh/drop", version="1").status_code == 422
    assert send(world, f"{HOME}/routes/fresh/drop", version="1", confirm="yes").status_code == 303
    assert [what[0] for what in world.doors.gateway.asked] == ["put_route", "drop_route"]
    assert 'value="a b"' in send(world, f"{HOME}/routes", **{"name": "a b", "model-1": "small"}).text


def test_a_route_tells_who_changed_it_when_and_what(make_world: Any) -> None:
    text = page(make_world(), f"{HOME}/routes/answers")
    history = text[text.index("<h2>Versions") :]
    newest, second, first, declared = re.findall(r"<li>.*?</li>", history, re.S)
    assert "holds" in newest
    assert "Bring back" not in newest
    assert "<del>quoter</del> → <ins>small</ins>" in newest
    assert "operator:ben" in second
    assert "<del>0.01</del>" in second, "what it would change"
    assert "no model &#39;former&#39; is declared" in first
    assert "<form" not in first
    assert "Bring back the declared route" in declared
    assert "Bring back" not in page(make_world(denied=["gateway:route"]), f"{HOME}/routes/answers")
    assert "Audit log" not in page(make_world(denied=["audit:read"]), f"{HOME}/routes/answers")


def test_a_former_version_is_tried_dry_and_brought_back_once_confirmed(make_world: Any) -> None:
    world = make_world()
    text = send(world, f"{HOME}/routes/answers/plan", text="When do you open?", under="2").text
    assert "under version 2" in text
    assert '<option value="2" selected>' in text
    assert 'value="1"' not in text[text.index('name="under"') : text.index("</select>", text.index('name="under"'))]
    fields = {"restored": "2", "version": "3"}
    assert send(world, f"{HOME}/routes/answers/restore", **fields).status_code == 422
    assert world.doors.gateway.asked == []
    done = send(world, f"{HOME}/routes/answers/restore", **fields, confirm="yes")
    assert (done.status_code, done.headers["location"]) == (303, f"{HOME}/routes/answers")
    assert world.doors.gateway.asked == [("restore_route", "answers", 2, 3)]
    stale = send(world, f"{HOME}/routes/answers/restore", restored="2", version="2", confirm="yes")
    assert stale.status_code == 409
    assert send(world, f"{HOME}/routes/answers/restore", restored="x", version="3", confirm="yes").status_code == 422


def test_a_cascade_shows_what_its_newest_calibration_found(make_world: Any) -> None:
    text = page(make_world(), HOME)
    cheap, former = re.findall(r'<section class="card" aria-label="Cascade .*?</section>', text, re.S)
    assert "200 labelled examples" in cheap
    assert 'aria-labelledby="cascade-1-title cascade-1-about"' in cheap
    assert cheap.count('class="point"') == 3
    assert cheap.count('class="pareto-alone"') == 2
    assert re.search(r">calibrated</th><td class=\"num\">0\.0610</td>", cheap)
    assert "no longer declared" in former
    assert "no longer declared" not in cheap
    empty = FakeGateway()
    empty.reports = False
    assert "Never calibrated here" in page(make_world(gateway=empty), HOME)


def test_who_may_only_read_is_offered_no_form_that_changes_anything(make_world: Any) -> None:
    world = make_world(denied=WRITES)
    for path in (
        "",
        "/routes",
        "/routes/answers",
        "/providers",
        "/budgets",
        "/budgets/legal",
        "/prompts",
        "/prompts/support",
    ):
        forms = re.findall(r'<form method="post" action="([^"]*)"', page(world, HOME + path))
        assert [form for form in forms if "/plan" not in form and "/logout" not in form] == [], path
    assert "tokens &gt; 500" in page(world, f"{HOME}/routes/answers"), "what the route says is shown all the same"


# Providers


def test_providers_show_times_tokens_cost_errors_and_cost_by_day(make_world: Any) -> None:
    text = page(make_world(), f"{HOME}/providers")
    small = re.search(r"<tr>\s*<th[^>]*><span class=\"mono\">small<.*?</tr>", text, re.S)
    assert small is not None
    for words in ("412 ms", "96.0 ms", "1,000", "4.00 %", "9,000", "4,000", "$0.01"):
        assert words in small[0]
    assert "on premises" in text
    assert "no price" in text
    assert "Cost by provider" in text


def test_an_upstream_is_drained_and_taken_in_again(make_world: Any) -> None:
    world = make_world()
    text = page(world, f"{HOME}/providers")
    assert "unhealthy" in text
    assert "it answered 503" in text
    for name, word in (("first", "yes"), ("here", "no")):
        assert f'/providers/{name}/drain"' in text
        assert send(world, f"{HOME}/providers/{name}/drain", drained=word).status_code == 303
    assert world.doors.gateway.asked == [("drain", "first", True), ("drain", "here", False)]


def test_what_the_form_has_no_field_for_stays_as_it_is(make_world: Any) -> None:
    world = make_world()
    send(world, f"{HOME}/routes/reasoning", **{"version": "0", "model-1": "small", "balance": "cost"})
    put = world.doors.gateway.asked[0][1]
    assert (put.name, put.models, put.balance, put.max_latency_ms) == ("reasoning", ("small",), "cost", None)


def test_without_the_right_to_see_usage_no_money_is_shown(make_world: Any) -> None:
    world = make_world(denied=["gateway:read_usage"])
    assert "Cost" not in re.sub(r"<nav.*?</nav>", "", page(world, f"{HOME}/providers"), flags=re.S)
    assert "Cost this month" not in page(world, HOME)


# Budgets


def test_budgets_show_who_holds_how_much_the_fullest_first(make_world: Any) -> None:
    text = page(make_world(), f"{HOME}/budgets")
    assert text.index("/govern/keys/Bq8Z1xYw5vTu") < text.index("/govern/keys/9fKq2LmN4pRs"), "the fullest first"
    assert ">billing service</a>" in text, "keys are called by their names"
    assert "$5.00 of $5.00 · used up" in text
    assert "$4.20 of $5.00, $0.1500 set aside" in text
    assert 'class="share fill-warn"' in text
    assert "calls at once" in text


def test_a_budget_is_put_with_the_limits_of_the_form(make_world: Any) -> None:
    world = make_world()
    answer = send(world, f"{HOME}/budgets", **{"name": "new", "cost-day": "2.50", "tokens-hour": "9000", "subject": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}/budgets/new")
    spec = BudgetSpec("new", "tenant", (Limit("hour", tokens=9000), Limit("day", cost="2.50")))
    assert world.doors.gateway.asked == [("put_budget", spec, 0)]
    send(world, f"{HOME}/budgets/legal", version="2", subject="team:legal", concurrency="3")
    assert world.doors.gateway.asked[1] == ("put_budget", BudgetSpec("legal", "team:legal", (), 3), 2)
    send(world, f"{HOME}/budgets/legal/delete", version="2", confirm="yes")
    assert world.doors.gateway.asked[2] == ("delete_budget", "legal", 2)


def test_a_budget_that_is_refused_comes_back_with_what_was_typed(make_world: Any) -> None:
    for path in (f"{HOME}/budgets", f"{HOME}/budgets/legal"):
        answer = send(make_world(), path, **{"name": "new", "version": "2", "subject": "nobody", "cost-day": "7.77"})
        assert answer.status_code == 422
        assert 'value="7.77"' in answer.text
        assert 'value="nobody"' in answer.text
    assert send(make_world(), f"{HOME}/budgets/legal/delete", version="2").status_code == 422


# Prompts


def test_a_prompt_shows_its_versions_labels_and_what_changed(make_world: Any) -> None:
    text = page(make_world(), f"{HOME}/prompts/support")
    assert "90.0 %" in text
    assert "A/B" in text
    assert "+ system: You answer for {{shop}}, briefly." in text
    assert "- system: You answer for {{shop}}." in text
    assert "most?: integer = 5" in text, "the form has the variables as they are written there"
    assert "You answer for {{shop}}.</code>" in page(make_world(), f"{HOME}/prompts/support?version=1")
    page(make_world(), f"{HOME}/prompts/support?version=9", status=404)


def test_a_version_is_added_behind_the_one_that_was_seen(make_world: Any) -> None:
    world = make_world()
    turns = {"role-1": "system", "text-1": "For {{shop}}.\r\nBe brief.", "role-2": "user", "text-2": " "}
    answer = send(world, f"{HOME}/prompts/support", after="2", variables="shop\nmost?: integer = 5", **turns)
    assert answer.status_code == 303
    variables = (Variable("shop"), Variable("most", "integer", 5, required=False))
    messages = (Message("system", "For {{shop}}.\nBe brief."),)
    assert world.doors.gateway.asked == [("add_prompt", "support", messages, variables, "", 2)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"variables": "shop: colour"}, "declares no variable"),
        ({"variables": "most: integer = many"}, "the default of most is no integer"),
        ({"role-1": "robot"}, "there is no role"),
        ({"note": "unfit"}, "do not fit together"),
    ],
)
def test_a_prompt_that_cannot_be_comes_back_with_its_words(fields: dict[str, str], said: str, make_world: Any) -> None:
    for path in (f"{HOME}/prompts", f"{HOME}/prompts/support"):
        given = {"name": "x", "role-1": "user", "text-1": "These words stay.", **fields}
        answer = send(make_world(), path, **given)
        assert answer.status_code == 422
        assert said.lower() in answer.text.lower()
        assert "These words stay." in answer.text


def test_a_label_shows_one_version_or_several_by_weight(make_world: Any) -> None:
    world = make_world()
    for weights in ("2", "1: 90, 2: 10", ""):
        assert send(world, f"{HOME}/prompts/support/label", label="production", weights=weights).status_code == 303
    assert [what[3] for what in world.doors.gateway.asked] == [{2: 1.0}, {1: 90.0, 2: 10.0}, {}]
    assert send(world, f"{HOME}/prompts/support/label", label="x", weights="two").status_code == 422


# The playground


def test_two_models_answer_side_by_side_without_scripts_too_and_their_words_stay_words(make_world: Any) -> None:
    world = make_world(gateway=FakeGateway(broken=frozenset({"deep"})))
    fields = {"text": "When?", "model-a": "small", "model-b": "deep", "tags": "team=legal"}
    text = send(world, f"{HOME}/playground", **fields).text
    assert "At nine &lt;b&gt;sharp&lt;/b&gt;." in text
    assert "9 in, 19 out" in text
    assert "$0.0000127" in text
    assert "Deep failed: &lt;b&gt;reset&lt;/b&gt; (unavailable)" in text
    assert sorted(world.doors.gateway.asked) == [
        ("complete", "deep", {"team": "legal"}),
        ("complete", "small", {"team": "legal"}),
    ]


def test_a_streamed_answer_comes_in_lines_and_says_what_it_cost(make_world: Any) -> None:
    world = make_world()
    answer = send(world, f"{HOME}/playground/stream", text="When?", model="small")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[0] == {"who": "gpt-4o-mini at first, primary"}
    assert "".join(line.get("text", "") for line in lines) == "At nine <b>sharp</b>. "
    assert lines[-1]["done"]["cost"] == "$0.0000127"
    assert lines[-1]["done"]["first"]


def test_a_stream_that_breaks_ends_in_a_problem_and_never_looks_whole(make_world: Any) -> None:
    world = make_world(gateway=FakeGateway(broken=frozenset({"small"})))
    lines = send(world, f"{HOME}/playground/stream", text="When?", model="small").text.splitlines()
    assert "broke off" in json.loads(lines[-1])["problem"]
    assert not any("done" in json.loads(line) for line in lines)


def test_nothing_is_asked_where_there_is_nothing_to_ask(make_world: Any) -> None:
    world = make_world()
    assert send(world, f"{HOME}/playground", text=" ", **{"model-a": "small"}).status_code == 422
    assert send(world, f"{HOME}/playground/stream", text="", model="small").status_code == 422
    assert send(world, f"{HOME}/playground", text="x", tags="no-value", **{"model-a": "small"}).status_code == 422
    assert world.doors.gateway.asked == []
    assert "may not call models" in page(make_world(denied=["gateway:complete"]), f"{HOME}/playground")


def test_words_are_read_from_whole_and_from_broken_up_events() -> None:
    events = b'data: {"choices":[{"delta":{"content":"a\\n"}}]}\n\n: note\n\ndata: {"choices":[]}\n\ndata: [DONE]\n\n'
    speech = Speech()
    assert "".join(speech.take(events[n : n + 7]) for n in range(0, len(events), 7)) == "a\n"
    assert spoken(b'{"choices":[{"message":{"content":[{"type":"text","text":"x"},{"text":"y"}]}}]}') == "xy"
    assert "look_up" in spoken(b'{"choices":[{"message":{"content":null,"tool_calls":[{"function":"look_up"}]}}]}')
    assert spoken(b"no json") == spoken(b"[]") == spoken(b'{"choices": 3}') == ""


# The menu


def test_a_part_that_the_system_does_not_have_is_not_in_the_menu(make_world: Any) -> None:
    assert f'href="{HOME}"' in page(make_world(), "/console/")
    text = page(
        make_world(**dict.fromkeys(("gateway", "features", "serving", "reviews", "pipelines", "events"))), "/console/"
    )
    menu = re.search(r'<nav class="side".*?</nav>', text, re.S)
    assert menu is not None
    assert re.findall(r"<span>([\w ]+)</span>", menu[0]) == ["Overview", "Models", "Observe", "Govern"]
    assert "no gateway is part of this system" in page(make_world(gateway=None), HOME, status=404).lower()


def test_hostile_names_and_words_stay_text(make_world: Any) -> None:
    evil = "<script>alert(1)</script>"
    world = make_world(gateway=FakeGateway(said=evil))
    for path, fields in (
        ("/playground", {"text": evil, "system": evil, "model-a": evil, "model-b": "small"}),
        ("/routes", {"name": evil, "model-1": evil, "condition-1": evil}),
        ("/budgets", {"name": evil, "subject": "nobody", "cost-day": evil}),
        ("/prompts", {"name": evil, "role-1": evil, "text-1": evil, "variables": evil}),
        ("/routes/answers/plan", {"text": evil, "tags": evil}),
    ):
        assert "<script>alert" not in send(world, HOME + path, **fields).text, path
