"""A cascade: the cheap model answers first, and a check decides whether its answer will do or a better one is asked.

Source: L. Chen, M. Zaharia, J. Zou, "FrugalGPT", 2023.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ...core.errors import Misconfigured


class Score(Protocol):
    """A user's own check: how sure one may be of an answer, 0 to 1."""

    def __call__(self, question: str, answer: str) -> float | Awaitable[float]: ...


@dataclass(frozen=True, slots=True)
class SelfConsistency:
    """The share of `samples` answers that agree with the one given: it is asked that many times in all.

    `same` makes two answers comparable, such as the number at their end; without it case, spaces and the full stop at
    the end do not count. Source: X. Wang et al., "Self-consistency improves chain of thought reasoning", 2022.
    """

    samples: int = 3
    temperature: float = 0.7
    same: Callable[[str], object] | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.samples <= 20:
            raise Misconfigured(f"self-consistency takes 2 to 20 samples, not {self.samples}")


@dataclass(frozen=True, slots=True)
class Confidence:
    """The geometric mean of the probabilities of the answer's tokens, where the upstream gives them; else 0."""


@dataclass(frozen=True, slots=True)
class FitsSchema:
    """1 where the answer is JSON that fits the schema that the call, or this check, asks for; else 0."""

    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """What another model says: it is asked for a number from 0 to 10 and nothing else."""

    model: str
    instruction: str = "Is the answer correct and complete?"


@dataclass(frozen=True, slots=True)
class Own:
    """A function of one's own, sync or async."""

    score: Score


Verify = SelfConsistency | Confidence | FitsSchema | Judge | Own


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeSpec:
    """Models from the cheapest to the best, and the check between them. The last one's answer is taken as it is.

    A step's answer is taken where its score reaches its threshold. `calibration` holds the thresholds that keep a
    quality floor, as `calibrate` has found them on labelled examples; without one only a score of 1 will do.
    """

    name: str
    steps: tuple[str, ...]
    verify: Verify
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if len(self.steps) < 2 or len(set(self.steps)) < len(self.steps):
            raise Misconfigured(f"the cascade {self.name} needs two models or more, each once")
        if self.calibration is not None and len(self.calibration.thresholds) != len(self.steps) - 1:
            raise Misconfigured(
                f"the calibration of the cascade {self.name} is for {len(self.calibration.thresholds) + 1} models",
                next_step="Calibrate it again for the models that it has now.",
            )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds by step, without the last, and what they were found on.

    `floor` is the quality asked for, `bound` the lower confidence bound of the quality on `examples` labelled
    examples, `confidence` the probability with which it holds for calls of the same kind.
    """

    thresholds: tuple[float, ...]
    floor: float
    bound: float
    confidence: float
    examples: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A labelled example that every model of a cascade has answered.

    `scores` are those of the steps without the last, `correct` and `costs` of all steps, and `checks` what the check of
    each step without the last cost. Costs are in picodollars.
    """

    scores: tuple[float, ...]
    correct: tuple[bool, ...]
    costs: tuple[int, ...]
    checks: tuple[int, ...] = ()
