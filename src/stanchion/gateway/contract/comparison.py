"""Comparison of prompts and models by what their calls cost, how long they took, and how well they were scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from ...core.context import Context
from ...core.contract import action


@dataclass(frozen=True, slots=True)
class Score:
    """How good the answer to a request was, on any scale whose larger numbers are better. `name` says on which."""

    request_id: str
    value: float
    name: str = "score"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its confidence interval; without one where fewer than six units were seen."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out 0: of a difference, that there is one."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Variant:
    """One version of a prompt, or one model of a route.

    `units` are those to whom it was assigned; requests of one unit are no independent observations, and the intervals
    take that into account. `cost` is in picodollars a request, `latency` in milliseconds at the model. `broken`
    requests had no answer that came whole. What is `over_*` is the difference to the baseline, None for the baseline
    itself.
    """

    name: str
    requests: int
    units: int
    broken: int
    scored: int
    cost: Estimate
    latency: Estimate | None
    score: Estimate | None
    over_cost: Estimate | None = None
    over_latency: Estimate | None = None
    over_score: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Variants by name. Intervals have the `confidence`; those of differences have it for all differences together."""

    subject: str
    baseline: str
    confidence: float
    variants: tuple[Variant, ...]


class Comparisons(Protocol):
    """Scores of answers, and what they and the ledger of spend say of variants."""

    @action("gateway:score", effect="write", resource="Score")
    async def score(self, ctx: Context, scores: Sequence[Score]) -> int:
        """Keep up to 1,000 scores of the tenant's requests, each in place of an earlier one of its name; how many.

        Raises InvalidInput for numbers that are not finite, NotFound for a request that no model answered: then none
        is kept.
        """
        ...

    @action("gateway:read", effect="read", resource="Score")
    async def compare(
        self,
        ctx: Context,
        *,
        prompt: str = "",
        route: str = "",
        start: date | None = None,
        end: date | None = None,
        score: str = "score",
        baseline: str = "",
        confidence: float = 0.95,
    ) -> Comparison:
        """The versions of a prompt, or the models of a route, over the calls of `start` to before `end` (days in UTC;
        unset: the last seven).

        `baseline` is the variant that others are held against (unset: the one with the most requests). Raises
        InvalidInput, NotFound where there is no call.
        """
        ...
