"""From totals to verdicts: how much worse the new version is, at most and at least, whenever somebody looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, inf, log
from typing import NamedTuple, assert_never

from ..contract import Arm, ArmEffect, Guard, GuardMetric, GuardStatus, Rollout, RolloutPlan, Verdict
from . import sequences
from .counting import SECONDS, VALUES, seconds_bin, seconds_edge
from .sequences import Interval, Moments

# Below so many of each arm a mean's interval is not trusted: it holds asymptotically.
_ENOUGH = 30
# A difference of means is tested for about this size: a quarter in time, a fifth of a deviation in outcomes.
_TIME_SCALE, _OUTCOME_SCALE = log(1.25), 0.2


@dataclass(frozen=True, slots=True)
class Totals:
    """One arm in one step, over all processes; `units` are the units that each process sent here."""

    requests: int = 0
    failures: int = 0
    times: Moments = field(default_factory=Moments)
    seconds: Sequence[int] = (0,) * SECONDS
    values: Sequence[int] = (0,) * VALUES
    outcomes: Moments = field(default_factory=Moments)
    units: Mapping[str, int] = field(default_factory=dict)
    compared: int = 0
    disagreements: int = 0
    difference: float = 0.0
    dropped: int = 0


NOTHING = Totals()


@dataclass(frozen=True, slots=True)
class Names:
    """What the two arms of a rollout are called."""

    control: str
    candidate: str


NAMES: Mapping[str, Names] = {
    "shadow": Names("control", "shadow"),
    "blue_green": Names("blue", "green"),
    "canary": Names("control", "canary"),
    "ab": Names("a", "b"),
}


def judge(plan: RolloutPlan, control: Totals, candidate: Totals) -> list[GuardStatus]:
    """Every guard's status; each has its part of the plan's alpha, in each step anew.

    Within a step the shares do not change, so a change of the traffic over time cannot pass for an effect.
    """
    alpha = plan.alpha / (max(1, len(plan.guards)) * len(plan.steps))
    return [_status(guard, alpha, control, candidate) for guard in plan.guards]


def _status(guard: Guard, alpha: float, control: Totals, candidate: Totals) -> GuardStatus:
    harm, mine, theirs, samples = _harm(guard.metric, guard.limit, alpha, control, candidate)
    verdict: Verdict = "open"
    if harm.low > guard.tolerance:
        verdict = "harmful"
    elif harm.high <= guard.tolerance:
        verdict = "harmless"
    # Infinity has no form in JSON; nothing that is guarded comes near this.
    low, high = max(harm.low, -1e9), min(harm.high, 1e9)
    return GuardStatus(guard.metric, guard.tolerance, verdict, theirs, mine, low, high, samples)


class _Harm(NamedTuple):
    """How much worse, between which bounds; what both arms show; and how many calls of the new one tell it."""

    interval: Interval
    candidate: float
    control: float
    samples: int


def _harm(metric: GuardMetric, limit: float, alpha: float, control: Totals, candidate: Totals) -> _Harm:
    match metric:
        case "errors":
            mine, theirs = (candidate.failures, candidate.requests), (control.failures, control.requests)
            return _Harm(sequences.rate_difference(*mine, *theirs, alpha), _share(mine), _share(theirs), mine[1])
        case "slow":
            mine, theirs = _slow(candidate, limit), _slow(control, limit)
            return _Harm(sequences.rate_difference(*mine, *theirs, alpha), _share(mine), _share(theirs), mine[1])
        case "latency":
            gap = _trusted(candidate.times, control.times, alpha, _TIME_SCALE)
            interval = Interval(exp(max(gap.low, -20)) - 1, exp(min(gap.high, 20)) - 1)
            return _Harm(interval, _typical(candidate.times), _typical(control.times), candidate.times.n)
        case "drift":
            found = sequences.distance(candidate.values, control.values, alpha)
            seen = sequences.observed_distance(candidate.values, control.values)
            return _Harm(found, seen, 0.0, sum(candidate.values))
        case "outcome":
            # High outcomes are good, so what is lost is the harm.
            gap = _trusted(control.outcomes, candidate.outcomes, alpha, _outcome_scale(control, candidate))
            return _Harm(gap, candidate.outcomes.mean, control.outcomes.mean, candidate.outcomes.n)
        case _:
            assert_never(metric)


def effects(plan: RolloutPlan, control: Totals, candidate: Totals) -> list[ArmEffect]:
    """The differences between the arms, candidate minus control, each at the plan's alpha."""
    mine, theirs = (candidate.failures, candidate.requests), (control.failures, control.requests)
    found = sequences.rate_difference(*mine, *theirs, plan.alpha)
    listed = [
        ArmEffect(
            "errors", _share(mine) - _share(theirs), found.low, found.high, sequences.rate_p_value(*mine, *theirs)
        )
    ]
    if min(candidate.times.n, control.times.n) >= _ENOUGH:
        gap = sequences.mean_difference(candidate.times, control.times, plan.alpha, scale=_TIME_SCALE)
        p_value = sequences.mean_p_value(candidate.times, control.times, scale=_TIME_SCALE)
        ratio = exp(candidate.times.mean - control.times.mean) - 1
        listed.append(ArmEffect("latency", ratio, exp(gap.low) - 1, exp(gap.high) - 1, p_value))
    if min(candidate.outcomes.n, control.outcomes.n) >= _ENOUGH:
        scale = _outcome_scale(control, candidate)
        gap = sequences.mean_difference(candidate.outcomes, control.outcomes, plan.alpha, scale=scale)
        p_value = sequences.mean_p_value(candidate.outcomes, control.outcomes, scale=scale)
        difference = candidate.outcomes.mean - control.outcomes.mean
        listed.append(ArmEffect("outcome", difference, gap.low, gap.high, p_value))
    return listed


def sample_ratio(percent: float, control: Totals, candidate: Totals) -> float:
    """The p-value of the units having been split as declared; 1 where nothing is split."""
    if not 0 < percent < 100:
        return 1.0
    holders = sorted({*control.units, *candidate.units})
    counts = [(candidate.units.get(each, 0), control.units.get(each, 0)) for each in holders]
    return sequences.ratio_p_value(counts, percent / 100)


def arms(rollout: Rollout, control: Totals, candidate: Totals) -> list[Arm]:
    """The two arms as they are shown."""
    names = NAMES[rollout.kind]
    return [
        _arm(names.control, rollout.control, control),
        _arm(names.candidate, rollout.candidate, candidate),
    ]


def _arm(name: str, version: str, totals: Totals) -> Arm:
    return Arm(
        name=name,
        version=version,
        requests=totals.requests,
        failures=totals.failures,
        mean_seconds=_typical(totals.times),
        p50_seconds=quantile(totals.seconds, 0.5),
        p95_seconds=quantile(totals.seconds, 0.95),
        outcomes=totals.outcomes.n,
        mean_outcome=totals.outcomes.mean,
    )


def quantile(seconds: Sequence[int], share: float) -> float:
    """The duration that this share of the calls did not pass: the upper edge of its bin, so at most 19 % too high."""
    wanted, passed = share * sum(seconds), 0
    for bin_, count in enumerate(seconds):
        passed += count
        if count and passed >= wanted:
            return seconds_edge(bin_ + 1)
    return 0.0


def _trusted(one: Moments, other: Moments, alpha: float, scale: float) -> Interval:
    if min(one.n, other.n) < _ENOUGH:
        return Interval(-inf, inf)
    return sequences.mean_difference(one, other, alpha, scale=scale)


def _outcome_scale(control: Totals, candidate: Totals) -> float:
    together = control.outcomes + candidate.outcomes
    return _OUTCOME_SCALE * (together.variance**0.5 or 1.0)


def _slow(totals: Totals, limit: float) -> tuple[int, int]:
    first = seconds_bin(limit)
    return sum(totals.seconds[first:]), sum(totals.seconds)


def _typical(times: Moments) -> float:
    return exp(times.mean) if times.n else 0.0


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / counts[1] if counts[1] else 0.0
