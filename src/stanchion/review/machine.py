"""The life of an item as functions of its row and a moment: nothing here waits, reads a store or looks at a clock.

open <-> claimed -> settling -> decided          a decision, undone while it settles
open, claimed -> waiting -> open                 a question to the author
open, claimed -> deferred -> open                put off
open, claimed, waiting, deferred -> expired      nobody decided in time; never an approval
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..core.errors import Conflict, InvalidInput
from ..core.values import Json
from .contract import Mark, ReviewEvent, ReviewSpec, Status
from .ports import PRIORITIES, Ending, Lease, News, Row, State, Vote

UNDECIDED: tuple[Status, ...] = ("open", "claimed", "waiting", "deferred")
OVER: tuple[Status, ...] = ("decided", "expired")
_MARKS = 200


@dataclass(frozen=True, slots=True)
class Step:
    """An item after a change, and what is to be told of it."""

    row: Row
    news: tuple[News, ...] = ()

    def then(self, change: Callable[[Row], Step]) -> Step:
        """This change and another after it."""
        after = change(self.row)
        return Step(after.row, (*self.news, *after.news))


def counted(row: Row) -> list[Vote]:
    """The decisions that count towards the needed number: an escalation decides nothing."""
    return [vote for vote in row.state.votes if vote.verdict != "escalate"]


def required(row: Row, spec: ReviewSpec) -> int:
    """How many persons decide, as things stand; an approval may need a second one."""
    second = spec.four_eyes and any(vote.verdict in ("approve", "edit") for vote in counted(row))
    return max(row.facts.needed, 2 if second else 1)


def seats(row: Row, spec: ReviewSpec) -> int:
    """How many persons more may take the item at this moment."""
    if row.status not in ("open", "claimed"):
        return 0
    wanted = 1 if row.state.adjudicating else required(row, spec) - len(counted(row))
    return max(0, wanted - len(row.state.leases))


def lease_of(row: Row, who: str, token: int, at: datetime) -> Lease:
    """The caller's lease. Raises Conflict if it has ended or never was: a later holder's token is greater."""
    found = next((lease for lease in row.state.leases if lease.holder == who and lease.token == token), None)
    if found is None or found.until <= at:
        raise Conflict(
            f"the lease {token} of {row.id} has ended", next_step="Claim the item again, and look at it anew."
        )
    return found


def next_at(row: Row) -> datetime | None:
    """When time next has something to do to the item."""
    state = row.state
    if row.status == "settling":
        return state.undo_until
    if row.status not in UNDECIDED:
        return None
    moments = [row.expires_at, *(lease.until for lease in state.leases)]
    moments += [each for each in (state.deferred_until, state.offered_until) if each is not None]
    moments += [] if state.warned else [row.warn_at]
    moments += [] if state.escalated else [row.due_at]
    return min(moments)


def take(row: Row, spec: ReviewSpec, who: str, at: datetime) -> Step:
    """The item with a lease of `who`, who has been found eligible. Raises Conflict if no seat is free."""
    if seats(row, spec) < 1:
        raise Conflict(f"{row.id} is in other hands, or needs nobody: it is {row.status}")
    token = row.state.fence + 1
    lease = Lease(who, token, at, at + timedelta(seconds=spec.lease))
    assigned = row.assignee if row.assignee != who else ""
    state = replace(row.state, leases=(*row.state.leases, lease), fence=token)
    if not assigned:
        state = replace(state, offered_until=None)
    return _seated(_told("review.claimed", replace(row, state=state, assignee=assigned), at, who), spec)


def beat(row: Row, spec: ReviewSpec, who: str, token: int, at: datetime) -> Step:
    """The lease from now on for its whole length again."""
    mine = lease_of(row, who, token, at)
    until = at + timedelta(seconds=spec.lease)
    leases = tuple(replace(each, until=until) if each == mine else each for each in row.state.leases)
    return Step(replace(row, state=replace(row.state, leases=leases)))


def give_back(row: Row, spec: ReviewSpec, who: str, token: int, at: datetime) -> Step:
    """The item without that lease."""
    mine = lease_of(row, who, token, at)
    return _seated(_told("review.released", _without(row, mine), at, who), spec)


def vote(row: Row, spec: ReviewSpec, given: Vote, token: int) -> Step:
    """The item after one more person's decision, whose version and digest have been checked."""
    mine = lease_of(row, given.by, token, given.at)
    given = replace(given, seconds=(given.at - mine.since).total_seconds(), adjudicates=row.state.adjudicating)
    row = _without(row, mine)
    row = replace(row, state=replace(row.state, votes=(*row.state.votes, given)))
    if given.verdict == "escalate":
        return _seated(_raised(row, given.at, given.by), spec)
    step = _told("review.voted", row, given.at, given.by)
    votes = counted(row)
    if given.adjudicates:
        agreed = [each for each in votes if (each.verdict, each.result) == (given.verdict, given.result)]
        return step.then(lambda now: _end(now, spec, given, agreed))
    if len(votes) < required(row, spec):
        # Under blindness nothing that the others look at has changed, so what they hold stays good.
        return _seated(Step(row if row.facts.blind else _newer(row), step.news), spec)
    if len({(each.verdict, each.result) for each in votes}) == 1:
        return step.then(lambda now: _end(now, spec, given, votes))
    parted = _newer(replace(row, state=replace(row.state, adjudicating=True)))
    return _seated(Step(parted, (replace(step.news[0], more={"adjudicating": True}),)), spec)


def undo(row: Row, spec: ReviewSpec, who: str, at: datetime) -> Step:
    """The item as it was before the caller's last decision. Raises Conflict when it is too late, or another's."""
    until = row.state.undo_until
    if row.status != "settling" or until is None or until <= at:
        raise Conflict(f"nothing of {row.id} can be taken back: it is {row.status}")
    last = row.state.votes[-1]
    if last.by != who:
        raise Conflict(f"the decision on {row.id} is {last.by}'s, who alone may take it back")
    state = replace(row.state, votes=row.state.votes[:-1], ending=None, undo_until=None)
    return _seated(_told("review.undone", _newer(replace(row, status="open", state=state)), at, who), spec)


def defer(row: Row, spec: ReviewSpec, who: str, token: int, until: datetime, at: datetime) -> Step:
    """The item put off until a moment before it expires. Raises InvalidInput, Conflict."""
    mine = lease_of(row, who, token, at)
    if not at < until < row.expires_at:
        raise InvalidInput(f"{row.id} can be put off until {row.expires_at.isoformat()}, and not to the past")
    row = _without(row, mine)
    state = replace(row.state, deferred_until=until, leases=())
    return _told("review.deferred", replace(row, status="deferred", state=state), at, who)


def question(row: Row, spec: ReviewSpec, who: str, token: int, text: str, at: datetime) -> Step:
    """The item waiting for its author; `text` is the id of the sealed question."""
    lease_of(row, who, token, at)
    state = replace(row.state, leases=(), notes=(*row.state.notes, text))
    return _told("review.info_needed", _newer(replace(row, status="waiting", state=state)), at, who)


def inform(row: Row, spec: ReviewSpec, who: str, text: str, at: datetime) -> Step:
    """The item open again with one more note. Raises Conflict if nobody asked."""
    if row.status != "waiting":
        raise Conflict(f"nobody waits for information on {row.id}: it is {row.status}")
    state = replace(row.state, notes=(*row.state.notes, text))
    return _seated(_told("review.informed", _newer(replace(row, status="open", state=state)), at, who), spec)


def offer(row: Row, spec: ReviewSpec, to: str, at: datetime, *, by: str = "") -> Step:
    """The item for one person alone while the offer lasts. Leases end if a person gave it (`by`)."""
    until = at + timedelta(seconds=spec.offer)
    state = replace(row.state, offered=(*row.state.offered, to), offered_until=until)
    if by:
        state = replace(state, leases=(), deferred_until=None)
        row = replace(row, status="open" if row.status in ("claimed", "deferred") else row.status)
    row = replace(row, assignee=to, state=state)
    return _told("review.delegated", row, at, by, assignee=to) if by else Step(row)


def tick(row: Row, spec: ReviewSpec, at: datetime) -> Step:
    """The item after all that time has done to it until this moment."""
    state = row.state
    if row.status == "settling" and state.undo_until is not None and state.undo_until <= at:
        return _final(row, at)
    if row.status not in UNDECIDED:
        return Step(row)
    step = Step(row)
    ended = [lease for lease in state.leases if lease.until <= at]
    for lease in ended:
        after = _told("review.released", _without(step.row, lease), at, lease.holder, because="lapsed")
        step = Step(after.row, (*step.news, *after.news))
    if state.offered_until is not None and state.offered_until <= at:
        step = Step(replace(step.row, assignee="", state=replace(step.row.state, offered_until=None)), step.news)
    if row.status == "deferred" and state.deferred_until is not None and state.deferred_until <= at:
        freed = replace(step.row.state, deferred_until=None)
        step = Step(replace(step.row, status="open", state=freed), step.news)
    return _seated(_deadlines(step, spec, at), spec)


def _deadlines(step: Step, spec: ReviewSpec, at: datetime) -> Step:
    """Warning, escalation and expiry."""
    row = step.row
    if row.expires_at <= at and spec.at_expiry == "reject":
        return step.then(lambda now: _expired(now, at))
    if row.warn_at <= at and not row.state.warned:
        warned = replace(row, state=replace(row.state, warned=True))
        step = step.then(lambda _: _told("review.warned", warned, at))
    if row.due_at <= at and not step.row.state.escalated:
        step = step.then(lambda now: _late(now, at))
    if row.expires_at <= at:
        length = timedelta(seconds=spec.sla[PRIORITIES[row.priority]].expire)
        step = step.then(lambda now: _late(replace(now, expires_at=at + length), at))
    return step


def _late(row: Row, at: datetime) -> Step:
    """One level up and one priority more urgent. Who holds a lease may still decide."""
    state = replace(row.state, escalated=True)
    row = replace(row, level=row.level + 1, priority=max(0, row.priority - 1), state=state)
    return _told("review.escalated", row, at, because="late")


def _raised(row: Row, at: datetime, by: str) -> Step:
    """One level up because a reviewer says so: all leases end, and it is looked at anew."""
    state = replace(row.state, leases=(), offered=(), offered_until=None)
    row = _newer(replace(row, status="open", level=row.level + 1, assignee="", state=state))
    return _told("review.escalated", row, at, by, because="asked")


def _end(row: Row, spec: ReviewSpec, last: Vote, votes: list[Vote]) -> Step:
    ending = Ending(
        verdict=last.verdict,
        reason=last.reason,
        text=last.text,
        by=tuple(each.by for each in votes),
        digests=tuple(each.digest for each in votes),
        at=last.at,
    )
    until = last.at + timedelta(seconds=spec.undo)
    state = replace(row.state, ending=ending, leases=(), undo_until=until, offered_until=None, deferred_until=None)
    row = _newer(replace(row, status="settling", assignee="", state=state))
    return Step(row) if spec.undo > 0 else _final(row, last.at)


def _final(row: Row, at: datetime) -> Step:
    ending = row.state.ending
    if ending is None:
        raise Conflict(f"{row.id} settles without a decision")
    more: Mapping[str, Json] = {
        "verdict": ending.verdict,
        "reason": ending.reason,
        "reviewers": list(ending.by),
        "digests": list(ending.digests),
        "expired": False,
    }
    row = replace(row, status="decided", state=replace(row.state, undo_until=None))
    return _told("review.decided", row, at, ending.by[-1], **more)


def _expired(row: Row, at: datetime) -> Step:
    ending = Ending("reject", "expired", "", (), (), at, expired=True)
    state = replace(row.state, ending=ending, leases=(), offered_until=None, deferred_until=None)
    row = _newer(replace(row, status="expired", assignee="", state=state))
    return _told("review.expired", row, at, verdict="reject", reason="expired", reviewers=[], digests=[], expired=True)


def _without(row: Row, lease: Lease) -> Row:
    return replace(row, state=replace(row.state, leases=tuple(each for each in row.state.leases if each != lease)))


def _newer(row: Row) -> Row:
    return replace(row, version=row.version + 1)


def _seated(step: Step, spec: ReviewSpec) -> Step:
    """The status that follows from the seats: an item whose seats are all taken is claimed."""
    if step.row.status not in ("open", "claimed"):
        return step
    status: Status = "open" if seats(step.row, spec) else "claimed"
    return Step(replace(step.row, status=status), step.news)


def _told(kind: ReviewEvent, row: Row, at: datetime, by: str = "", /, **more: Json) -> Step:
    mark = Mark(at, kind.removeprefix("review."), by, str(more.get("because", more.get("assignee", ""))))
    row = replace(row, state=replace(row.state, marks=(*row.state.marks, mark)[-_MARKS:]))
    return Step(row, (News(kind, row, at, by, more),))


def begun(row: Row, spec: ReviewSpec, at: datetime) -> Step:
    """A new item, told of."""
    return _seated(_told("review.opened", replace(row, state=State()), at, row.author), spec)
