"""What a rollout does next: pure decisions, made from what is stored and what was observed.

waiting -> running -> promoting -> promoted -> rolled_back
            | ^  \\        |  ^
            v |   \\       v  |            every state before `promoted` may also become
           paused  \\    pending           aborted (by a person) or rolled_back
                    `-> finished (shadow)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ...core.errors import FieldProblem, InvalidInput
from ..contract import GuardStatus, Rollout, RolloutKind, RolloutPlan, RolloutState, RolloutStep

LIVE: frozenset[RolloutState] = frozenset({"waiting", "running", "paused", "promoting", "pending"})
_SPLIT: frozenset[RolloutState] = frozenset({"running", "promoting", "pending"})
_MOST_STEPS = 20
DEFAULT_STEPS: dict[RolloutKind, tuple[RolloutStep, ...]] = {
    "canary": (RolloutStep(1), RolloutStep(5), RolloutStep(25), RolloutStep(50)),
    "blue_green": (RolloutStep(0, 300, 500),),
    "shadow": (RolloutStep(0, 3600, 1000),),
    "ab": (RolloutStep(50, 0, 0),),
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the present step; `spent` are the calls that the new version failed in all steps."""

    guards: Sequence[GuardStatus]
    samples: int
    spent: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """The next state and step, and why."""

    state: RolloutState
    step: int
    reason: str


def completed(plan: RolloutPlan) -> RolloutPlan:
    """The plan with its kind's usual steps where it names none. Raises InvalidInput for one that makes no sense."""
    if not plan.steps:
        plan = replace(plan, steps=DEFAULT_STEPS[plan.kind])
    if plan.kind == "ab":
        plan = replace(plan, by="unit", automatic=False)
    faults = _faults(plan)
    if faults:
        raise InvalidInput(f"the plan makes no sense: {faults[0].message}", fields=faults)
    return plan


def _faults(plan: RolloutPlan) -> list[FieldProblem]:
    percents = [step.percent for step in plan.steps]
    splits = plan.kind in ("canary", "ab")
    checks = [
        ("$.plan.steps", len(plan.steps) <= _MOST_STEPS, f"Give at most {_MOST_STEPS} steps"),
        ("$.plan.steps", plan.kind == "canary" or len(plan.steps) == 1, f"A rollout of kind {plan.kind} has one step"),
        ("$.plan.steps", percents == sorted(percents), "Percents must not fall"),
        (
            "$.plan.steps",
            all(0 < p <= 100 for p in percents) if splits else not any(percents),
            "Percents must be above 0 and at most 100" if splits else f"A {plan.kind} gets no share: percent 0",
        ),
        ("$.plan.steps", all(0 <= s.seconds <= 2_592_000 for s in plan.steps), "Seconds must be 0 to 30 days"),
        ("$.plan.steps", all(0 <= s.samples <= 10**9 for s in plan.steps), "Samples must not be negative"),
        ("$.plan.share", 0 < plan.share <= 1, "The mirrored share must be above 0 and at most 1"),
        ("$.plan.alpha", 0 < plan.alpha < 0.5, "Alpha must be above 0 and below .5"),
        ("$.plan.failure_budget", plan.failure_budget >= 1, "The failure budget must be at least 1"),
        ("$.plan.guards", len(plan.guards) <= 10, "Give at most 10 guards"),
        ("$.plan.guards", all(0 <= g.tolerance < 1e6 for g in plan.guards), "Tolerances must not be negative"),
        (
            "$.plan.guards",
            all(g.limit > 0 for g in plan.guards if g.metric == "slow"),
            "The guard `slow` needs a limit in seconds",
        ),
        ("$.plan.keep", 0 <= plan.keep <= 604_800, "Keep must be 0 to 7 days"),
        ("$.plan.most", 0 < plan.most <= 7_776_000, "Most must be above 0 and at most 90 days"),
    ]
    return [FieldProblem(path, message) for path, holds, message in checks if not holds]


def share_now(kind: RolloutKind, state: RolloutState, step: int, plan: RolloutPlan) -> float:
    """The percentage of the answers that the new version gives."""
    if state == "promoted":
        return 100.0
    return plan.steps[step].percent if state in _SPLIT and kind in ("canary", "ab") else 0.0


def mirrors(rollout: Rollout) -> bool:
    """Whether the new version is asked in the background now."""
    return rollout.state == "running" and rollout.kind in ("shadow", "blue_green")


def decide(rollout: Rollout, evidence: Evidence, now: datetime) -> Move | None:
    """What happens next by itself; None where it is to wait."""
    plan, step = rollout.plan, rollout.step
    if rollout.state != "running":
        return None
    stopped = _stopped(rollout, evidence, now)
    if stopped is not None:
        return Move("rolled_back", step, stopped)
    this = plan.steps[step]
    waited = (now - evidence.since).total_seconds()
    if rollout.kind == "ab" or waited < this.seconds or evidence.samples < this.samples:
        return None
    passed = f"{evidence.samples} calls in {waited:.0f} s; {told(evidence.guards)}"
    if step + 1 < len(plan.steps):
        return Move("running", step + 1, f"step {step + 1} of {len(plan.steps)} passed: {passed}")
    unproven = {guard.metric for guard in plan.guards if guard.proof}
    if unproven & {status.metric for status in evidence.guards if status.verdict != "harmless"}:
        return None
    if rollout.kind == "shadow":
        return Move("finished", step, f"the shadow has run its time: {passed}")
    return Move("promoting", step, f"passed: {passed}") if plan.automatic else None


def _stopped(rollout: Rollout, evidence: Evidence, now: datetime) -> str | None:
    budget = rollout.plan.failure_budget
    if evidence.spent >= budget:
        return f"{rollout.candidate} failed {evidence.spent} calls; its budget is {budget}"
    harmful = [status for status in evidence.guards if status.verdict == "harmful"]
    if harmful:
        return f"{rollout.candidate} is worse than {rollout.control}: {told(harmful)}"
    if (now - rollout.started_at).total_seconds() >= rollout.plan.most:
        return f"undecided after {rollout.plan.most:g} s: {told(evidence.guards)}"
    return None


def told(guards: Sequence[GuardStatus]) -> str:
    """The guards' figures in a line, such as `errors 12.0 % against 0.1 %, worse by 4.2 % at least (tolerance 1 %)`."""
    return "; ".join(_told(guard) for guard in guards) or "no guard is declared"


def _told(guard: GuardStatus) -> str:
    match guard.metric:
        case "latency":
            shown = f"{guard.candidate * 1000:.2f} ms against {guard.control * 1000:.2f} ms"
        case "drift":
            shown = f"distance {guard.candidate:.3f}"
        case "outcome":
            shown = f"{guard.candidate:.4g} against {guard.control:.4g}"
        case _:
            shown = f"{guard.candidate:.2%} against {guard.control:.2%}"
    unit = ".3g" if guard.metric == "outcome" else ".1%"
    if guard.verdict == "harmful":
        bound = f"worse by at least {format(guard.low, unit)}"
    elif guard.high > 1e3:
        bound = "too few calls for a bound"
    else:
        bound = f"worse by at most {format(guard.high, unit)}"
    return f"{guard.metric} {shown}, {bound} (tolerance {format(guard.tolerance, unit)})"
