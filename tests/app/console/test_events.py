"""The pages of events: consumers, dead letters and their redrive, and the tree of cause and effect."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from starlette.testclient import TestClient

from stanchion.app.console.pages.events.tree import branches_of
from stanchion.events import Hop, Selection
from tests.app.console.fake_features import NOW
from tests.app.console.fake_runs import FakeEvents

HOME = "/console/events"


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


def page(world: Any, path: str, status: int = 200) -> str:
    answer = client(world).get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def send(world: Any, path: str, **fields: str) -> Any:
    return client(world).post(path, data={"csrf": "csrf-good", **fields})


def test_consumers_show_how_far_they_lag_those_in_trouble_first(make_world: Any) -> None:
    text = page(make_world(), HOME)
    rows = re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", text, re.S)
    assert [re.findall(r'row">([\w-]+)', row)[0] for row in rows] == ["extract", "classify", "audit-trail"]
    assert f"{HOME}/dead?consumer=extract" in rows[0]
    assert ">12<" in rows[1]
    assert "held" in rows[1]
    assert "nobody works" in rows[2]


def test_a_consumer_is_held_and_goes_on(make_world: Any) -> None:
    world = make_world()
    assert send(world, f"{HOME}/consumers/extract", paused="yes").headers["location"] == HOME
    send(world, f"{HOME}/consumers/classify", paused="no")
    assert world.doors.events.asked == [("pause", "extract"), ("resume", "classify")]
    assert 'method="post"' not in page(make_world(denied=["events:operate"]), HOME).split("<main")[1]


def test_a_dead_letter_shows_its_data_and_the_error_of_every_attempt(make_world: Any) -> None:
    text = page(make_world(), f"{HOME}/dead/dl1?consumer=extract")
    assert "&lt;b&gt;1&lt;/b&gt;.pdf" in text
    assert "the file is &lt;i&gt;no&lt;/i&gt; PDF" in text
    assert "timeout" in text
    assert f"{HOME}/tree?id=first" in text
    page(make_world(), f"{HOME}/dead/dl9", status=404)


def test_chosen_letters_or_all_of_a_consumer_are_redriven_at_a_rate(make_world: Any) -> None:
    world = make_world()
    text = page(world, f"{HOME}/dead?consumer=extract")
    assert re.findall(r'name="(id-\d+)" value="(\w+)"', text) == [("id-1", "dl1"), ("id-2", "dl2")]
    assert 'type="checkbox" name="id-' not in page(world, f"{HOME}/dead"), "letters of several are not mixed"
    answer = send(world, f"{HOME}/dead", **{"consumer": "extract", "what": "redrive", "id-2": "dl2", "rate": "5"})
    assert answer.headers["location"] == f"{HOME}/dead?consumer=extract"
    send(world, f"{HOME}/dead", consumer="extract", what="redrive", all="yes")
    send(world, f"{HOME}/dead", **{"consumer": "extract", "what": "discard", "id-1": "dl1"})
    assert world.doors.events.asked == [
        ("redrive", "extract", Selection(ids=("dl2",)), 5.0),
        ("redrive", "extract", Selection(), None),
        ("discard", "extract", ("dl1",)),
    ]


def test_nothing_is_redriven_or_removed_that_was_not_chosen(make_world: Any) -> None:
    world = make_world()
    for fields in (
        {"consumer": "extract", "what": "redrive"},
        {"consumer": "extract", "what": "discard", "all": "yes"},
        {"what": "redrive", "all": "yes"},
        {"consumer": "extract", "what": "redrive", "all": "yes", "rate": "-1"},
        {"consumer": "extract"},
    ):
        assert send(world, f"{HOME}/dead", **fields).status_code == 422
    assert world.doors.events.asked == []


def test_a_tree_shows_causes_above_their_consequences_with_latency_and_what_is_stuck(make_world: Any) -> None:
    text = page(make_world(), f"{HOME}/tree?id=first")
    hops = text[text.index("<h2>Hops") :]
    order = [hops.index(f">document.{name}<") for name in ("uploaded", "extracted", "classified", "archived")]
    assert order == sorted(order)
    assert hops.count('class="indent-2"') == 2
    assert "800 ms" in hops
    assert "1.20 s" in hops
    stuck = text[text.index("<h2>Stuck") : text.index("On one clock")]
    assert "notify gave it up after 5 attempts" in stuck
    assert "nobody has handled it" in stuck
    assert "no &lt;b&gt;address&lt;/b&gt;" in hops
    assert 'data-live="/console/fragments/events/tree/first"' in text


def test_a_tree_that_nobody_knows_is_said_so_and_another_can_be_asked_for(make_world: Any) -> None:
    text = page(make_world(), f"{HOME}/tree?id=other", status=404)
    assert "Nothing is known of this chain of events" in text
    assert 'value="other"' in text
    assert "What came of an event" in page(make_world(), f"{HOME}/tree")


def test_an_event_just_published_is_not_called_stuck_and_circles_end() -> None:
    young = Hop("a", "/s", "t", "", NOW)
    assert branches_of([young], NOW)[0].stuck == ""
    circle = [replace(young, id="a", cause="b"), replace(young, id="b", cause="a"), replace(young, id="c", cause="c")]
    assert [branch.hop.id for branch in branches_of(circle, NOW)] == ["c"]


def test_a_system_without_events_has_no_page_of_them(make_world: Any) -> None:
    page(make_world(events=None), HOME, status=404)
    assert "Consumers" not in page(make_world(events=None), "/console/pipelines")
    assert "Nobody handles events" in page(make_world(events=FakeEvents(empty=True)), HOME)
