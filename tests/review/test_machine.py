"""The life of an item under any order of acts: nobody decides twice, an end is an end, silence is no approval."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stanchion.core.errors import StanchionError
from stanchion.review import REVIEW_EVENTS, SLAS, Reviewer, ReviewSpec, Sla, Verdict
from stanchion.review import machine as life
from stanchion.review.ports import Facts, Row, Vote
from stanchion.review.seating import Person, bar, pick

START = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = ("ada", "bob", "eva", "author")
SHORT = {name: Sla(100, 200, 400) for name in SLAS}


def fresh(spec: ReviewSpec, *, needed: int = 1, blind: bool = False) -> Row:
    """A new item of the queue."""
    sla = spec.sla["normal"]
    return Row(
        id="review-1",
        number=1,
        queue=spec.name,
        key="",
        status="open",
        priority=2,
        level=0,
        version=1,
        author="author",
        assignee="",
        golden=False,
        opened_at=START,
        warn_at=START + timedelta(seconds=sla.warn),
        due_at=START + timedelta(seconds=sla.escalate),
        expires_at=START + timedelta(seconds=sla.expire),
        facts=Facts("", needed, blind, (), (), (), "", "", "", "content", "print"),
    )


def vote_of(who: str, verdict: Verdict, result: str, at: datetime) -> Vote:
    return Vote(who, verdict, "", f"{who}-text", "shown", "digest", result, at, 0.0)


class Life(RuleBasedStateMachine):
    """Any acts of any people in any order, and time that passes."""

    @initialize(
        needed=st.integers(1, 3),
        blind=st.booleans(),
        four_eyes=st.booleans(),
        undo=st.sampled_from([0.0, 30.0]),
        at_expiry=st.sampled_from(["reject", "escalate"]),
    )
    def begin(self, needed: int, blind: bool, four_eyes: bool, undo: float, at_expiry: str) -> None:
        self.spec = ReviewSpec("q", four_eyes=four_eyes, undo=undo, at_expiry=at_expiry, lease=50, sla=SHORT)
        self.at = START
        self.told: list[str] = []
        self.voted: list[str] = []
        self.row = fresh(self.spec, needed=needed, blind=blind)
        self.take_in(life.begun(self.row, self.spec, self.at))

    def take_in(self, step: life.Step) -> None:
        before, self.row = self.row, step.row
        self.told += [news.kind for news in step.news]
        assert self.row.version >= before.version and self.row.state.fence >= before.state.fence
        if before.status in life.OVER:
            assert (self.row.status, self.row.state.ending) == (before.status, before.state.ending)

    def tries(self, change: object) -> bool:
        """Make a change that may be refused; a refusal changes nothing."""
        before = self.row
        try:
            assert callable(change)
            self.take_in(change())
        except StanchionError:
            assert self.row is before
            return False
        return True

    def token(self, who: str) -> int:
        return next((lease.token for lease in self.row.state.leases if lease.holder == who), 0)

    @rule(who=st.sampled_from(PEOPLE))
    def claim(self, who: str) -> None:
        person = Person(Reviewer(who), frozenset(), 0)
        holds = any(lease.holder == who for lease in self.row.state.leases)
        if not holds and not bar(self.row, self.spec, person, self.at):
            self.tries(lambda: life.take(self.row, self.spec, who, self.at))

    @rule(
        who=st.sampled_from(PEOPLE),
        verdict=st.sampled_from(["approve", "edit", "reject", "escalate"]),
        result=st.sampled_from("xy"),
        stale=st.booleans(),
    )
    def decide(self, who: str, verdict: Verdict, result: str, stale: bool) -> None:
        token = self.token(who) - (1 if stale else 0)
        given = vote_of(who, verdict, result if verdict == "edit" else verdict, self.at)
        live = any(
            each.token == token and each.holder == who and each.until > self.at for each in self.row.state.leases
        )
        taken = self.tries(lambda: life.vote(self.row, self.spec, given, token))
        assert taken == live

    @rule(who=st.sampled_from(PEOPLE))
    def undo(self, who: str) -> None:
        self.tries(lambda: life.undo(self.row, self.spec, who, self.at))

    @rule(who=st.sampled_from(PEOPLE))
    def release(self, who: str) -> None:
        self.tries(lambda: life.give_back(self.row, self.spec, who, self.token(who), self.at))

    @rule(who=st.sampled_from(PEOPLE))
    def beat(self, who: str) -> None:
        self.tries(lambda: life.beat(self.row, self.spec, who, self.token(who), self.at))

    @rule(who=st.sampled_from(PEOPLE), seconds=st.integers(-5, 300))
    def defer(self, who: str, seconds: int) -> None:
        until = self.at + timedelta(seconds=seconds)
        self.tries(lambda: life.defer(self.row, self.spec, who, self.token(who), until, self.at))

    @rule(who=st.sampled_from(PEOPLE))
    def question(self, who: str) -> None:
        self.tries(lambda: life.question(self.row, self.spec, who, self.token(who), "note", self.at))

    @rule()
    def inform(self) -> None:
        self.tries(lambda: life.inform(self.row, self.spec, "author", "note", self.at))

    @precondition(lambda self: self.row.status in life.UNDECIDED)
    @rule(to=st.sampled_from(("ada", "bob", "eva")))
    def delegate(self, to: str) -> None:
        self.tries(lambda: life.offer(self.row, self.spec, to, self.at, by="boss"))

    @rule(seconds=st.sampled_from([1, 10, 49, 51, 120, 450]))
    def pass_time(self, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)
        self.take_in(life.tick(self.row, self.spec, self.at))
        due = life.next_at(self.row)
        assert due is None or due > self.at, "time has nothing left to do at this moment"

    @invariant()
    def no_seat_is_taken_twice(self) -> None:
        if not hasattr(self, "row"):
            return
        row = self.row
        holders = [lease.holder for lease in row.state.leases]
        assert len(set(holders)) == len(holders) and "author" not in holders
        deciders = [vote.by for vote in row.state.votes]
        assert len(set(deciders)) == len(deciders) and "author" not in deciders
        assert not set(holders) & set(deciders)
        if row.state.adjudicating:
            assert len(holders) <= 1
        elif row.status in life.UNDECIDED:
            assert len(holders) + len(life.counted(row)) <= life.required(row, self.spec)

    @invariant()
    def an_end_rests_on_people_and_silence_is_no_approval(self) -> None:
        if not hasattr(self, "row"):
            return
        row, ending = self.row, self.row.state.ending
        assert (ending is None) == (row.status in life.UNDECIDED)
        if ending is None:
            return
        assert not row.state.leases and ending.verdict != "escalate"
        if ending.expired:
            assert (row.status, ending.verdict, list(ending.by)) == ("expired", "reject", [])
            return
        agreed = [vote for vote in life.counted(row) if (vote.verdict, vote.by) and vote.by in ending.by]
        assert {vote.verdict for vote in agreed} == {ending.verdict} and len(agreed) == len(ending.by)
        last = row.state.votes[-1]
        assert last.adjudicates or len(agreed) >= life.required(row, self.spec)

    @invariant()
    def an_end_is_told_once(self) -> None:
        if not hasattr(self, "row"):
            return
        assert self.told.count("review.decided") == (self.row.status == "decided")
        assert self.told.count("review.expired") == (self.row.status == "expired")
        assert set(self.told) <= set(REVIEW_EVENTS)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=30)


@given(
    held=st.dictionaries(st.sampled_from(("ada", "bob", "eva")), st.integers(0, 12)),
    capacity=st.integers(1, 10),
    offered=st.sets(st.sampled_from(("ada", "bob"))),
)
def test_an_item_is_pushed_to_the_least_busy_who_was_not_asked(
    held: dict[str, int], capacity: int, offered: set[str]
) -> None:
    spec = ReviewSpec("q", assign="push")
    row = fresh(spec)
    row = replace(row, state=replace(row.state, offered=tuple(offered)))
    people = [Reviewer(name, capacity=capacity) for name in ("ada", "author", "bob", "eva")]
    chosen = pick(row, spec, people, held)
    free = [n for n in ("ada", "bob", "eva") if n not in offered and held.get(n, 0) < capacity]
    assert chosen == (min(free, key=lambda name: (held.get(name, 0), name)) if free else "")
