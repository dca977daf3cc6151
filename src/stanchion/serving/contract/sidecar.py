"""An AI sidecar: an existing service asks for a better answer than its own, and never gets a worse or later one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.errors import Misconfigured
from ...core.values import Json

AdviceSource = Literal["ai", "base"]
AdviceReason = Literal["ai", "flag_off", "low_confidence", "outside_band", "timeout", "error"]
Check = Callable[[Json, Mapping[str, Json]], bool]


@dataclass(frozen=True, slots=True)
class GuardBand:
    """When a model's value may stand in for the base value; what is None is not asked for.

    The confidence must be above `min_confidence`. The value must differ from the base value by at most
    `max_deviation` of it (0.15 is 15 %, the bound included) and lie within `lowest` and `highest`.
    `check(base, outcome)` is asked last; what it refuses, or fails on, is outside the band.
    """

    min_confidence: float | None = None
    max_deviation: float | None = None
    lowest: float | None = None
    highest: float | None = None
    check: Check | None = None

    def __post_init__(self) -> None:
        if self.max_deviation is not None and not self.max_deviation >= 0:
            raise Misconfigured(f"max_deviation must be at least 0, not {self.max_deviation}")
        if self.lowest is not None and self.highest is not None and self.lowest > self.highest:
            raise Misconfigured(f"the band from {self.lowest} to {self.highest} is empty")


@dataclass(frozen=True, slots=True)
class SidecarSpec:
    """What `system.py` declares of a sidecar.

    `value` and `confidence` are fields of the model's outcome (confidence "" where none is asked for). `flag` is the
    key of a boolean flag; a unit it is off for, or a flag that does not exist, gets the base value. `limit` is in
    seconds. `rungs` are those whose answers count as the model's: a rule or a default of the model is no better than
    the base value.
    """

    name: str
    model: str
    flag: str
    value: str
    confidence: str = ""
    guard: GuardBand = GuardBand()
    limit: float = 0.1
    rungs: tuple[str, ...] = ("primary", "simple", "cache")


@dataclass(frozen=True, slots=True)
class Advice:
    """The value to use and why. `reason` is `ai`, or what was against the model's value; `detail` says it in words.

    `candidate` is the model's value where it gave one, used or not.
    """

    request_id: str
    sidecar: str
    source: AdviceSource
    reason: AdviceReason
    value: Json
    base: Json
    candidate: Json = None
    confidence: float | None = None
    version: str = ""
    milliseconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of one advice, such as the revenue, or 1 for sold and 0 for not."""

    request_id: str
    outcome: float


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """What is known of the answers of one source: how many, how many settled, and the mean outcome of those."""

    calls: int
    settled: int
    mean_outcome: float | None


@dataclass(frozen=True, slots=True)
class SidecarReport:
    """A sidecar and what became of its calls in the last `days`.

    `deviation` is the mean of (candidate - base) / base where both are numbers. Units of the flag's rollout are chosen
    by chance, so `ai` and `base` can be compared within the reasons `ai` and `flag_off`.
    """

    sidecar: str
    model: str
    flag: str
    days: float
    calls: int
    reasons: Mapping[str, int]
    by_reason: Mapping[str, SourceFigures]
    deviation: float | None
    dropped: int = field(default=0)


class Sidecars(Protocol):
    """The sidecars of the system, for the tenant of the system."""

    @action("serving:advise", effect="read", resource="Sidecar", by="sidecar", seconds=30)
    async def advise(
        self,
        ctx: Context,
        sidecar: str,
        features: Mapping[str, Json],
        base: Json,
        *,
        unit: str = "",
        attributes: Mapping[str, Json] | None = None,
    ) -> Advice:
        """The value to use: the model's if flag and guard allow it and it comes in time, else `base`.

        `unit` (empty: the principal) and `attributes` are what the flag is evaluated for. Faults of the model or of its
        input are no errors here: they are a reason to use the base value. Raises NotFound for an unknown sidecar.
        """
        ...

    @action("serving:settle", effect="write", resource="Sidecar", by="sidecar")
    async def settle(self, ctx: Context, sidecar: str, outcomes: Sequence[Settled]) -> int:
        """Store what came of advices (1 to 1,000); how many were known. Sending the same again changes nothing.

        Raises NotFound, InvalidInput.
        """
        ...

    @action("serving:read", effect="read", resource="Sidecar")
    async def sidecars(self, ctx: Context) -> Sequence[SidecarReport]:
        """Every sidecar, by name, with its figures of the last week."""
        ...

    @action("serving:read", effect="read", resource="Sidecar", by="sidecar")
    async def sidecar(self, ctx: Context, sidecar: str, *, days: float = 7.0) -> SidecarReport:
        """One sidecar with its figures. Raises NotFound, InvalidInput."""
        ...
