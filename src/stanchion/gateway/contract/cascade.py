"""A cascade: the cheap model answers first, and a check decides whether its answer will do or a better one is asked.

Source: L. Chen, M. Zaharia, J. Zou, "FrugalGPT", 2023.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ...core.context import Context
from ...core.contract import action
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


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a trained router expects of the model before it is asked: a step that will not do is passed over unasked.

    `file` is what `stanchion gateway train-router` has written.
    """

    file: str


Verify = SelfConsistency | Confidence | FitsSchema | Judge | Own | Predicted


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

    `foreseen` says that the scores were known before anything was asked. `scores` are those of the steps without the
    last, `correct` and `costs` of all steps, and `checks` what the check of each step without the last cost. Costs are
    in picodollars.
    """

    scores: tuple[float, ...]
    correct: tuple[bool, ...]
    costs: tuple[int, ...]
    checks: tuple[int, ...] = ()
    foreseen: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A question with the answer that is right."""

    question: str
    expected: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question that the cheap model has answered, and whether the answer would do."""

    question: str
    good: bool


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of a cascade on the examples.

    `kept` is the part of the calls, as each step sees them, that it is meant to keep. `cost` is the mean of a call in
    picodollars, `quality` the share of right answers and `bound` its lower confidence bound, `shares` which step's
    answer was taken how often.
    """

    kept: float
    thresholds: tuple[float, ...]
    cost: float
    quality: float
    bound: float
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Alone:
    """One model without the others."""

    model: str
    cost: float
    quality: float
    bound: float


@dataclass(frozen=True, slots=True)
class CascadeReport:
    """`front` are the settings that no other beats; `chosen` is the calibrated one, and `saved` the part of the last
    model's cost that it saves. Costs are the mean of a call in picodollars; `examples` says of how many."""

    alone: Sequence[Alone]
    front: Sequence[Point]
    calibration: Calibration
    chosen: Point
    saved: float
    examples: int


@dataclass(frozen=True, slots=True)
class KeptReport:
    """What the newest calibration of a cascade found."""

    cascade: str
    made_at: datetime
    made_by: str
    report: CascadeReport


@dataclass(frozen=True, slots=True)
class CalibrationStep:
    """How far a calibration is; the last one has the report. `cost` is what it has cost so far in picodollars."""

    done: int
    total: int
    cost: int
    report: CascadeReport | None = None


@dataclass(frozen=True, slots=True)
class RouterReport:
    """A trained router as the document that its file holds; `auc` was measured on outcomes that it had not seen."""

    document: bytes
    examples: int
    auc: float


class Cascading(Protocol):
    """Cascades and routers on labelled examples."""

    @action("gateway:calibrate", effect="read", resource="Cascade", by="name")
    def calibrate(
        self, ctx: Context, name: str, examples: Sequence[Example], *, floor: float, confidence: float = 0.95
    ) -> AsyncIterator[CalibrationStep]:
        """Ask every model of a cascade every question, and find the thresholds that keep the floor.

        An answer is right if it is the expected one, or holds it as words of its own; case and spaces do not count.
        Each call is billed like any other, and the report at the end is kept. Raises NotFound, InvalidInput (too few
        examples, a floor out of reach).
        """
        ...

    @action("gateway:read", effect="read", resource="Cascade")
    async def cascade_reports(self, ctx: Context) -> Sequence[KeptReport]:
        """The newest report of each cascade that the caller's tenant has calibrated, by the cascade's name."""
        ...

    @action("gateway:calibrate", effect="read", resource="Cascade")
    async def train_router(self, ctx: Context, outcomes: Sequence[Outcome]) -> RouterReport:
        """A router that has learned from the outcomes. Raises InvalidInput where there are too few of them."""
        ...
