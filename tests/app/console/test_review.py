"""The pages of review: the list, what a reviewer sees, and decisions on exactly that."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from stanchion.app.console.pages.review.case import part, sheet
from stanchion.review import Mark, Submission
from tests.app.console.fake_features import NOW
from tests.app.console.fake_reviews import FakeReviews, sample_item

HOME = "/console/review"
FIRST = f"{HOME}/rv_0000"


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


def page(world: Any, path: str, status: int = 200) -> str:
    answer = client(world).get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def send(world: Any, path: str, *, script: bool = False, **fields: str) -> Any:
    headers = {"Accept": "application/json"} if script else {}
    return client(world).post(path, data={"csrf": "csrf-good", **fields}, headers=headers)


def held(text: str) -> dict[str, str]:
    """What the decision's form would send of what was shown."""
    form = text[text.index("data-decide") :]
    return dict(re.findall(r'name="(version|digest|token|queue)" value="([^"]*)"', form))


def test_what_waits_is_listed_with_its_deadline_and_counted_in_the_menu(make_world: Any) -> None:
    text = page(make_world(), HOME)
    assert len(re.findall(r"<tr>\s*<td><a", text)) == 5, "decided ones are left out until they are asked for"
    assert "due in 1 hour" in text
    assert "overdue for" in text
    for path in (HOME, "/console/", f"{HOME}/rv_0001"):
        assert re.search(r'class="badge-number">3<', page(make_world(), path)), path
    assert "Refund of order 5" in page(make_world(), f"{HOME}?status=decided")


def test_a_reviewer_sees_input_proposal_explanation_sources_and_earlier_decisions(make_world: Any) -> None:
    text = page(make_world(), FIRST)
    for words in (
        "Is this refund right?",
        "arrived &lt;b&gt;broken&lt;/b&gt;",
        "masked for you",
        "41.5",
        "The picture shows a broken cup.",
        "past_refunds",
        "-0.31",
        "Broken goods are refunded in full.",
        "terms.pdf, page 3",
        "s3://photos/1",
        "refund-screen 1.4.0",
        "$0.0021",
        "refunds-above-40",
        "Too much.",
        "The receipt follows.",
        "Similar cases",
        "SHA-256",
    ):
        assert words in text, words
    assert text.index("order_value") < text.index("past_refunds"), "the strongest feature first"


def test_a_decision_names_version_digest_and_lease_of_what_was_shown_and_goes_on_to_the_next(make_world: Any) -> None:
    world = make_world()
    taken = send(world, HOME)
    assert (taken.status_code, taken.headers["location"]) == (303, FIRST)
    shown = held(page(world, FIRST))
    answer = send(world, f"{FIRST}/decide", verdict="approve", note="fine", **shown)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}/rv_0001?done=rv_0000")
    [given] = [what[1] for what in world.doors.reviews.asked if what[0] == "decide"]
    assert given == Submission("rv_0000", 3, shown["digest"], 70, "approve", note="fine")
    assert len(shown["digest"]) == 64
    following = page(world, f"{HOME}/rv_0001?done=rv_0000")
    assert "Refund of order 0: approve" in following
    assert f'action="{FIRST}/undo"' in following


def test_a_decision_can_be_taken_back_and_the_item_is_the_callers_again(make_world: Any) -> None:
    world = make_world()
    send(world, HOME)
    send(world, f"{FIRST}/decide", verdict="approve", **held(page(world, FIRST)))
    answer = send(world, f"{FIRST}/undo")
    assert answer.headers["location"] == FIRST
    assert ("undo", "rv_0000") in world.doors.reviews.asked
    assert held(page(world, FIRST))["token"]


def test_an_undo_is_no_longer_offered_when_its_time_is_over(make_world: Any) -> None:
    world = make_world()
    past = NOW - timedelta(seconds=1)
    world.doors.reviews.of["rv_0000"] = replace(sample_item(0, "settling"), undo_until=past)
    assert "data-undo hidden" in page(world, f"{HOME}/rv_0001?done=rv_0000")
    assert "data-undo hidden" in page(world, f"{HOME}/rv_0001?done=nothing")


def test_what_changed_meanwhile_is_not_decided_and_what_was_typed_stays(make_world: Any) -> None:
    world = make_world()
    send(world, HOME)
    shown = held(page(world, FIRST))
    world.doors.reviews.texts["rv_0000"]["question"] = "Is it still right?"
    answer = send(world, f"{FIRST}/decide", verdict="reject", note="my words", **shown)
    assert answer.status_code == 409
    assert "Rv_0000 is not what was shown" in answer.text
    assert "my words" in answer.text
    assert world.doors.reviews.of["rv_0000"].status == "claimed"
    fragment = f"/console/fragments/review/rv_0000?version=3&digest={shown['digest']}"
    assert "has changed since this page showed it" in page(world, fragment)


def test_an_edit_holds_the_whole_corrected_proposal(make_world: Any) -> None:
    world = make_world()
    send(world, HOME)
    shown = held(page(world, FIRST))
    broken = send(world, f"{FIRST}/decide", verdict="edit", value='{"amount": ', **shown)
    assert broken.status_code == 422
    assert "is no JSON" in broken.text
    assert "{&#34;amount&#34;: " in broken.text, "what was typed is kept"
    same = send(world, f"{FIRST}/decide", verdict="edit", value='{"refund": true, "amount": 41.5}', **shown)
    assert "The edit changes nothing" in same.text
    send(world, f"{FIRST}/decide", verdict="edit", value='{"refund": true, "amount": 30}', **shown)
    assert world.doors.reviews.asked[-2][1].value == {"refund": True, "amount": 30}


def test_words_are_edited_as_words(make_world: Any) -> None:
    world = make_world()
    world.doors.reviews.texts["rv_0000"]["proposal"] = "Dear customer"
    send(world, HOME)
    text = page(world, FIRST)
    assert ">Dear customer</textarea>" in text
    send(world, f"{FIRST}/decide", verdict="edit", value="Dear Ada", **held(text))
    assert world.doors.reviews.asked[-2][1].value == "Dear Ada"


@pytest.mark.parametrize("fields", [{"verdict": "perhaps"}, {"digest": ""}, {"token": "x"}, {"version": ""}])
def test_a_form_that_does_not_say_what_was_shown_decides_nothing(fields: dict[str, str], make_world: Any) -> None:
    world = make_world()
    send(world, HOME)
    shown = {"verdict": "approve", **held(page(world, FIRST)), **fields}
    assert send(world, f"{FIRST}/decide", **shown).status_code == 422
    assert not [what for what in world.doors.reviews.asked if what[0] == "decide"]


def test_the_pages_script_is_told_in_json(make_world: Any) -> None:
    world = make_world()
    lease = send(world, f"{FIRST}/claim", script=True).json()
    assert (lease["token"], lease["version"], lease["seconds"]) == (70, 3, 300)
    assert send(world, f"{FIRST}/heartbeat", token="70").json() == {"seconds": 300}
    ended = send(world, f"{FIRST}/heartbeat", token="71")
    assert (ended.status_code, ended.json()["code"]) == (409, "conflict")
    taken = send(world, f"{HOME}/rv_0003/claim", script=True)
    assert (taken.status_code, "somebody else" in taken.json()["detail"]) == (409, True)
    fields = {"version": "3", "digest": lease["digest"], "token": "70", "verdict": "reject"}
    told = send(world, f"{FIRST}/decide", script=True, **fields).json()
    assert told == {"done": "rv_0000", "said": "rejected", "undo": True}
    assert send(world, f"{FIRST}/decide", script=True, **fields).status_code == 409


def test_the_page_ahead_is_read_and_not_taken(make_world: Any) -> None:
    world = make_world()
    answer = client(world).get(f"{FIRST}/ahead?queue=refunds")
    assert 'data-case="rv_0001"' in answer.text
    assert world.doors.reviews.asked == []
    voted = replace(sample_item(1), needed=2, votes=1)
    world.doors.reviews.of["rv_0001"] = voted
    world.doors.reviews.marks["rv_0001"] = Mark(NOW, "voted", "key:development")
    assert 'data-case="rv_0002"' in client(world).get(f"{FIRST}/ahead").text, "its second seat is for somebody else"
    world.doors.reviews.of = {"rv_0000": world.doors.reviews.of["rv_0000"]}
    assert client(world).get(f"{FIRST}/ahead").status_code == 204


def test_an_item_is_given_back_put_off_asked_about_and_handed_on(make_world: Any) -> None:
    world = make_world()
    send(world, HOME)
    lease = {"token": "70"}
    for fields in (
        {"what": "defer", "minutes": "90", "note": "later"},
        {"what": "ask", "note": "Which receipt?"},
        {"what": "delegate", "to": "user:bo"},
        {"what": "release"},
    ):
        assert send(world, f"{FIRST}/leave", **lease, **fields).headers["location"] == HOME
    assert world.doors.reviews.asked[1:] == [
        ("defer", "rv_0000", 70, NOW + timedelta(minutes=90), "later"),
        ("need_info", "rv_0000", 70, "Which receipt?"),
        ("delegate", "rv_0000", "user:bo", ""),
        ("release", "rv_0000", 70),
    ]
    assert send(world, f"{FIRST}/leave", **lease, what="defer", minutes="soon").status_code == 422
    assert send(world, f"{FIRST}/leave", **lease, what="nothing").status_code == 422


def test_its_author_answers_what_a_reviewer_asked(make_world: Any) -> None:
    world = make_world()
    world.doors.reviews.of["rv_0004"] = sample_item(4, "waiting", author="key:development")
    assert "Your answer to the reviewer" in page(world, f"{HOME}/rv_0004")
    send(world, f"{HOME}/rv_0004/inform", note="This one.")
    assert world.doors.reviews.asked == [("inform", "rv_0004", "This one.")]


def test_who_may_only_read_decides_nothing(make_world: Any) -> None:
    text = page(make_world(denied=["review:decide", "review:claim"]), FIRST)
    assert "data-decide" not in text
    assert "not decide them" in text
    assert "Take the next item" not in page(make_world(denied=["review:claim"]), HOME)
    assert "badge-number" not in page(make_world(denied=["review:read"]), "/console/")


def test_where_nothing_is_open_one_is_told_so(make_world: Any) -> None:
    world = make_world(reviews=FakeReviews(empty=True))
    assert "No queue is declared" in page(world, HOME)
    assert send(world, HOME).headers["location"] == HOME
    assert "badge-number" not in page(world, HOME)


def test_a_system_without_review_has_no_page_of_it(make_world: Any) -> None:
    assert "/console/review" not in page(make_world(reviews=None), "/console/")
    page(make_world(reviews=None), HOME, status=404)


def test_values_are_read_out_as_facts_words_or_code(make_world: Any) -> None:
    assert part({"a": 1, "b": None, "c": "x"}).facts == [("a", "1", False), ("b", "", False), ("c", "x", False)]
    assert part("words").words == "words"
    assert json.loads(part({"a": {"b": [1]}}).code) == {"a": {"b": [1]}}
    assert part("x" * 30_000).left_out == 10_000
    assert part({str(n): n for n in range(100)}).left_out == 40


def test_a_document_of_other_shapes_is_read_without_a_fault(make_world: Any) -> None:
    world = make_world()
    odd = {"input": [1, {"a": 2}], "proposal": None, "explanation": "none", "prior": {}, "similar": "x", "signals": []}
    world.doors.reviews.texts["rv_0000"] = odd
    page(world, FIRST)
    case = world.doors.reviews._case(world.ctx, "rv_0000")
    assert sheet(replace(case, shown={})).editable == "null"
