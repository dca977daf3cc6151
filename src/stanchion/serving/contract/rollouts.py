"""Rollouts: a new version beside the present one, watched by guards, until it is promoted or taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action

RolloutKind = Literal["shadow", "blue_green", "canary", "ab"]
RolloutState = Literal[
    "waiting", "running", "paused", "promoting", "pending", "promoted", "rolled_back", "aborted", "finished"
]
GuardMetric = Literal["errors", "latency", "slow", "drift", "outcome"]
Verdict = Literal["harmless", "harmful", "open"]


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """A share of the traffic: `percent` of the calls, for at least `seconds` and `samples` calls of the new version."""

    percent: float
    seconds: float = 600.0
    samples: int = 200


@dataclass(frozen=True, slots=True)
class Guard:
    """What the new version may not do: be worse than the present one by more than `tolerance`.

    errors    share of calls that the first rung did not answer; tolerance .01 is one call in a hundred more
    latency   geometric mean of the seconds; tolerance .25 is a quarter slower
    slow      share of calls of `limit` seconds and more
    drift     Kolmogorov distance of what both predict, 0 to 1
    outcome   mean of the outcomes fed back, which shall be high; tolerance in their unit

    With `proof` the version is promoted only once it is shown to be within the tolerance; without, it is enough
    that it was never shown to be outside.
    """

    metric: GuardMetric
    tolerance: float
    limit: float = 0.0
    proof: bool = False


GUARDS = (Guard("errors", 0.01), Guard("latency", 0.5))


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """How a rollout goes. Times are in seconds.

    canary      `steps` of growing shares; promotes or rolls back by itself
    blue_green  the new version is asked in the background for `share` of the calls until the one step's minimum is
                reached and no guard objects; then all traffic switches at once
    shadow      the same, but it ends without a promotion
    ab          the one step's percent, sticky by unit, until somebody decides

    `alpha` is the chance that a harmless version is ever called harmful. After `failure_budget` calls that the new
    version failed, it gets no more, whatever the statistics say. `approval`, outside development: `after` waits for a
    second person at the end, `before` needs one at the start and promotes by itself then. `by` is what sticks to an
    arm. The former version stays loaded for `keep`; an undecided rollout is taken back after `most`.
    """

    kind: RolloutKind
    steps: tuple[RolloutStep, ...] = ()
    share: float = 1.0
    guards: tuple[Guard, ...] = GUARDS
    alpha: float = 0.05
    failure_budget: int = 20
    automatic: bool = True
    approval: Literal["after", "before"] = "after"
    by: Literal["request", "unit"] = "request"
    keep: float = 3600.0
    most: float = 604_800.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as it stands. `control` is the version it began beside, `candidate` the new one.

    `waiting` for a second person to approve the plan; `promoting`: passed, and the registry is being told; `pending`
    there for a second person; `finished`: a shadow has run its time. `step` counts from 0; `percent` is the
    candidate's share of the answers now. `reason` says why the last change came about.
    """

    id: str
    model: str
    kind: RolloutKind
    state: RolloutState
    control: str
    candidate: str
    plan: RolloutPlan
    step: int
    percent: float
    started_at: datetime
    started_by: str
    changed_at: datetime
    reason: str
    approved_by: str = ""
    ended_at: datetime | None = None
    revision: int = 1


@dataclass(frozen=True, slots=True)
class Arm:
    """What one version did in the present step. Seconds are those of its own answers; shadows have arms as well."""

    name: str
    version: str
    requests: int
    failures: int
    mean_seconds: float
    p50_seconds: float
    p95_seconds: float
    outcomes: int
    mean_outcome: float


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """How much worse the new version is: it lies between `low` and `high`, at every look, but for the guard's alpha."""

    metric: GuardMetric
    tolerance: float
    verdict: Verdict
    control: float
    candidate: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True, slots=True)
class ArmEffect:
    """A difference between the arms (candidate minus control), with its interval and always-valid p-value."""

    metric: GuardMetric
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """One change of a rollout."""

    at: datetime
    state: RolloutState
    step: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that both versions answered, differently; inputs are not kept here."""

    at: datetime
    request_id: str
    control: str
    candidate: str
    size: float


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """A rollout with its evidence. `sample_ratio` is the always-valid p-value of the arms' share of units being as
    declared: below .001 the split itself is broken and no effect means anything.

    `compared` counts calls that both versions answered, `disagreements` those where they differed, and `dropped`
    mirrored calls for which there was no room.
    """

    rollout: Rollout
    arms: Sequence[Arm]
    guards: Sequence[GuardStatus]
    effects: Sequence[ArmEffect]
    sample_ratio: float
    compared: int
    disagreements: int
    mean_difference: float
    dropped: int
    differences: Sequence[Difference]
    history: Sequence[RolloutEvent]


class Rollouts(Protocol):
    """Rollouts of the caller's tenant; a model has at most one that has not ended.

    Whoever may `serving:rollout` puts versions into production: give it as carefully as `registry:promote`. What a
    rollout promotes by itself it asks of the registry with the rights of who started it, and of who approved it.
    """

    @action("serving:rollout", effect="write", resource="Model", by="model")
    async def start_rollout(self, ctx: Context, model: str, version: str, plan: RolloutPlan) -> Rollout:
        """Begin, or wait for a second person's approval. Other processes follow within the poll interval.

        Raises NotFound, InvalidInput for a plan that makes no sense, Conflict if another one has not ended, if the
        version is present already, is of another interface, or may not go to production from its stage.
        """
        ...

    @action("serving:rollout", effect="write", resource="Model", by="model")
    async def approve_rollout(self, ctx: Context, model: str) -> Rollout:
        """Let a waiting rollout begin. Raises NotFound, Conflict, NotAllowed for the person who started it."""
        ...

    @action("serving:rollout", effect="write", resource="Model", by="model")
    async def pause_rollout(self, ctx: Context, model: str, *, reason: str = "") -> Rollout:
        """Send everything to the present version, and keep what was observed. Raises NotFound, Conflict."""
        ...

    @action("serving:rollout", effect="write", resource="Model", by="model")
    async def resume_rollout(self, ctx: Context, model: str, *, reason: str = "") -> Rollout:
        """Go on where it was paused. Raises NotFound, Conflict."""
        ...

    @action("serving:rollout", effect="write", resource="Model", by="model")
    async def abort_rollout(self, ctx: Context, model: str, *, reason: str) -> Rollout:
        """End it; the present version stays. Raises NotFound, Conflict."""
        ...

    @action("serving:rollout", effect="write", resource="Model", by="model")
    async def promote_rollout(self, ctx: Context, model: str, *, evidence: str = "") -> Rollout:
        """Put the new version into production now, whatever step it is at, with the observed figures as evidence.

        The registry's rules hold for the caller: outside development the first call leaves it pending, and a
        second person makes the same one. Raises NotFound, Conflict, NotAllowed.
        """
        ...

    @action("serving:rollout", effect="write", resource="Model", by="model")
    async def roll_back_rollout(self, ctx: Context, model: str, *, reason: str) -> Rollout:
        """Take the new version back, at once and alone: from its share of the traffic, or out of production.

        Raises NotFound, and Conflict if another version went into production since.
        """
        ...

    @action("serving:read", effect="read", resource="Model")
    async def rollouts(self, ctx: Context, *, model: str = "", limit: int = 50) -> Sequence[Rollout]:
        """Rollouts of one model or of all, the newest first, at most 100."""
        ...

    @action("serving:read", effect="read", resource="Model", by="model")
    async def rollout(self, ctx: Context, model: str, *, rollout: str = "") -> RolloutReport:
        """The model's newest rollout, or the one of that id, with its evidence as of now. Raises NotFound."""
        ...
