"""People as the rung below a model, and as those who look at marked answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion import System
from stanchion.core.context import Context, Rights
from stanchion.core.errors import Misconfigured, Unavailable
from stanchion.review import Item, Reviews, Submission
from stanchion.serving import Review, Serving
from stanchion.testing import offline


class Text(BaseModel):
    text: str


class Label(BaseModel):
    label: str
    sure: float


def system(*, default: bool = False, human: bool = True) -> tuple[System, Any]:
    """A model that fails for "broken" and is unsure of "odd"."""
    app = System("labels")
    app.review("labels")
    more: dict[str, Any] = {"default": Label(label="none", sure=0.0)} if default else {}
    if human:
        more["human"] = "labels"

    @app.model(
        "labels",
        review=Review(lambda given, outcome: outcome.sure < 0.5, "The model is unsure.", queue="labels"),
        **more,
    )
    async def label(items: Sequence[Text]) -> list[Label]:
        if any(item.text == "broken" for item in items):
            raise OSError("no model")
        return [Label(label="a", sure=0.2 if item.text == "odd" else 0.9) for item in items]

    return app, label


async def waiting(reviews: Reviews, ctx: Context, number: int) -> Sequence[Item]:
    """The items of the queue once there are so many."""
    async with asyncio.timeout(60):
        while len(found := await reviews.items(ctx)) < number:
            await asyncio.sleep(0.01)  # they are opened in the background
    return found


async def test_where_no_rung_answers_people_are_asked() -> None:
    app, label = system()
    async with offline(app) as running:
        caller = running.caller("predictor")
        answer = await running.door(Serving).predict(caller, "labels", [{"text": "broken"}, {"text": "broken"}])
        assert answer.served_by == "human" and [dict(each.values) for each in answer.items] == [{}, {}]
        assert [each.review for each in answer.items] == ["waiting", "waiting"]
        reviews = running.door(Reviews)
        [item] = await reviews.items(running.ctx)
        assert {each.review_item for each in answer.items} == {item.id}
        case = await reviews.get(running.ctx, item.id)
        assert case.shown["input"] == {"text": "broken"} and case.shown["proposal"] is None
        with pytest.raises(Unavailable, match=r"people were asked in review-"):
            await label.predict(caller, Text(text="broken"))
        assert await reviews.claim(replace(running.ctx, principal=caller.principal)) == []


async def test_people_are_asked_before_the_default_answers_and_what_they_say_is_kept() -> None:
    app, _ = system(default=True)
    async with offline(app) as running:
        answer = await running.door(Serving).predict(running.ctx, "labels", [{"text": "broken"}])
        assert (answer.served_by, list(answer.tried)) == ("human", ["primary"])
        reviews = running.door(Reviews)
        ben = replace(running.ctx, principal="user:ben")
        [case] = await reviews.claim(ben)
        value = {"label": "b", "sure": 1.0}
        decision = Submission(case.item.id, case.item.version, case.digest, case.token or 0, "edit", value=value)
        [settled] = await reviews.decide(ben, [decision])
        assert settled.verdict == "edit"


async def test_a_marked_answer_is_given_and_looked_at() -> None:
    app, _ = system()
    async with offline(app) as running:
        answer = await running.door(Serving).predict(running.ctx, "labels", [{"text": "odd"}, {"text": "plain"}])
        assert [each.review for each in answer.items] == ["required", ""]
        assert answer.items[0].values["label"] == "a"
        reviews = running.door(Reviews)
        [item] = await waiting(reviews, running.ctx, 1)
        case = await reviews.get(running.ctx, item.id)
        assert case.shown["proposal"] == {"label": "a", "sure": 0.2}
        assert (case.shown["question"], item.model) == ("The model is unsure.", "labels")


def test_a_queue_that_is_not_declared_is_refused() -> None:
    app = System("labels")
    with pytest.raises(Misconfigured, match="not declared"):

        @app.model("labels", human="labels")
        async def label(items: Sequence[Text]) -> list[Label]:
            return []


async def test_without_the_right_to_it_nobody_sees_what_was_asked() -> None:
    app, _ = system()
    async with offline(app) as running:
        await running.door(Serving).predict(running.ctx, "labels", [{"text": "broken"}])
        reviews = running.door(Reviews)
        [item] = await reviews.items(running.caller("viewer"))
        for role in ("viewer", "developer", "operator", "auditor"):
            caller = running.caller(role)
            for call in (reviews.get(caller, item.id), reviews.claim(caller), reviews.evidence(caller, item.id)):
                with pytest.raises(Exception, match="lacks review:"):
                    await call
        scoped = replace(running.ctx, principal="user:ben", rights=Rights(scopes=frozenset({"review:claim"})))
        assert len(await reviews.claim(scoped)) == 1
