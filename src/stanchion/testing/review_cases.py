"""Queues, callers and proposals for tests of reviews, and the short ways to open, claim and decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from stanchion.core.context import Context, Rights
from stanchion.review import (
    SLAS,
    Case,
    Contribution,
    Draft,
    DriftSlice,
    Explanation,
    Item,
    LowConfidence,
    Reviews,
    ReviewSpec,
    Settled,
    Submission,
    Verdict,
)

SPECS = (
    ReviewSpec("plain", reasons={"reject": ("wrong", "unclear")}),
    ReviewSpec("routed", rules=(LowConfidence(0.8), DriftSlice(frozenset({"rare"})))),
    ReviewSpec("twice", reviewers=2, blind=True),
    ReviewSpec("foureyes", four_eyes=True),
    ReviewSpec("undone", undo=60.0),
    ReviewSpec("masked", mask={"/input/name": frozenset({"officer"}), "/proposal/limit": frozenset({"officer"})}),
    ReviewSpec("pushed", assign="push", offer=100.0),
    ReviewSpec("seniors", seniors=frozenset({"senior"}), at_expiry="escalate"),
    ReviewSpec("kept", keep_days=30.0),
)
Passes = Callable[[float], Awaitable[None]]
LATE = SLAS["normal"]


def caller(principal: str = "ada", tenant: str = "t1", *roles: str) -> Context:
    """A caller with every right, and roles besides."""
    return Context(tenant=tenant, principal=principal, rights=Rights(frozenset({"admin", *roles}), frozenset({"*"})))


AUTHOR, ADA, BOB, EVA = caller("author"), caller("ada"), caller("bob"), caller("eva")
STRANGER = caller("eve", "t2")


def draft(queue: str = "plain", number: int = 0, **more: Any) -> Draft:
    """A proposal; another `number` is another input."""
    given: dict[str, Any] = {
        "queue": queue,
        "input": {"name": "Ada Lovelace", "income": 1_000 + number, "region": "north"},
        "proposal": {"grant": True, "limit": 500, "tags": ["new", "young"]},
        "explanation": Explanation(contributions=(Contribution("income", 1_000 + number, 0.25),)),
        "model": "scorer",
        "model_version": "1.2.0",
        "cost": "0.0021",
    }
    return Draft(**{**given, **more})


def submission(case: Case, verdict: Verdict = "approve", **more: Any) -> Submission:
    """A decision on a case under its lease."""
    assert case.token is not None
    return Submission(case.item.id, case.item.version, case.digest, case.token, verdict, **more)


async def opened(reviews: Reviews, *drafts: Draft, author: Context = AUTHOR) -> list[Item]:
    """The items of drafts that all need people."""
    found = await reviews.open(author, drafts)
    return [each.item for each in found if each.item is not None]


async def claimed(reviews: Reviews, who: Context, item: Item) -> Case:
    """That item under a lease."""
    [case] = await reviews.claim(who, ids=[item.id])
    return case


async def decided(reviews: Reviews, who: Context, item: Item, verdict: Verdict = "approve", **more: Any) -> Settled:
    """What became of a decision on an item that is claimed first."""
    [settled] = await reviews.decide(who, [submission(await claimed(reviews, who, item), verdict, **more)])
    return settled


def code(settled: Settled) -> str:
    """The code of a refusal; empty if there is none."""
    return "" if settled.error is None else str(settled.error["code"])
