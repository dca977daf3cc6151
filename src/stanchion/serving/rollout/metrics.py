"""What Prometheus is told of rollouts. Labels name models, never a tenant: models of one name are taken together.

Guards are weighed by the process that leads; elsewhere, and where none runs, their values are NaN, which `max` passes
over: `max by (model, guard) (stanchion_rollout_guard_harm{bound="low"})` is right for any number of processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import nan
from typing import Literal

from ...core.telemetry.metrics import Metrics
from ..contract import GuardStatus, Rollout
from .machine import LIVE
from .records import Record

_SIZES = (0.001, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
Mirrored = Literal["compared", "uncompared", "failed", "dropped"]


class RolloutMetrics:
    """The instruments of a process."""

    def __init__(self, made: Metrics) -> None:
        self._states = made.gauge("stanchion_rollouts", "Rollouts that have not ended", ("model", "state"))
        self._step = made.gauge(
            "stanchion_rollout_step", "Step of the model's rollout, from 1; 0 while there is none", ("model",)
        )
        self._share = made.gauge(
            "stanchion_rollout_share", "Share of the answers that the new version gives, 0 to 1", ("model",)
        )
        self._harm = made.gauge(
            "stanchion_rollout_guard_harm",
            "How much worse the new version is by a guard, at least (low) and at most (high); NaN while not weighed",
            ("model", "guard", "bound"),
        )
        self._tolerance = made.gauge(
            "stanchion_rollout_guard_tolerance", "How much worse the guard lets it be; NaN likewise", ("model", "guard")
        )
        self._observed = made.gauge(
            "stanchion_rollout_guard_value",
            "The guard's metric as observed of the arms control and candidate; NaN likewise",
            ("model", "guard", "arm"),
        )
        self._decisions = made.counter(
            "stanchion_rollout_decisions_total",
            "Changes of rollouts made by this process, by the state they led to and who decided: person or system",
            ("model", "state", "by"),
        )
        self._mirrored = made.counter(
            "stanchion_rollout_mirrored_total",
            "Calls for a version that nobody hears: compared, uncompared (another rung answered), failed or dropped",
            ("model", "result"),
        )
        self._difference = made.histogram(
            "stanchion_rollout_difference",
            "How far the answers of both versions to one instance are apart; above 0.01 they differ",
            ("model",),
            buckets=_SIZES,
        )
        self._models: set[str] = set()
        self._guards: set[tuple[str, str]] = set()

    def shown(self, records: Iterable[Record]) -> None:
        """Tell which rollouts there are, in which state and step, and with which share."""
        live = [record.rollout for record in records if record.live]
        states = Counter((rollout.model, rollout.state) for rollout in live)
        self._models |= {rollout.model for rollout in live}
        for model in self._models:
            mine = [rollout for rollout in live if rollout.model == model]
            for state in sorted(LIVE):
                self._states.set(states[model, state], model, state)
            self._step.set(max((rollout.step + 1 for rollout in mine), default=0), model)
            self._share.set(max((rollout.percent / 100 for rollout in mine), default=0.0), model)

    def weighed(self, found: Iterable[tuple[Rollout, Sequence[GuardStatus]]]) -> None:
        """Tell the guards that this process has just weighed; all others become NaN."""
        told: set[tuple[str, str]] = set()
        for rollout, guards in found:
            for guard in guards:
                model, name = rollout.model, guard.metric
                told.add((model, name))
                self._harm.set(guard.low, model, name, "low")
                self._harm.set(guard.high, model, name, "high")
                self._tolerance.set(guard.tolerance, model, name)
                self._observed.set(guard.control, model, name, "control")
                self._observed.set(guard.candidate, model, name, "candidate")
        for gone in sorted(self._guards - told):
            for bound in ("low", "high"):
                self._harm.set(nan, *gone, bound)
            for arm in ("control", "candidate"):
                self._observed.set(nan, *gone, arm)
            self._tolerance.set(nan, *gone)
        self._guards |= told

    def decided(self, rollout: Rollout, by: str) -> None:
        """Count a change that is stored; `by` is the principal, of whom only the kind is told."""
        self._decisions.inc(rollout.model, rollout.state, "system" if by.startswith("system:") else "person")

    def mirrored(self, model: str, result: Mirrored) -> None:
        """Count a call that was to be shown to the new version, and what came of it."""
        self._mirrored.inc(model, result)

    def differed(self, model: str, size: float) -> None:
        """Count one compared answer."""
        self._difference.observe(size, model)
