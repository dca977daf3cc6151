"""The contract of Reviews as tests: subclass `ReviewSuite` and give it a door to queues declared by `SPECS`.

The clock is a FakeClock that the door reads; `passes` moves it and lets the door do what is due. The door must hold no
item of the tenants `t1` and `t2` and permit everybody all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from stanchion.review import (
    MASKED,
    Expected,
    Item,
    Reviewer,
    Reviews,
    Signals,
    Submission,
)
from stanchion.testing.clock import FakeClock
from stanchion.testing.review_cases import (
    ADA,
    AUTHOR,
    BOB,
    EVA,
    LATE,
    SPECS,
    STRANGER,
    Passes,
    caller,
    claimed,
    code,
    decided,
    draft,
    opened,
    submission,
)


class ReviewSuite:
    """Override the async fixtures `reviews` and `passes`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def reviews(self) -> Reviews:
        raise NotImplementedError("override the fixture `reviews`")

    @pytest.fixture
    def passes(self) -> Passes:
        raise NotImplementedError("override the fixture `passes`")

    # Opening and routing

    async def test_an_item_shows_what_was_proposed_and_why(self, reviews: Reviews) -> None:
        [item] = await opened(reviews, draft(title="A loan", question="Grant it?"))
        case = await reviews.get(ADA, item.id)
        assert (item.status, item.priority, item.author, item.version) == ("open", "normal", "author", 1)
        assert case.shown["proposal"] == {"grant": True, "limit": 500, "tags": ["new", "young"]}
        assert case.shown["explanation"]["contributions"][0] == {"feature": "income", "value": 1_000, "weight": 0.25}
        assert (case.shown["model"], case.shown["cost"], case.shown["question"]) == ("scorer", "0.0021", "Grant it?")
        assert case.token is None and case.outcome is None

    async def test_only_what_a_rule_asks_for_goes_to_people(self, reviews: Reviews) -> None:
        signals = [Signals(confidence=0.9), Signals(confidence=0.5), Signals(), Signals(confidence=0.9, slice="rare")]
        found = await reviews.open(AUTHOR, [draft("routed", n, signals=each) for n, each in enumerate(signals)])
        assert [each.item is not None for each in found] == [False, True, True, True]
        assert [list(each.matched) for each in found] == [[], ["confidence"], ["confidence"], ["slice:rare"]]
        forced = await reviews.open(AUTHOR, [draft("routed", signals=signals[0], forced=True)])
        assert list(forced[0].matched) == ["forced"]

    async def test_a_key_opens_one_item_for_ever(self, reviews: Reviews) -> None:
        first, again = [(await opened(reviews, draft(key="k1")))[0] for _ in range(2)]
        assert first.id == again.id
        with pytest.raises(Conflict):
            await reviews.open(AUTHOR, [draft(key="k1", number=1)])
        with pytest.raises(Conflict):
            await reviews.open(ADA, [draft(key="k1")])
        assert len(await reviews.items(ADA)) == 1

    async def test_the_same_key_at_the_same_time_opens_one_item(self, reviews: Reviews) -> None:
        found = await asyncio.gather(*(opened(reviews, draft(key="same")) for _ in range(10)))
        assert len({items[0].id for items in found}) == 1

    async def test_a_bad_draft_opens_nothing_at_all(self, reviews: Reviews) -> None:
        bad = [
            draft(key="no spaces"),
            draft(signals=Signals(confidence=2.0)),
            draft(title="two\nlines"),
            draft(cost="a lot"),
            draft(input={"n": 2**60}),
            draft(input={"n": float("nan")}),
        ]
        for each in bad:
            with pytest.raises(InvalidInput):
                await reviews.open(AUTHOR, [draft(), each])
        with pytest.raises(NotFound):
            await reviews.open(AUTHOR, [draft(), draft("unknown")])
        assert await reviews.items(ADA) == []

    async def test_items_come_by_priority_and_then_by_age_in_pages(self, reviews: Reviews) -> None:
        for number, priority in enumerate(["low", "normal", "urgent", "normal"]):
            await opened(reviews, draft(number=number, priority=priority, title=f"{priority}{number}"))
        titles = ["urgent2", "normal1", "normal3", "low0"]
        assert [item.title for item in await reviews.items(ADA)] == titles
        first = await reviews.items(ADA, limit=2)
        rest = await reviews.items(ADA, after=first[-1].id)
        assert [item.title for item in [*first, *rest]] == titles
        assert [case.item.title for case in await reviews.claim(ADA, limit=2)] == titles[:2]

    async def test_tenants_see_nothing_of_each_other(self, reviews: Reviews) -> None:
        [item] = await opened(reviews, draft(key="k"))
        assert await reviews.items(STRANGER) == [] and await reviews.claim(STRANGER) == []
        with pytest.raises(NotFound):
            await reviews.get(STRANGER, item.id)
        with pytest.raises(NotFound):
            await reviews.claim(STRANGER, ids=[item.id])
        [other] = await opened(reviews, draft(key="k"), author=STRANGER)
        assert other.id != item.id

    # Leases

    async def test_a_seat_is_one_persons_until_the_lease_ends(self, reviews: Reviews, passes: Passes) -> None:
        [item] = await opened(reviews, draft())
        first = await claimed(reviews, ADA, item)
        assert first.item.status == "claimed" and list(first.item.holders) == ["ada"]
        with pytest.raises(Conflict):
            await claimed(reviews, BOB, item)
        assert await reviews.claim(BOB) == []
        await passes(200)
        until = await reviews.heartbeat(ADA, item.id, first.token or 0)
        await passes(299)
        assert (await reviews.get(ADA, item.id)).leased_until == until
        await passes(2)
        second = await claimed(reviews, BOB, item)
        assert (second.token or 0) > (first.token or 0)
        with pytest.raises(Conflict):
            await reviews.heartbeat(ADA, item.id, first.token or 0)
        [late] = await reviews.decide(ADA, [submission(first)])
        assert code(late) == "conflict"
        [settled] = await reviews.decide(BOB, [submission(second)])
        assert (settled.status, settled.verdict) == ("decided", "approve")

    async def test_a_released_item_is_somebody_elses(self, reviews: Reviews) -> None:
        [item] = await opened(reviews, draft())
        case = await claimed(reviews, ADA, item)
        assert (await reviews.release(ADA, item.id, case.token or 0)).status == "open"
        with pytest.raises(Conflict):
            await reviews.release(ADA, item.id, case.token or 0)
        assert (await claimed(reviews, BOB, item)).item.holders == ["bob"]
        assert [each.id for each in await reviews.items(BOB, mine=True)] == [item.id]
        assert await reviews.items(ADA, mine=True) == []

    async def test_nobody_decides_their_own_proposal(self, reviews: Reviews) -> None:
        [item] = await opened(reviews, draft(excluded=("bob",)))
        for who in (AUTHOR, BOB):
            assert await reviews.claim(who) == []
            with pytest.raises(NotAllowed):
                await claimed(reviews, who, item)
        with pytest.raises(InvalidInput):
            await reviews.delegate(ADA, item.id, "author")

    async def test_skills_and_capacity_bound_what_a_reviewer_gets(self, reviews: Reviews) -> None:
        await opened(reviews, *(draft(number=n, skills=("credit",)) for n in range(4)))
        assert await reviews.claim(ADA, limit=4) == []
        await reviews.put_reviewer(ADA, Reviewer("ada", skills=("credit", "french"), capacity=3))
        assert [each.principal for each in await reviews.reviewers(BOB)] == ["ada"]
        assert len(await reviews.claim(ADA, limit=4)) == 3
        assert await reviews.claim(ADA, limit=4) == []

    # Decisions

    async def test_a_decision_is_about_exactly_what_was_shown(self, reviews: Reviews) -> None:
        [item] = await opened(reviews, draft())
        case = await claimed(reviews, ADA, item)
        good = submission(case)
        for bad in (
            Submission(good.item, good.version, "0" * 64, good.token, "approve"),
            Submission(good.item, good.version + 1, good.digest, good.token, "approve"),
            Submission(good.item, good.version, good.digest, good.token + 1, "approve"),
        ):
            [refused] = await reviews.decide(ADA, [bad])
            assert code(refused) == "conflict"
        [settled] = await reviews.decide(ADA, [good])
        assert settled.verdict == "approve"
        [seen] = await reviews.evidence(ADA, item.id)
        assert seen["digest"] == case.digest and seen["shown"] == case.shown
        text = json.dumps(seen["shown"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == case.digest

    async def test_an_edit_is_kept_with_its_patch(self, reviews: Reviews) -> None:
        first, second = await opened(reviews, draft(key="a"), draft(key="b", number=1))
        value = {"grant": True, "limit": 300, "tags": ["new"]}
        await decided(reviews, ADA, first, "edit", value=value)
        outcome = (await reviews.get(ADA, first.id)).outcome
        assert outcome is not None and outcome.value == value and list(outcome.by) == ["ada"]
        assert {each["path"] for each in outcome.patch} == {"/limit", "/tags/1"}
        await decided(reviews, ADA, second, "edit", patch=[{"op": "replace", "path": "/limit", "value": 1}])
        answer = await reviews.ask(AUTHOR, draft(key="b", number=1))
        assert answer.approved and answer.value == {"grant": True, "limit": 1, "tags": ["new", "young"]}

    async def test_what_cannot_be_decided_so_is_refused(self, reviews: Reviews) -> None:
        [item] = await opened(reviews, draft())
        case = await claimed(reviews, ADA, item)
        wrong: Sequence[dict[str, Any]] = (
            {"verdict": "reject", "reason": "made up"},
            {"verdict": "edit"},
            {"verdict": "edit", "value": case.shown["proposal"]},
            {"verdict": "edit", "patch": [{"op": "replace", "path": "/none", "value": 1}]},
            {"verdict": "approve", "value": {"grant": False}},
        )
        for each in wrong:
            [refused] = await reviews.decide(ADA, [submission(case, **each)])
            assert code(refused) == "invalid_input", each
        [settled] = await reviews.decide(ADA, [submission(case, "reject", reason="wrong")])
        assert settled.verdict == "reject"

    async def test_decisions_in_bulk_stand_or_fall_one_by_one(self, reviews: Reviews) -> None:
        await opened(reviews, *(draft(number=n) for n in range(5)))
        cases = await reviews.claim(ADA, limit=5)
        given = [submission(case) for case in cases]
        given[2] = submission(cases[2], "reject", reason="made up")
        settled = await reviews.decide(ADA, [*given, given[0]])
        assert [code(each) for each in settled] == ["", "", "invalid_input", "", "", "conflict"]
        assert len(await reviews.items(ADA, status=("decided",))) == 4

    async def test_two_decide_blindly_and_a_third_where_they_differ(self, reviews: Reviews) -> None:
        same, other = await opened(reviews, draft("twice"), draft("twice", 1))
        cases = [(who, await claimed(reviews, who, same)) for who in (ADA, BOB)]
        for who, case in cases:
            assert case.shown["prior"] == []
            [settled] = await reviews.decide(who, [submission(case)])
        assert settled.status == "decided"
        await decided(reviews, ADA, other)
        parted = await decided(reviews, BOB, other, "reject")
        assert (parted.status, parted.verdict) == ("open", None)
        with pytest.raises(NotAllowed):
            await claimed(reviews, ADA, other)
        third = await claimed(reviews, EVA, other)
        assert [each["verdict"] for each in third.shown["prior"]] == ["approve", "reject"]
        [last] = await reviews.decide(EVA, [submission(third, "reject")])
        assert (last.status, last.verdict) == ("decided", "reject")
        figures = await reviews.statistics(ADA, "twice")
        assert (figures.agreement.items, figures.agreement.observed) == (2, 0.5)
        assert {each.principal: each.overruled for each in figures.reviewers} == {"ada": 1, "bob": 0, "eva": 0}

    async def test_an_approval_needs_a_second_person_who_sees_the_first_one(self, reviews: Reviews) -> None:
        good, bad = await opened(reviews, draft("foureyes"), draft("foureyes", 1))
        assert (await decided(reviews, ADA, good)).status == "open"
        case = await claimed(reviews, BOB, good)
        assert [each["by"] for each in case.shown["prior"]] == ["ada"]
        [settled] = await reviews.decide(BOB, [submission(case)])
        assert settled.status == "decided"
        assert (await decided(reviews, ADA, bad, "reject")).status == "decided"

    async def test_a_decision_settles_and_can_be_taken_back_until_then(self, reviews: Reviews, passes: Passes) -> None:
        [item] = await opened(reviews, draft("undone", key="k"))
        assert (await decided(reviews, ADA, item)).status == "settling"
        assert (await reviews.ask(AUTHOR, draft("undone", key="k"))).state == "pending"
        with pytest.raises(Conflict):
            await reviews.undo(BOB, item.id)
        assert (await reviews.undo(ADA, item.id)).status == "open"
        assert (await decided(reviews, ADA, item, "reject")).status == "settling"
        await passes(61)
        with pytest.raises(Conflict):
            await reviews.undo(ADA, item.id)
        answer = await reviews.ask(AUTHOR, draft("undone", key="k"))
        assert answer.state == "decided" and not answer.approved and answer.value is None

    async def test_who_may_not_see_a_field_decides_without_it(self, reviews: Reviews) -> None:
        officer = caller("olga", "t1", "officer")
        [item] = await opened(reviews, draft("masked", key="m"))
        case, whole = await claimed(reviews, ADA, item), await reviews.get(officer, item.id)
        assert case.shown["input"]["name"] == MASKED and case.shown["proposal"]["limit"] == MASKED
        assert sorted(case.masked) == ["/input/name", "/proposal/limit"]
        assert whole.shown["input"]["name"] == "Ada Lovelace" and whole.digest != case.digest
        stolen = Submission(item.id, item.version, whole.digest, case.token or 0, "approve")
        assert code((await reviews.decide(ADA, [stolen]))[0]) == "conflict"
        hidden = {**case.shown["proposal"], "limit": 9}
        assert code((await reviews.decide(ADA, [submission(case, "edit", value=hidden)]))[0]) == "invalid_input"
        seen = {**case.shown["proposal"], "grant": False}
        assert code((await reviews.decide(ADA, [submission(case, "edit", value=seen)]))[0]) == ""
        outcome = (await reviews.get(ADA, item.id)).outcome
        assert outcome is not None and outcome.value["limit"] == MASKED
        answer = await reviews.ask(AUTHOR, draft("masked", key="m"))
        assert answer.value == {"grant": False, "limit": 500, "tags": ["new", "young"]}

    # Questions, delays, other hands

    async def test_a_question_waits_for_the_author(self, reviews: Reviews) -> None:
        [item] = await opened(reviews, draft())
        case = await claimed(reviews, ADA, item)
        waiting = await reviews.need_info(ADA, item.id, case.token or 0, "Which region?")
        assert waiting.status == "waiting" and await reviews.claim(ADA) == []
        assert (await reviews.inform(AUTHOR, item.id, "The north.")).status == "open"
        with pytest.raises(Conflict):
            await reviews.inform(AUTHOR, item.id, "Again.")
        again = await claimed(reviews, ADA, item)
        assert [note["text"] for note in again.shown["notes"]] == ["Which region?", "The north."]
        assert again.digest != case.digest

    async def test_what_is_put_off_comes_back(self, reviews: Reviews, passes: Passes, clock: FakeClock) -> None:
        [item] = await opened(reviews, draft())
        case = await claimed(reviews, ADA, item)
        for until in (clock.now() - timedelta(hours=1), clock.now() + timedelta(days=300)):
            with pytest.raises(InvalidInput):
                await reviews.defer(ADA, item.id, case.token or 0, until)
        off = await reviews.defer(ADA, item.id, case.token or 0, clock.now() + timedelta(hours=1))
        assert off.status == "deferred" and await reviews.claim(BOB) == []
        await passes(3_601)
        assert len(await reviews.claim(BOB)) == 1

    async def test_a_delegated_item_waits_for_that_person_first(self, reviews: Reviews, passes: Passes) -> None:
        [item] = await opened(reviews, draft())
        case = await claimed(reviews, ADA, item)
        assert (await reviews.delegate(ADA, item.id, "bob", note="Yours.")).assignee == "bob"
        assert code((await reviews.decide(ADA, [submission(case)]))[0]) == "conflict"
        assert await reviews.claim(EVA) == []
        await passes(901)
        assert len(await reviews.claim(EVA)) == 1

    async def test_pushed_items_go_to_the_least_busy_and_on_when_the_offer_is_over(
        self, reviews: Reviews, passes: Passes
    ) -> None:
        for name in ("ada", "author", "bob"):
            await reviews.put_reviewer(ADA, Reviewer(name))
        await reviews.put_reviewer(ADA, Reviewer("away", away=True))
        one, two = [(await opened(reviews, draft("pushed", n)))[0] for n in range(2)]
        assert one.assignee == "ada"
        await claimed(reviews, ADA, one)
        assert (await reviews.get(ADA, two.id)).item.assignee in ("ada", "bob")
        [third] = await opened(reviews, draft("pushed", 3))
        assert third.assignee == "bob"
        await passes(101)
        assert (await reviews.get(ADA, third.id)).item.assignee == "ada"
        await passes(101)
        assert (await reviews.get(ADA, third.id)).item.assignee == ""
        assert third.id in [case.item.id for case in await reviews.claim(EVA, limit=9)]

    async def test_an_escalated_item_is_for_seniors(self, reviews: Reviews) -> None:
        [item] = await opened(reviews, draft("seniors"))
        assert (await decided(reviews, ADA, item, "escalate")).status == "open"
        with pytest.raises(NotAllowed):
            await claimed(reviews, BOB, item)
        with pytest.raises(NotAllowed):
            await claimed(reviews, caller("ada", "t1", "senior"), item)
        assert (await decided(reviews, caller("sue", "t1", "senior"), item)).status == "decided"

    # Time

    async def test_time_warns_escalates_and_in_the_end_rejects(self, reviews: Reviews, passes: Passes) -> None:
        [item] = await opened(reviews, draft(key="late"))
        await passes(LATE.warn + 1)
        now = (await reviews.get(ADA, item.id)).item
        assert (now.warned, now.level, now.status) == (True, 0, "open")
        await passes(LATE.escalate - LATE.warn)
        now = (await reviews.get(ADA, item.id)).item
        assert (now.level, now.priority, now.status) == (1, "high", "open")
        await passes(LATE.expire - LATE.escalate)
        answer = await reviews.ask(AUTHOR, draft(key="late"))
        assert answer.state == "expired" and answer.outcome is not None
        assert (answer.outcome.verdict, answer.outcome.expired, answer.value) == ("reject", True, None)
        assert list(answer.outcome.by) == []
        with pytest.raises(Conflict):
            await claimed(reviews, ADA, item)
        kinds = [mark.kind for mark in (await reviews.get(ADA, item.id)).history]
        assert kinds == ["opened", "warned", "escalated", "expired"]

    async def test_a_queue_may_escalate_instead_of_rejecting(self, reviews: Reviews, passes: Passes) -> None:
        [item] = await opened(reviews, draft("seniors"))
        await passes(LATE.expire + 1)
        now = (await reviews.get(ADA, item.id)).item
        assert (now.status, now.level) == ("open", 2)

    async def test_whoever_waits_is_told_of_the_outcome(self, reviews: Reviews) -> None:
        asking = asyncio.create_task(reviews.ask(AUTHOR, draft(key="wait"), seconds=60))
        found: Sequence[Item] = ()
        async with asyncio.timeout(60):
            while not found:
                found = await reviews.items(ADA)
        await decided(reviews, ADA, found[0])
        answer = await asking
        assert answer.state == "decided" and answer.approved and answer.value == draft().proposal
        sure = draft("routed", key="sure", signals=Signals(confidence=1.0))
        assert (await reviews.ask(AUTHOR, sure)).state == "not_needed"

    # Quality and data

    async def test_golden_items_measure_accuracy_and_bias(self, reviews: Reviews) -> None:
        await opened(reviews, draft(number=7))
        right = await reviews.seed(EVA, draft(), Expected("approve"))
        assert right.author == "author"
        with pytest.raises(NotAllowed):
            await claimed(reviews, EVA, right)
        wrong = await reviews.seed(EVA, draft(number=1), Expected("reject", wrong=True))
        for who in (ADA, BOB):
            case = await reviews.get(who, right.id)
            assert not {"golden", "wrong", "expected"} & set(case.shown) and list(case.item.matched) == []
        assert (await decided(reviews, ADA, right)).verdict == "approve"
        await decided(reviews, ADA, wrong)
        figures = await reviews.statistics(ADA, "plain")
        assert (figures.items, figures.accuracy, figures.bias) == (1, 0.5, 1.0)
        assert (figures.reviewers[0].golden, figures.reviewers[0].seeded) == (2, 1)
        with pytest.raises(NotFound):
            await reviews.dataset(ADA, "plain")

    async def test_decisions_become_a_data_set_whose_version_grows_with_them(self, reviews: Reviews) -> None:
        items = await opened(reviews, *(draft(number=n) for n in range(3)))
        await decided(reviews, ADA, items[0], "edit", value={"grant": False})
        await decided(reviews, ADA, items[1], "reject", reason="wrong")
        first = await reviews.dataset(ADA, "plain")
        assert (first.version, first.rows) == (1, 2)
        assert await reviews.dataset(BOB, "plain") == first
        await decided(reviews, ADA, items[2])
        second = await reviews.dataset(ADA, "plain")
        assert (second.version, second.rows) == (2, 3) and second.sha256 != first.sha256
        for version in (first, second):
            content = b"".join([piece async for piece in reviews.export(ADA, "plain", version.version)])
            assert hashlib.sha256(content).hexdigest() == version.sha256
            rows = [json.loads(line) for line in content.splitlines()]
            assert len(rows) == version.rows
        assert rows[0]["label"] == {"grant": False} and rows[0]["provenance"]["by"] == ["ada"]
        assert (rows[1]["label"], rows[1]["reason"], rows[2]["verdict"]) == (None, "wrong", "approve")
        assert [each.version for each in await reviews.datasets(ADA, "plain")] == [2, 1]

    async def test_similar_decided_cases_are_shown(self, reviews: Reviews) -> None:
        near, far = await opened(reviews, draft(number=10), draft(number=5_000, input={"other": "thing"}))
        await decided(reviews, ADA, near, "reject", reason="wrong")
        await decided(reviews, ADA, far)
        [item] = await opened(reviews, draft(number=12))
        [case] = (await reviews.get(ADA, item.id)).shown["similar"]
        assert (case["item"], case["verdict"]) == (near.id, "reject")

    async def test_queues_tell_how_they_stand(self, reviews: Reviews, clock: FakeClock) -> None:
        items = await opened(reviews, *(draft(number=n) for n in range(3)))
        await claimed(reviews, ADA, items[0])
        await decided(reviews, ADA, items[1])
        views = {view.name: view for view in await reviews.queues(ADA)}
        assert set(views) == {spec.name for spec in SPECS}
        plain = views["plain"]
        assert (plain.open, plain.claimed, plain.decided) == (1, 1, 1) and plain.oldest_at == clock.now()

    # Many at once

    async def test_three_reviewers_and_many_items_at_once_decide_each_item_once(self, reviews: Reviews) -> None:
        total = 500
        for start in range(0, total, 100):
            await reviews.open(AUTHOR, [draft(number=n) for n in range(start, start + 100)])
        for name in ("ada", "bob", "eva"):
            await reviews.put_reviewer(ADA, Reviewer(name, capacity=50))
        counts = await asyncio.gather(*(_works(reviews, who) for who in (ADA, BOB, EVA)))
        assert sum(counts) == total and min(counts) > 0
        found: list[Item] = []
        while page := await reviews.items(ADA, status=("decided",), after=found[-1].id if found else "", limit=200):
            found += page
        assert len(found) == total and {item.votes for item in found} == {1}
        dataset = await reviews.dataset(ADA, "plain")
        assert dataset.rows == total


async def _works(reviews: Reviews, who: Context) -> int:
    """Decide until nothing is left, in small portions; how many decisions were taken."""
    taken = 0
    while cases := await reviews.claim(who, limit=7):
        settled = await reviews.decide(who, [submission(case) for case in cases])
        taken += sum(each.error is None for each in settled)
    return taken
