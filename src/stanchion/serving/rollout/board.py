"""The split of traffic as this process holds it: decided in memory, counted in memory, brought up to date by others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...core.context import Context
from ...core.flags.split import POINTS, bucket
from ...core.values import Json
from ..contract import Predictions
from ..traffic import UNSPLIT, Assignment, Traffic
from .counting import Tally
from .evidence import NAMES, Names
from .machine import mirrors
from .records import Record
from .store import Counted, Disagreed

log = logging.getLogger(__name__)
# What the caller did wrong, or what kept it from being answered by anybody, says nothing about a version.
_CALLERS = frozenset(
    {
        "invalid_input",
        "malformed_request",
        "payload_too_large",
        "not_found",
        "not_allowed",
        "not_authenticated",
        "budget_exceeded",
        "throttled",
        "cancelled",
    }
)
# An answer that no rung computed: it is as good as it was when it was computed, and takes no time.
_STORED = frozenset({"cache", "cached", "none"})
Offer = Callable[[Context, "Split", Sequence[Mapping[str, Json]], Predictions], bool]


@dataclass(slots=True)
class Split:
    """One rollout as calls meet it. `points` of 100,000 go to the candidate, `mirrored` are shown to it.

    `elsewhere` are the failures that other processes counted; `loaded` whether the candidate can answer here.
    """

    record: Record
    names: Names
    points: int
    mirrored: int
    control: Assignment
    candidate: Assignment
    shadowed: Assignment
    loaded: bool = False
    elsewhere: int = 0
    full: bool = False
    tallies: dict[tuple[int, str], Tally] = field(default_factory=dict)

    def tally(self, arm: str) -> Tally:
        """The totals of an arm in the present step."""
        key = (self.record.rollout.step, arm)
        found = self.tallies.get(key)
        if found is None:
            found = self.tallies[key] = Tally()
        return found

    def failures(self) -> int:
        """Calls that the candidate failed, everywhere, as far as this process knows."""
        return self.elsewhere + sum(t.failures for (_, arm), t in self.tallies.items() if arm == self.names.candidate)

    def spent(self) -> bool:
        """Whether the failure budget is used up: then the candidate gets no more calls, whoever decides that later."""
        return self.failures() >= self.record.rollout.plan.failure_budget


class Board(Traffic):
    """The splits of this process by tenant and model. `offer` takes a call for the shadow, or has no room for it."""

    def __init__(self) -> None:
        self._splits: dict[tuple[str, str], Split] = {}
        self._offer: Offer | None = None
        self._disagreed: list[Disagreed] = []

    def mirror(self, offer: Offer) -> None:
        """Give mirrored calls to `offer`, which must not wait."""
        self._offer = offer

    def show(self, records: Sequence[Record]) -> None:
        """Let exactly these rollouts hold. Totals of one that goes on are kept."""
        wanted = {(record.tenant, record.rollout.model): record for record in records if record.live}
        for key in [key for key in self._splits if key not in wanted]:
            del self._splits[key]
        for key, record in wanted.items():
            known = self._splits.get(key)
            same = known is not None and known.record.rollout.id == record.rollout.id
            if known is not None and same and known.record.rollout.revision == record.rollout.revision:
                continue
            made = _split(record)
            if known is not None and same:
                made.tallies, made.loaded, made.elsewhere = known.tallies, known.loaded, known.elsewhere
            self._splits[key] = made

    def find(self, tenant: str, model: str) -> Split | None:
        """The split of a model, if it has one."""
        return self._splits.get((tenant, model))

    def splits(self) -> Sequence[Split]:
        """Every split."""
        return tuple(self._splits.values())

    def counted(self) -> list[Counted]:
        """What was counted since the last time; the totals themselves, so they may be taken again after a failure."""
        found = []
        for split in self._splits.values():
            for (step, arm), tally in split.tallies.items():
                if tally.changed:
                    tally.changed = False
                    found.append(Counted(split.record.tenant, split.record.rollout.id, step, arm, tally))
        return found

    def disagreed(self) -> list[Disagreed]:
        """The differences noted since the last time."""
        found, self._disagreed = self._disagreed, []
        return found

    def note(self, difference: Disagreed) -> None:
        """Remember a difference until the next flush; of many the largest."""
        self._disagreed.append(difference)
        if len(self._disagreed) > 50:
            self._disagreed = sorted(self._disagreed, key=lambda each: each.difference.size, reverse=True)[:20]

    def assign(self, ctx: Context, model: str, unit: str) -> Assignment:
        split = self._splits.get((ctx.tenant, model))
        if split is None:
            return UNSPLIT
        if split.points:
            rollout = split.record.rollout
            sticky = unit or (ctx.principal if rollout.plan.by == "unit" else "")
            chosen = split.loaded and bucket(rollout.id, sticky or ctx.request_id) < split.points and not split.spent()
            assignment = split.candidate if chosen else split.control
            # Where the new version is not loaded yet, nothing is split. Once one arm is full none is counted on.
            if split.loaded and not split.full:
                split.full = not split.tally(assignment.arm).unit(sticky or None)
            return assignment
        if split.mirrored and split.loaded and bucket(f"{split.record.rollout.id}/m", ctx.request_id) < split.mirrored:
            return split.shadowed
        return split.control

    def seen(
        self,
        ctx: Context,
        model: str,
        assignment: Assignment,
        instances: Sequence[Mapping[str, Json]],
        predictions: Predictions | None,
        error: str | None,
        seconds: float,
    ) -> None:
        try:
            split = self._splits.get((ctx.tenant, model))
            if split is not None and split.record.rollout.state == "running":
                self._seen(ctx, split, assignment, instances, predictions, error, seconds)
        except Exception:
            # What is counted of an answer must never cost the answer.
            log.exception("a call of %s could not be counted", model)

    def _seen(
        self,
        ctx: Context,
        split: Split,
        assignment: Assignment,
        instances: Sequence[Mapping[str, Json]],
        predictions: Predictions | None,
        error: str | None,
        seconds: float,
    ) -> None:
        rollout = split.record.rollout
        version = rollout.candidate if assignment.arm == split.names.candidate else rollout.control
        if assignment.arm not in (split.names.control, split.names.candidate):
            return
        if predictions is None:
            if error not in _CALLERS:
                split.tally(assignment.arm).failed()
            return
        # In the moment of a switch a bare name may mean the other version already.
        if predictions.version != version:
            return
        count(split.tally(assignment.arm), predictions, seconds)
        if assignment.shadows and self._offer is not None and not self._offer(ctx, split, instances, predictions):
            dropped = split.tally(split.names.candidate)
            dropped.dropped += 1
            dropped.changed = True


def count(tally: Tally, predictions: Predictions, seconds: float) -> None:
    """Count an answer: a failure if the first rung did not give it."""
    if predictions.served_by in _STORED:
        return
    if predictions.served_by != "primary":
        tally.failed()
        return
    # One answer of a call stands for it: several answers of one call are not independent.
    tally.answered(seconds, next((each.values for each in predictions.items if each.error is None), {}))


def _split(record: Record) -> Split:
    rollout, names = record.rollout, NAMES[record.rollout.kind]
    return Split(
        record=record,
        names=names,
        points=round(rollout.percent * POINTS / 100),
        mirrored=round(rollout.plan.share * POINTS) if mirrors(rollout) else 0,
        control=Assignment(None, names.control),
        candidate=Assignment(rollout.candidate, names.candidate),
        shadowed=Assignment(None, names.control, (rollout.candidate,)),
    )
