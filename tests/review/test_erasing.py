"""Erasure of one item: nothing of it is left, in its own rows or in what others were shown; their decisions stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from stanchion import System
from stanchion.core.context import Rights
from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from stanchion.core.security.contract import Audit
from stanchion.review import Draft, Item, Reviews, ReviewSpec
from stanchion.review.backends.tables import copies, holders, items, notices, texts
from stanchion.testing import offline
from stanchion.testing.review_cases import ADA, AUTHOR, BOB, STRANGER, claimed, decided, draft, submission

TABLES = (items, texts, holders, notices, copies)
SPEC = ReviewSpec("plain", notify=("desk@example.com",), notify_on=("opened",))


async def opened(reviews: Reviews, number: int) -> Item:
    [found] = await reviews.open(AUTHOR, [draft(number=number, title=f"loan of number {number}", key=f"k{number}")])
    assert found.item is not None
    return found.item


def cases(document: Any) -> Sequence[Any]:
    found: Sequence[Any] = document["similar"]
    return found


async def test_copies_among_similar_cases_go_with_the_item_and_decisions_stay(opens: Any) -> None:
    async with opens(SPEC) as reviews:
        first, second = await opened(reviews, 1), None
        await decided(reviews, ADA, first)
        second = await opened(reviews, 2)
        await decided(reviews, ADA, second)
        third = await opened(reviews, 3)
        held = await claimed(reviews, BOB, third)
        assert {case["item"] for case in cases(held.shown)} == {first.id, second.id}

        assert await reviews.erase(ADA, first.id, reason="request 7") == 2

        with pytest.raises(NotFound):
            await reviews.get(ADA, first.id)
        [evidence] = await reviews.evidence(ADA, second.id)
        assert cases(evidence["shown"]) == [{"item": first.id, "erased": True}]
        assert evidence["left"] and evidence["left"] != evidence["digest"]
        # Who asked about the second still gets the answer, though less is left of what its reviewer saw.
        answer = await reviews.ask(AUTHOR, draft(number=2, title="loan of number 2", key="k2"))
        assert answer.approved

        # The third was shown with the copy: it must be looked at anew, and is decided then.
        [refused] = await reviews.decide(BOB, [submission(held)])
        assert refused.error is not None and refused.error["code"] == "conflict"
        anew = await reviews.get(BOB, third.id)
        assert {case["item"]: case.get("input") for case in cases(anew.shown)}[first.id] is None
        [taken] = await reviews.decide(BOB, [submission(replace(anew, token=held.token))])
        assert taken.error is None


async def test_nothing_readable_or_sealed_of_it_is_left(opens: Any, tmp_path: Path) -> None:
    async with opens(SPEC, url=f"sqlite://{tmp_path}/state.db") as reviews:
        item = await opened(reviews, 1)
        await decided(reviews, ADA, item)
        await reviews.erase(ADA, item.id)
        store = reviews._erasing._desk.store
        left = await store._database.read(
            lambda c: [c.execute(select(func.count()).select_from(each)).scalar_one() for each in TABLES]
        )
    assert left == [0, 0, 0, 0, 0]


async def test_a_data_set_that_held_it_is_told_to_lack_it_and_a_new_one_is_made(opens: Any) -> None:
    async with opens(SPEC) as reviews:
        three = [await opened(reviews, number) for number in range(3)]
        for item in three:
            await decided(reviews, ADA, item)
        first = await reviews.dataset(ADA, "plain")
        await reviews.erase(ADA, three[1].id)
        with pytest.raises(NotFound, match="removed 1 of the 3"):
            [piece async for piece in reviews.export(ADA, "plain", first.version)]
        second = await reviews.dataset(ADA, "plain")
        lines = b"".join([piece async for piece in reviews.export(ADA, "plain", second.version)])
        assert second.rows == 2 and three[1].id.encode() not in lines


async def test_an_undecided_item_an_unknown_one_and_one_of_another_tenant_are_refused(opens: Any) -> None:
    async with opens(SPEC) as reviews:
        item = await opened(reviews, 1)
        with pytest.raises(Conflict):
            await reviews.erase(ADA, item.id)
        await decided(reviews, ADA, item)
        for who, which in ((ADA, "review-0"), (STRANGER, item.id)):
            with pytest.raises(NotFound):
                await reviews.erase(who, which)
        with pytest.raises(InvalidInput):
            await reviews.erase(ADA, item.id, reason="two\nlines")
        assert (await reviews.get(ADA, item.id)).item.id == item.id


async def test_items_that_change_or_come_while_it_looks_are_looked_at_again(opens: Any, monkeypatch: Any) -> None:
    async with opens(SPEC) as reviews:
        first = await opened(reviews, 1)
        await decided(reviews, ADA, first)
        second = await opened(reviews, 2)
        removing = reviews._erasing._removing
        looks, cleaned = list[str](), removing._cleaned

        async def late(tenant: str, row: Any, items: Any) -> Any:
            found = await cleaned(tenant, row, items)
            looks.append(row.id)
            if len(looks) == 1:
                # After the look and before the removal: one is decided with the copy, and one more is opened with it.
                await decided(reviews, BOB, second)
                looks.append((await opened(reviews, 3)).id)
            return found

        monkeypatch.setattr(removing, "_cleaned", late)
        assert await reviews.erase(ADA, first.id) == 2
        third = looks[1]
        assert looks == [second.id, third, second.id, third]
        [evidence] = await reviews.evidence(ADA, second.id)
        assert cases(evidence["shown"])[0] == {"item": first.id, "erased": True}
        assert first.id not in {
            each["item"] for each in cases((await reviews.get(BOB, third)).shown) if "input" in each
        }


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_copies_are_found_in_items_that_are_older_than_the_notes_of_them(
    opens: Any, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite://{tmp_path}/state.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    async with opens(SPEC, url=url) as reviews:
        three = [await opened(reviews, number) for number in range(2)]
        await decided(reviews, ADA, three[0])
        three.append(await opened(reviews, 2))
        database = reviews._erasing._desk.store._database

        def back(connection: Any) -> None:
            connection.execute(text("DROP TABLE review_copies"))
            connection.execute(text("UPDATE stanchion_schema SET version = 1 WHERE module = 'review'"))

        await database.write(ADA, back)
    async with opens(SPEC, url=url) as reviews:
        assert await reviews.erase(ADA, three[0].id) == 1
        held = await reviews.get(BOB, three[2].id)
        assert cases(held.shown) == [{"item": three[0].id, "erased": True}]


async def test_an_item_is_not_opened_with_a_case_that_was_erased_meanwhile(opens: Any, monkeypatch: Any) -> None:
    async with opens(SPEC) as reviews:
        first = await opened(reviews, 1)
        await decided(reviews, ADA, first)
        sealed = reviews._opening._sealed

        async def slow(*given: Any) -> Any:
            prepared = await sealed(*given)
            await reviews.erase(ADA, first.id)
            return prepared

        monkeypatch.setattr(reviews._opening, "_sealed", slow)
        with pytest.raises(Conflict, match="removed meanwhile"):
            await opened(reviews, 2)


async def test_erasure_needs_its_own_right_and_stands_in_the_audit_log() -> None:
    app = System("erased")
    app.review("plain")
    async with offline(app) as running:
        reviews = running.door(Reviews)
        [found] = await reviews.open(running.ctx, [Draft("plain", {"name": "Ada"}, {"grant": True}, key="k")])
        assert found.item is not None
        ben = replace(running.ctx, principal="user:ben", rights=Rights(frozenset({"admin"}), frozenset({"*"})))
        await decided(reviews, ben, found.item)
        with pytest.raises(NotAllowed):
            await reviews.erase(running.caller(scopes=("review:read", "review:decide")), found.item.id)
        await reviews.erase(ben, found.item.id, reason="request 7")
        erased = [each for each in await running.door(Audit).events(running.ctx) if each.action == "review:erase"]
    told = {each.outcome: each for each in erased}
    assert set(told) == {"denied", "done"}
    assert told["done"].principal == "user:ben"
    assert told["done"].facts["erased"] == found.item.id and told["done"].facts["reason"] == "request 7"
