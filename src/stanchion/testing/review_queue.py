"""The contract of reviews as tests: opening and routing, leases, other hands, time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from stanchion.review import (
    Item,
    Reviewer,
    Reviews,
    Signals,
)
from stanchion.testing.clock import FakeClock
from stanchion.testing.review_base import ReviewTests
from stanchion.testing.review_cases import (
    ADA,
    AUTHOR,
    BOB,
    EVA,
    LATE,
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


class QueueTests(ReviewTests):
    """What goes into a queue, who holds it, and what time does to it."""

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
