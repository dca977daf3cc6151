"""Guards: what each of them sees, from totals alone."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from stanchion.serving import Guard, RolloutPlan, RolloutStep
from stanchion.serving.rollout import evidence
from stanchion.serving.rollout.counting import Tally, figure, seconds_bin, seconds_edge, value_bin
from stanchion.serving.rollout.evidence import NOTHING, Totals
from stanchion.serving.rollout.machine import told
from stanchion.serving.rollout.sequences import Moments


def totals(
    *,
    calls: int = 2000,
    failures: int = 0,
    seconds: float = 0.002,
    slow: float = 0.0,
    low: float = 0.0,
    outcome: float = 0.5,
    seed: int = 1,
) -> Totals:
    """An arm: failures, typical seconds, a share of slow calls, predictions from `low` to 1, and a mean outcome."""
    chance, tally, fed = random.Random(seed), Tally(), Moments()
    for number in range(calls):
        if number < failures:
            tally.failed()
            continue
        took = 0.5 if chance.random() < slow else seconds * chance.lognormvariate(0, 0.3)
        tally.answered(took, {"probability": low + chance.random() * (1 - low)})
        paid = float(chance.random() < outcome)
        fed += Moments(1, paid, paid * paid)
    return Totals(
        requests=tally.requests,
        failures=tally.failures,
        times=Moments(tally.timed, tally.log_seconds, tally.log_squares),
        seconds=tally.seconds,
        values=tally.values,
        outcomes=fed,
        units={"one": tally.requests},
    )


SOUND = totals()


def verdict(guard: Guard, candidate: Totals, control: Totals = SOUND) -> str:
    plan = RolloutPlan("canary", (RolloutStep(10), RolloutStep(50)), guards=(guard, Guard("errors", 0.5)))
    return str(evidence.judge(plan, control, candidate)[0].verdict)


@pytest.mark.parametrize(
    ("guard", "worse"),
    [
        (Guard("errors", 0.03), totals(failures=200, seed=2)),
        (Guard("latency", 0.25), totals(seconds=0.004, seed=2)),
        (Guard("slow", 0.03, limit=0.2), totals(slow=0.12, seed=2)),
        (Guard("drift", 0.15), totals(low=0.4, seed=2)),
        (Guard("outcome", 0.1), totals(outcome=0.3, seed=2)),
    ],
    ids=lambda value: value.metric if isinstance(value, Guard) else "",
)
def test_a_guard_sees_its_own_harm_and_passes_a_sound_version(guard: Guard, worse: Totals) -> None:
    assert verdict(guard, worse) == "harmful"
    assert verdict(guard, totals(calls=4000, seed=3), totals(calls=4000, seed=4)) == "harmless"
    assert verdict(guard, totals(calls=5, seed=3)) == "open"
    assert verdict(guard, NOTHING, NOTHING) == "open"


def test_what_is_better_is_no_harm() -> None:
    assert verdict(Guard("latency", 0.25), totals(seconds=0.001, seed=2)) == "harmless"
    assert verdict(Guard("outcome", 0.1), totals(outcome=0.8, seed=2)) == "harmless"
    assert verdict(Guard("errors", 0.05), SOUND, totals(failures=300)) == "harmless"


def test_an_ab_report_tells_effects_with_intervals_and_p_values() -> None:
    plan = RolloutPlan("ab", (RolloutStep(50),))
    found = {each.metric: each for each in evidence.effects(plan, SOUND, totals(outcome=0.62, failures=3, seed=2))}
    assert set(found) == {"errors", "latency", "outcome"}
    outcome = found["outcome"]
    assert 0 < outcome.low < outcome.difference < outcome.high
    assert outcome.p_value < 0.001
    assert found["latency"].p_value > 0.05
    assert found["errors"].low < 0 < found["errors"].high


def test_a_broken_split_is_told() -> None:
    fair = replace(SOUND, units={"one": 1000, "two": 300})
    assert evidence.sample_ratio(50, fair, replace(SOUND, units={"one": 1010, "two": 290})) > 0.1
    assert evidence.sample_ratio(50, fair, replace(SOUND, units={"one": 700, "two": 210})) < 1e-6
    assert evidence.sample_ratio(100, fair, NOTHING) == 1.0


def test_figures_are_told_in_a_line() -> None:
    plan = RolloutPlan("canary", (RolloutStep(10),), guards=(Guard("errors", 0.05), Guard("latency", 0.25)))
    text = told(evidence.judge(plan, SOUND, totals(failures=400, seconds=0.004, seed=2)))
    assert text.startswith("errors 20.00% against 0.00%, worse by at least 1")
    assert "; latency 3.96 ms against 1.98 ms, worse by at least" in text
    assert told([]) == "no guard is declared"


def test_bins_of_seconds_hold_what_they_say() -> None:
    for seconds in (0.0, 1e-5, 3e-4, 0.0021, 0.7, 3600.0):
        place = seconds_bin(seconds)
        assert seconds_edge(place) <= max(seconds, 1e-5) * 1.0001
    assert evidence.quantile(SOUND.seconds, 0.5) == pytest.approx(0.002, rel=0.25)
    assert evidence.quantile([0] * 112, 0.5) == 0.0


def test_every_answer_has_a_figure_or_none() -> None:
    assert figure({"label": "x", "probability": 0.25}) == 0.25
    assert figure({"label": "x", "total": 7}) == 7
    assert figure({"label": "x", "flag": True}) == "x"
    assert figure({}) is None
    assert value_bin(0.0) == 0
    assert value_bin(1.0) == 19
    assert value_bin(None) is None
    assert {value_bin(value) for value in (-1e30, -5.0, 1.5, 1e30)} <= set(range(20, 32))
    assert value_bin(float("nan")) is None
    assert value_bin("high") == value_bin("high")
