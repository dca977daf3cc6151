"""Many reviews at once, and how good they are: each item still decided on what was shown of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from starlette.testclient import TestClient

from tests.app.console.fake_features import NOW
from tests.app.console.fake_reviews import REASONS, FakeReviews

BULK, QUALITY = "/console/review/bulk", "/console/review/quality"


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


def page(world: Any, path: str, status: int = 200) -> str:
    answer = client(world).get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def send(world: Any, path: str, **fields: str) -> Any:
    return client(world).post(path, data={"csrf": "csrf-good", "queue": "refunds", **fields})


def tickets(text: str) -> dict[str, str]:
    """What the boxes of the page would send."""
    return dict(re.findall(r'name="(item-\d+)" value="([^"]+)"', text))


def in_hand(world: Any) -> dict[str, str]:
    assert send(world, f"{BULK}/take", number="3").headers["location"] == f"{BULK}?queue=refunds"
    return tickets(page(world, f"{BULK}?queue=refunds"))


def decided(world: Any) -> list[Any]:
    return [what[1] for what in world.doors.reviews.asked if what[0] == "decide"]


def test_items_are_taken_and_shown_beside_each_other(make_world: Any) -> None:
    world = make_world()
    assert "No queue is chosen" in page(world, BULK)
    assert "Nothing of this queue is in your hands" in page(world, f"{BULK}?queue=refunds")
    boxes = in_hand(world)
    assert [ticket.split(" ")[0] for ticket in boxes.values()] == ["rv_0000", "rv_0001", "rv_0002"]
    text = page(world, f"{BULK}?queue=refunds")
    for words in ("The picture shows a broken cup.", "past_refunds", "Too much.", "terms.pdf, page 3", "$0.0021"):
        assert words in text, f"{words}: a decision is about all of it, so all of it is shown"
    assert "masked for you" in text and "arrived &lt;b&gt;broken&lt;/b&gt;" in text


def test_one_decision_is_taken_for_the_chosen_each_on_what_was_shown(make_world: Any) -> None:
    world = make_world(reviews=FakeReviews(reasons=dict(REASONS)))
    boxes = in_hand(world)
    chosen = {name: boxes[name] for name in ("item-1", "item-3")}
    answer = send(world, BULK, **chosen, verdict="reject", reason="fraud", note="a ring")
    assert answer.headers["location"] == f"{BULK}?queue=refunds"
    given = decided(world)
    assert [(each.item, each.verdict, each.reason, each.note) for each in given] == [
        ("rv_0000", "reject", "fraud", "a ring"),
        ("rv_0002", "reject", "fraud", "a ring"),
    ]
    assert [f"{each.item} {each.version} {each.token} {each.digest}" for each in given] == list(chosen.values())
    assert list(tickets(page(world, f"{BULK}?queue=refunds"))) == ["item-1"], "what was not chosen stays in hand"


def test_what_changed_meanwhile_is_refused_alone_and_told(make_world: Any) -> None:
    world = make_world()
    boxes = in_hand(world)
    world.doors.reviews.texts["rv_0001"]["question"] = "Is it still right?"
    text = send(world, BULK, **boxes, verdict="approve", note="my <b>words</b>").text
    assert "2 decided, 1 refused." in text
    assert "rv_0001 is not what was shown" in text
    assert "my &lt;b&gt;words&lt;/b&gt;" in text
    assert re.search(r'value="rv_0001 [^"]+"[^>]* checked', text), "the choice stays"


def test_what_is_no_decision_for_many_is_not_taken(make_world: Any) -> None:
    world = make_world()
    boxes = in_hand(world)
    for fields in (
        {"verdict": "approve"},
        {**boxes, "verdict": "edit"},
        {**boxes},
        {"item-1": "rv_0000 3 x y", "verdict": "approve"},
    ):
        assert send(world, BULK, **fields).status_code == 422
    assert send(world, f"{BULK}/take", queue="", number="3").status_code == 422
    assert send(world, f"{BULK}/take", number="26").status_code == 422
    assert decided(world) == []


def test_items_are_given_back_and_leases_are_prolonged(make_world: Any) -> None:
    world = make_world()
    boxes = in_hand(world)
    kept = send(world, f"{BULK}/heartbeat", tickets="\n".join([*boxes.values(), "nonsense"]))
    assert kept.json() == {"kept": 3}
    send(world, BULK, **{"item-2": boxes["item-2"]}, what="release")
    assert ("release", "rv_0001", 71) in world.doors.reviews.asked
    assert len(tickets(page(world, f"{BULK}?queue=refunds"))) == 2


def test_the_figures_of_a_queue_and_its_reviewers_are_shown(make_world: Any) -> None:
    world = make_world()
    text = page(world, f"{QUALITY}?queue=refunds&days=7")
    assert world.doors.reviews.asked[-1] == ("statistics", "refunds", NOW - timedelta(days=7))
    for words in ("0.571", "0.550", "0.568", "83.3 %", "50.0 %", "1.6 min", "6.8 min", "no-receipt", "away"):
        assert words in text, words
    assert text.index("key:ada <") < text.index("key:&lt;b&gt;bo"), "who decided most stands first"
    assert "of 4" in text and "of 2" in text
    page(world, f"{QUALITY}?queue=unknown&days=")
    assert world.doors.reviews.asked[-1] == ("statistics", "refunds", None)


def test_who_may_not_read_figures_or_decide_has_no_way_there(make_world: Any) -> None:
    text = page(make_world(denied=["review:read_quality", "review:decide"]), "/console/review")
    assert QUALITY not in text and BULK not in text
    assert "No queue is declared" in page(make_world(reviews=FakeReviews(empty=True)), QUALITY)
