"""The contract of reviews as tests: decisions on exactly what was shown, by as many persons as are needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest

from stanchion.core.errors import Conflict, NotAllowed
from stanchion.review import (
    MASKED,
    Reviews,
    Submission,
)
from stanchion.testing.review_base import ReviewTests
from stanchion.testing.review_cases import (
    ADA,
    AUTHOR,
    BOB,
    EVA,
    Passes,
    caller,
    claimed,
    code,
    decided,
    draft,
    opened,
    submission,
)


class DecisionTests(ReviewTests):
    """What is decided, by whom, and what is refused."""

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
