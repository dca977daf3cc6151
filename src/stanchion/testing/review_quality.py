"""The contract of reviews as tests: figures, data sets, similar cases, and many reviewers at once."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import NotAllowed, NotFound
from stanchion.review import (
    Expected,
    Item,
    Reviewer,
    Reviews,
)
from stanchion.testing.clock import FakeClock
from stanchion.testing.review_base import ReviewTests
from stanchion.testing.review_cases import (
    ADA,
    AUTHOR,
    BOB,
    EVA,
    SPECS,
    Passes,
    claimed,
    decided,
    draft,
    opened,
    submission,
)


class QualityTests(ReviewTests):
    """How good the work is, and what is left of it."""

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

    async def test_retention_removes_what_ended_and_nothing_else(self, reviews: Reviews, passes: Passes) -> None:
        [old, held] = await opened(reviews, draft("kept", key="old"), draft("kept", 1, priority="low"))
        [plain] = await opened(reviews, draft())
        await decided(reviews, ADA, old)
        await decided(reviews, ADA, plain)
        first = await reviews.dataset(ADA, "kept")
        await passes(29 * 86_400)
        [young] = await opened(reviews, draft("kept", 2))
        await decided(reviews, ADA, young)
        second = await reviews.dataset(ADA, "kept")
        assert (await reviews.get(ADA, old.id)).item.status == "decided"
        await passes(2 * 86_400)
        with pytest.raises(NotFound):
            await reviews.get(ADA, old.id)
        for version in (first, second):
            with pytest.raises(NotFound, match="retention has removed 1 of"):
                [piece async for piece in reviews.export(ADA, "kept", version.version)]
        left = await reviews.dataset(ADA, "kept")
        assert (left.version, left.rows) == (3, 1) and await reviews.dataset(ADA, "kept") == left
        content = b"".join([piece async for piece in reviews.export(ADA, "kept", left.version)])
        assert hashlib.sha256(content).hexdigest() == left.sha256
        assert (await reviews.get(ADA, held.id)).item.status == "expired", "it ended a week after it was opened"
        assert (await reviews.get(ADA, plain.id)).item.status == "decided"
        await passes(31 * 86_400)
        with pytest.raises(NotFound):
            await reviews.get(ADA, held.id)
        [again] = await opened(reviews, draft("kept", key="old"))
        assert again.id != old.id

    async def test_retention_takes_copies_among_similar_cases_and_leaves_decisions(
        self, reviews: Reviews, passes: Passes
    ) -> None:
        [old] = await opened(reviews, draft("kept"))
        await decided(reviews, ADA, old, "reject", reason="wrong")
        await passes(29 * 86_400)
        [young] = await opened(reviews, draft("kept", 1))
        await decided(reviews, ADA, young)
        [held] = await opened(reviews, draft("kept", 2))
        case = await claimed(reviews, BOB, held)
        assert {each["item"] for each in case.shown["similar"] if "input" in each} == {old.id, young.id}
        await passes(8 * 86_400)  # the item that holds the copies expires at the same moment
        with pytest.raises(NotFound):
            await reviews.get(ADA, old.id)
        [evidence] = await reviews.evidence(ADA, young.id)
        assert evidence["shown"]["similar"] == [{"item": old.id, "erased": True}]
        assert evidence["left"] and evidence["left"] != evidence["digest"]
        after = await reviews.get(BOB, held.id)
        assert after.item.status == "expired"
        left = {each["item"]: each.get("input") for each in after.shown["similar"]}
        assert left[old.id] is None and left[young.id] is not None

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
