"""How a declared model's new versions are released: the plan that begins by itself when one reaches staging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypedDict, Unpack

from ..serving import Guard, RolloutPlan, RolloutStep


class PlanOptions(TypedDict, total=False):
    """What every kind of rollout takes; each is described in `stanchion.serving.RolloutPlan`."""

    guards: Sequence[Guard]
    alpha: float
    failure_budget: int
    automatic: bool
    approval: Literal["after", "before"]
    keep: float
    most: float


def canary(*percents: float, seconds: float = 600, samples: int = 200, **options: Unpack[PlanOptions]) -> RolloutPlan:
    """Growing shares of the answers (1, 5, 25 and 50 percent unless others are given), each for at least so long.

    It promotes or takes back by itself.
    """
    steps = tuple(RolloutStep(percent, seconds, samples) for percent in percents or (1, 5, 25, 50))
    return _plan(RolloutPlan("canary", steps), options)


def blue_green(
    *, seconds: float = 300, samples: int = 500, share: float = 1.0, **options: Unpack[PlanOptions]
) -> RolloutPlan:
    """The new version is checked in the background on a share of the calls; then everything switches at once."""
    return _plan(RolloutPlan("blue_green", (RolloutStep(0, seconds, samples),), share=share), options)


def shadow(
    *, seconds: float = 3600, samples: int = 1000, share: float = 1.0, **options: Unpack[PlanOptions]
) -> RolloutPlan:
    """The new version is asked in the background and compared; nobody gets its answers, and nothing is promoted."""
    return _plan(RolloutPlan("shadow", (RolloutStep(0, seconds, samples),), share=share), options)


def _plan(plan: RolloutPlan, options: PlanOptions) -> RolloutPlan:
    return replace(
        plan,
        guards=tuple(options.get("guards", plan.guards)),
        alpha=options.get("alpha", plan.alpha),
        failure_budget=options.get("failure_budget", plan.failure_budget),
        automatic=options.get("automatic", plan.automatic),
        approval=options.get("approval", plan.approval),
        keep=options.get("keep", plan.keep),
        most=options.get("most", plan.most),
    )
