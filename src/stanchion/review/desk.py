"""What all work on items shares: their queues, the clock, and how a change is stored, told and passed on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from ..core.clock import Clock, micros, moment
from ..core.context import Context, Effect, system_context
from ..core.errors import Conflict, NotFound
from . import machine
from .contract import Item, Reviewer, ReviewSpec
from .machine import Step
from .ports import PRIORITIES, News, Notice, Records, Row, Store
from .seals import Seals
from .seating import Person, pick

T = TypeVar("T")
_SWEPT = 200
_KINDS = {
    "review.opened": "opened",
    "review.warned": "warned",
    "review.escalated": "escalated",
    "review.expired": "expired",
    "review.decided": "decided",
}


class Bell:
    """Wakes those of this process who wait for a change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def present(self) -> asyncio.Event:
        """What the next ring sets. Take it before looking: a change after the look is not missed then."""
        return self._event

    def ring(self) -> None:
        """Something was committed."""
        self._event.set()
        self._event = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that every piece of work on items needs. `link` is how a notice names an item's page."""

    store: Store
    seals: Seals
    clock: Clock
    specs: Mapping[str, ReviewSpec]
    bell: Bell
    link: str = ""

    def now(self) -> datetime:
        """The present moment, as precise as it is stored."""
        return moment(micros(self.clock.now()))

    def spec(self, queue: str) -> ReviewSpec:
        """A declared queue. Raises NotFound."""
        if queue not in self.specs:
            raise NotFound(
                f"no review queue {queue!r} is declared",
                next_step="Declare it with `app.review(...)`, or name another.",
            )
        return self.specs[queue]

    def rules(self, row: Row) -> ReviewSpec:
        """The rules of an item whose time goes on though its queue is declared no more."""
        return self.specs.get(row.queue) or ReviewSpec(name=row.queue)

    async def write(self, ctx: Context, work: Callable[[Records, datetime], T]) -> T:
        """Run `work` after all that time had to do has been done, in one transaction."""
        at = self.now()

        def whole(records: Records) -> T:
            self.sweep(records, at)
            return work(records, at)

        result = await self.store.write(ctx, whole)
        self.bell.ring()
        return result

    def sweep(self, records: Records, at: datetime) -> int:
        """Let time do what is due to at most 200 items of the tenant; how many."""
        due = records.due(at, _SWEPT)
        for row in due:
            self.keep(records, machine.tick(row, self.rules(row), at), at)
        return len(due)

    def keep(self, records: Records, step: Step, at: datetime) -> Row:
        """Store a change, push the item to a person where its queue says so, and tell of all in the transaction."""
        row = self._pushed(records, step.row, at)
        if row.status == "decided" and row.finished is None and not row.golden:
            row = replace(row, finished=records.number("finished"))
        records.save(row, machine.next_at(row))
        if not row.golden:
            records.tell(step.news)
            records.notify([each for news in step.news for each in self._notices(news)])
        return row

    def _pushed(self, records: Records, row: Row, at: datetime) -> Row:
        spec = self.rules(row)
        if spec.assign != "push" or row.status != "open" or row.assignee:
            return row
        reviewers = records.reviewers()
        held = records.held([each.principal for each in reviewers], at)
        chosen = pick(row, spec, reviewers, held)
        return machine.offer(row, spec, chosen, at).row if chosen else row

    def _notices(self, news: News) -> list[Notice]:
        spec, row = self.rules(news.row), news.row
        kind = _KINDS.get(news.kind)
        if kind not in spec.notify_on:
            return []
        subject = f"Review {row.queue}: {row.facts.title or row.id} was {kind}"
        where = self.link.replace("{item}", row.id) if self.link else f"stanchion reviews show {row.id}"
        until = f"{row.expires_at:%Y-%m-%d %H:%M} UTC"
        text = f"{subject}.\nPriority {PRIORITIES[row.priority]}, level {row.level}, expires {until}.\n{where}\n"
        return [Notice(secrets.token_hex(12), to, subject, text, news.at) for to in spec.notify]


def acting(tenant: str, action: str, resource: str = "*") -> Context:
    """The Context of time itself, whose changes the audit log tells of as it does of people's."""
    # Without roles: whoever acts on the events of time gets no rights from it.
    ctx = system_context(tenant, task="review-clock", roles=frozenset())
    effect = Effect(
        action=action,
        kind="write",
        resource=f"Review/{resource}",
        tenant=tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
    )
    return ctx.within(effect)


def must(records: Records, item: str) -> Row:
    """The item. Raises NotFound."""
    row = records.find(item)
    if row is None:
        raise NotFound(f"there is no item {item[:80]} under review")
    return row


def undecided(row: Row) -> Row:
    """The item, if it can still change hands. Raises Conflict."""
    if row.status not in machine.UNDECIDED:
        raise Conflict(f"{row.id} is {row.status}")
    return row


def person_of(records: Records, ctx: Context, at: datetime) -> Person:
    """The caller as one who takes items; without an entry there are no skills and the usual capacity."""
    entry = next((each for each in records.reviewers() if each.principal == ctx.principal), Reviewer(ctx.principal))
    return Person(entry, rights_of(ctx), records.held([ctx.principal], at).get(ctx.principal, 0))


def rights_of(ctx: Context) -> frozenset[str]:
    """The caller's roles and scopes by name."""
    return ctx.rights.roles | ctx.rights.scopes


def item_of(row: Row) -> Item:
    """The item as it is given out."""
    state, facts = row.state, row.facts
    ending = state.ending
    return Item(
        id=row.id,
        queue=row.queue,
        key=row.key,
        title=facts.title,
        status=row.status,
        priority=PRIORITIES[row.priority],
        level=row.level,
        version=row.version,
        author=row.author,
        assignee=row.assignee,
        holders=[lease.holder for lease in state.leases],
        needed=facts.needed,
        votes=len(machine.counted(row)),
        adjudicating=state.adjudicating,
        blind=facts.blind,
        skills=facts.skills,
        matched=facts.matched,
        model=facts.model,
        model_version=facts.model_version,
        request_id=facts.request_id,
        opened_at=row.opened_at,
        warn_at=row.warn_at,
        due_at=row.due_at,
        expires_at=row.expires_at,
        warned=state.warned,
        deferred_until=state.deferred_until,
        undo_until=state.undo_until,
        decided_at=None if ending is None else ending.at,
        verdict=None if ending is None else ending.verdict,
    )
