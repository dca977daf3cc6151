"""Who may take an item: skills, roles, load, and never its author or one who has decided it already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .contract import Reviewer, ReviewSpec
from .ports import Row


@dataclass(frozen=True, slots=True)
class Person:
    """A principal who wants to take items: the entry, the rights of the moment, and the leases held."""

    reviewer: Reviewer
    rights: frozenset[str]
    held: int


def bar(row: Row, spec: ReviewSpec, person: Person, at: datetime) -> str:
    """Why this person must not take the item; empty if nothing speaks against it."""
    who = person.reviewer.principal
    if who == row.author:
        return f"{who} is the author of {row.id}"
    if who in row.facts.excluded:
        return f"{who} is excluded from {row.id}"
    if any(vote.by == who for vote in row.state.votes):
        return f"{who} has decided {row.id} already"
    if spec.roles and not person.rights & (spec.roles | spec.seniors):
        return f"{row.queue} is decided by {', '.join(sorted(spec.roles))}"
    if (row.level or row.state.adjudicating) and spec.seniors and not person.rights & spec.seniors:
        return f"{row.id} is escalated to {', '.join(sorted(spec.seniors))}"
    if missing := sorted(set(row.facts.skills) - set(person.reviewer.skills)):
        return f"{who} lacks the skill {missing[0]}"
    until = row.state.offered_until
    if row.assignee not in ("", who) and until is not None and until > at:
        return f"{row.id} is offered to {row.assignee}"
    return ""


def pick(row: Row, spec: ReviewSpec, reviewers: Sequence[Reviewer], held: Mapping[str, int]) -> str:
    """The person to whom an item is pushed: skilled, present, not asked before, with the least part of their capacity
    used; empty if there is none. Roles are looked at when the item is taken: an entry knows none."""
    fit = [
        each
        for each in reviewers
        if not each.away
        and each.principal != row.author
        and each.principal not in row.facts.excluded
        and each.principal not in row.state.offered
        and all(vote.by != each.principal for vote in row.state.votes)
        and all(lease.holder != each.principal for lease in row.state.leases)
        and set(row.facts.skills) <= set(each.skills)
        and (not each.queues or row.queue in each.queues)
        and held.get(each.principal, 0) < each.capacity
    ]
    if not fit:
        return ""
    return min(fit, key=lambda each: (held.get(each.principal, 0) / each.capacity, each.principal)).principal
