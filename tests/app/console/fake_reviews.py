"""Review queues for the console's tests: items in every state, leases, and decisions bound to what was shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.core.values import Json
from stanchion.review import (
    MASKED,
    Agreement,
    Case,
    Item,
    Mark,
    Outcome,
    QueueView,
    Reviewer,
    ReviewerFigures,
    Reviews,
    Settled,
    Statistics,
    Status,
    Submission,
)
from tests.app.console.fake_features import NOW

REASONS = {"reject": ("fraud", "no-receipt"), "edit": ("amount",)}


def sample_item(number: int, status: Status = "open", **changes: Any) -> Item:
    """The refund of that number."""
    decided = status in ("settling", "decided", "expired")
    given = {
        "id": f"rv_{number:04d}",
        "queue": "refunds",
        "key": f"order-{number}",
        "title": f"Refund of order {number}",
        "status": status,
        "priority": ("urgent", "high", "normal", "low")[number % 4],
        "level": 0,
        "version": 3,
        "author": "key:web-shop",
        "assignee": "",
        "holders": ("key:ada",) if status == "claimed" else (),
        "needed": 1,
        "votes": int(decided),
        "adjudicating": False,
        "blind": False,
        "skills": (),
        "matched": ("low confidence",),
        "model": "refund-screen",
        "model_version": "1.4.0",
        "request_id": "a1b2c3d4e5f60718293a4b5c",
        "opened_at": NOW - timedelta(minutes=11 * number),
        "warn_at": NOW + timedelta(minutes=30 - 20 * number),
        "due_at": NOW + timedelta(minutes=90 - 40 * number),
        "expires_at": NOW + timedelta(days=1),
        "warned": number > 1,
        "deferred_until": NOW + timedelta(hours=1) if status == "deferred" else None,
        "undo_until": NOW + timedelta(seconds=20) if status == "settling" else None,
        "decided_at": NOW if decided else None,
        "verdict": "approve" if decided else None,
    }
    return Item(**{**given, **changes})


def document(number: int) -> dict[str, Json]:
    """What a reviewer of that item is shown."""
    return {
        "item": f"rv_{number:04d}",
        "queue": "refunds",
        "question": "Is this refund right?",
        "input": {"order": number, "customer": MASKED, "reason": "arrived <b>broken</b>", "express": True},
        "proposal": {"refund": True, "amount": 41.5 + number},
        "explanation": {
            "text": "The picture shows a broken cup.",
            "contributions": [
                {"feature": "past_refunds", "value": 4, "weight": -0.31},
                {"feature": "order_value", "value": 41.5, "weight": 0.62},
            ],
            "passages": [{"text": "Broken goods are refunded in full.", "source": "terms.pdf", "place": "page 3"}],
        },
        "sources": [{"title": "Photo", "reference": "s3://photos/1"}],
        "model": "refund-screen",
        "model_version": "1.4.0",
        "cost": "0.0021",
        "signals": {"confidence": 0.61, "policies": ["refunds-above-40"], "slice": ""},
        "similar": [{"input": {"order": 7}, "verdict": "approve"}],
        "prior": [
            {"by": "key:bo", "verdict": "edit", "reason": "amount", "value": {"amount": 30}, "note": "Too much."}
        ],
        "notes": [{"by": "key:web-shop", "kind": "answer", "text": "The receipt follows."}],
    }


@dataclass
class FakeReviews(Reviews):
    """Six refunds, of which the first three are open. `asked` tells what was done; `undo` allows taking back."""

    empty: bool = False
    reasons: dict[str, Sequence[str]] = field(default_factory=dict)
    undoable: bool = True
    asked: list[tuple[object, ...]] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    of: dict[str, Item] = field(default_factory=dict)
    texts: dict[str, dict[str, Json]] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)

    def __post_init__(self) -> None:
        states: tuple[Status, ...] = ("open", "open", "open", "claimed", "waiting", "decided")
        for number, status in enumerate(() if self.empty else states):
            item = sample_item(number, status)
            self.of[item.id], self.texts[item.id] = item, document(number)

    async def queues(self, ctx: Context) -> Sequence[QueueView]:
        if self.empty:
            return ()
        states = [item.status for item in self.of.values()]
        numbers = [states.count(name) for name in ("open", "claimed", "waiting", "deferred", "settling", "decided")]
        return [QueueView("refunds", *numbers, 0, 2, 1, NOW, ())]

    async def items(
        self,
        ctx: Context,
        *,
        queue: str = "",
        status: Sequence[Status] = (),
        mine: bool = False,
        after: str = "",
        limit: int = 50,
    ) -> Sequence[Item]:
        found = [
            item
            for item in self.of.values()
            if (not status or item.status in status)
            and item.id > after
            and (not mine or ctx.principal in (*item.holders, item.assignee))
        ]
        return found[:limit]

    def _case(self, ctx: Context, name: str) -> Case:
        if name not in self.of:
            raise NotFound(f"there is no item {name} under review")
        item, shown = self.of[name], self.texts[name]
        digest = hashlib.sha256(json.dumps(shown).encode()).hexdigest()
        token = self.held.get(name)
        outcome = Outcome("approve", shown["proposal"], ("key:ada",), (digest,), "", "", (), NOW)
        return Case(
            item=item,
            shown=shown,
            digest=digest,
            masked=("/input/customer",),
            history=(
                Mark(NOW - timedelta(minutes=9), "opened", "key:web-shop"),
                self.marks.get(name, Mark(NOW, "warned", "")),
            ),
            reasons=self.reasons,  # type: ignore[arg-type]  # by verdict
            token=token,
            leased_until=None if token is None else NOW + timedelta(seconds=300),
            outcome=outcome if item.status in ("decided", "settling") else None,
        )

    async def get(self, ctx: Context, item: str) -> Case:
        return self._case(ctx, item)

    async def claim(self, ctx: Context, *, queue: str = "", ids: Sequence[str] = (), limit: int = 1) -> Sequence[Case]:
        names = list(ids) or [item.id for item in self.of.values() if item.status == "open"][:limit]
        for name in names:
            self.asked.append(("claim", name))
            if name not in self.held:
                if self._case(ctx, name).item.status != "open":
                    raise Conflict(f"{name} is held by somebody else")
                self.held[name] = 70 + len(self.held)
                self.of[name] = replace(self.of[name], status="claimed", holders=(ctx.principal,))
        return [self._case(ctx, name) for name in names]

    def _mine(self, name: str, token: int) -> None:
        if self.held.get(name) != token:
            raise Conflict(f"the lease on {name} has ended")

    async def heartbeat(self, ctx: Context, item: str, token: int) -> datetime:
        self.asked.append(("heartbeat", item, token))
        self._mine(item, token)
        return NOW + timedelta(seconds=300)

    async def release(self, ctx: Context, item: str, token: int) -> Item:
        self.asked.append(("release", item, token))
        self._mine(item, token)
        self.held.pop(item)
        self.of[item] = replace(self.of[item], status="open", holders=())
        return self.of[item]

    async def decide(self, ctx: Context, submissions: Sequence[Submission]) -> Sequence[Settled]:
        settled = []
        for given in submissions:
            self.asked.append(("decide", given))
            case = self._case(ctx, given.item)
            if (given.version, given.digest, given.token) != (case.item.version, case.digest, case.token):
                error = Conflict(f"{given.item} is not what was shown").problem()
                settled.append(Settled(given.item, error=error))
                continue
            if given.verdict == "edit" and given.value == case.shown["proposal"]:
                settled.append(Settled(given.item, error=InvalidInput("the edit changes nothing").problem()))
                continue
            status: Status = "settling" if self.undoable else "decided"
            until = NOW + timedelta(seconds=20) if self.undoable else None
            self.of[given.item] = replace(case.item, status=status, verdict=given.verdict, undo_until=until, votes=1)
            self.held.pop(given.item)
            settled.append(Settled(given.item, status, case.item.version, given.verdict))
        return settled

    async def reviewers(self, ctx: Context) -> Sequence[Reviewer]:
        return () if self.empty else [Reviewer("key:ada", ("refunds",), away=True)]

    async def statistics(self, ctx: Context, queue: str, *, since: datetime | None = None) -> Statistics:
        self.asked.append(("statistics", queue, since))
        people = [
            ReviewerFigures("key:<b>bo</b>", 4, 4, 0, 0, 0, 2.5, 0, None, 0, None, 1),
            ReviewerFigures("key:ada", 12, 7, 2, 3, 0, 41.2, 4, 0.75, 2, 0.5, 0),
        ]
        agreement = Agreement(6, 0.8333, 0.571, ("key:ada", "key:bo"), 0.55, 0.5678)
        reasons = {"no-receipt": 2, "fraud": 1}
        return Statistics(
            queue, since, 20, 16, 1, 2, {"approve": 11, "reject": 3}, reasons, 95.0, 410.0, 0.75, 0.5, agreement, people
        )

    async def undo(self, ctx: Context, item: str) -> Item:
        self.asked.append(("undo", item))
        self._case(ctx, item)
        self.of[item] = replace(self.of[item], status="open", verdict=None, undo_until=None, votes=0)
        return self.of[item]

    async def defer(self, ctx: Context, item: str, token: int, until: datetime, *, note: str = "") -> Item:
        self.asked.append(("defer", item, token, until, note))
        return self.of[item]

    async def need_info(self, ctx: Context, item: str, token: int, question: str) -> Item:
        self.asked.append(("need_info", item, token, question))
        return self.of[item]

    async def inform(self, ctx: Context, item: str, text: str) -> Item:
        self.asked.append(("inform", item, text))
        return self.of[item]

    async def delegate(self, ctx: Context, item: str, to: str, *, note: str = "") -> Item:
        self.asked.append(("delegate", item, to, note))
        return self.of[item]
