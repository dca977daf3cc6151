"""Prediction serving: instances in, outcomes out, and which rung of the ladder gave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from ...core.context import Context
from ...core.contract import action
from ...core.values import Json
from .graphs import Chain, Ensemble, Switch
from .options import NO_OPTIONS, Options
from .sources import Endpoint, Remote

ModelSource = Remote | Endpoint | Ensemble | Chain | Switch
Explain = Literal["timing"]
Priority = Literal["interactive", "normal", "bulk"]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What a caller may ask for besides the answer.

    `explain` names what the answer shall tell of itself: `timing` is the milliseconds of each stage. `priority` is
    the class in which a batched model queues the call. `unit` is what a traffic split keeps on one side: the same
    unit is answered by the same arm; without one it is the caller's principal.
    """

    explain: tuple[Explain, ...] = ()
    priority: Priority = "normal"
    unit: str = ""


PLAIN = PredictOptions()


@dataclass(frozen=True, slots=True)
class Prediction:
    """One instance's answer. `values` has the fields of the model's output schema.

    Where `error` is set the instance was refused, `values` is empty and the others are answered all the same.
    `served_by` is set where this item was served by something else than the call, such as `cache`. `overruled_by`
    names the declared rule that replaced the model's answer; `review` is `required` where a person should look, and
    `waiting` where people have been asked and there are no values yet: `review_item` names what waits.
    `age_seconds` is set where the answer is an earlier one that was kept for such a moment.
    """

    values: Mapping[str, Json]
    error: Mapping[str, Json] | None = None
    served_by: str = ""
    overruled_by: str = ""
    review: str = ""
    review_item: str = ""
    age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers in the order of the instances. `served_by` is the rung; `tried` the rungs that failed before it.

    `version` is `declared` for a Python function and `none` while only rules can answer; `served_by` is `none` if
    every instance was refused. `timings` are milliseconds by stage, empty unless asked for. `arm` is the side of the
    rollout that answered, empty outside of one. `cache` tells of a model with a cache what became of the first
    instance there: `hit`, `similar`, `coalesced` (answered by an equal call under way) or `miss`.
    """

    model: str
    version: str
    served_by: str
    items: Sequence[Prediction]
    tried: Sequence[str] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    arm: str = ""
    cache: str = ""


@dataclass(frozen=True, slots=True)
class RungStatus:
    """One rung of a served model: breaker state `closed`, `open`, `half_open` or `restoring`; share admitted."""

    name: str
    kind: str
    breaker: str
    admitted: float
    served: int
    failed: int


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """A model's cache since its version was loaded; `rate` is the share of look-ups that it answered, 0 to 1."""

    hits: int
    similar: int
    coalesced: int
    misses: int
    entries: int
    rate: float


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A model's batcher: instances that wait, runs so far, instances in them, and instances refused for their wait."""

    waiting: int
    runs: int
    instances: int
    shed: int


@dataclass(frozen=True, slots=True)
class FeaturesStatus:
    """The feature service that a model reads: its fingerprint as the version pins it ("" if it pins none) and the one
    that runs."""

    service: str
    pinned: str
    running: str


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """A version's graphs: in memory or not, the bytes they were measured to take, and the seconds that their last load
    took (None before the first has ended)."""

    loaded: bool
    bytes: int
    cold_start_seconds: float | None


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as this process serves it; `version` is None while only its rules can answer.

    `fault` tells why a newer version was not taken into service: its error code and detail. `cache`, `batch` and
    `features` are None where the model declares none. `memory` is None for what is no registered version.
    """

    model: str
    version: str | None
    stage: str | None
    input_schema: Mapping[str, Json]
    output_schema: Mapping[str, Json]
    rungs: Sequence[RungStatus]
    loaded_at: str | None
    fault: str | None = None
    cache: CacheStatus | None = None
    batch: BatchStatus | None = None
    features: FeaturesStatus | None = None
    memory: MemoryStatus | None = None


@dataclass(frozen=True, slots=True)
class ServedSpec:
    """What `system.py` declares of a model that is served: types, and the rungs that are plain Python.

    `function` is a Python model (async, batch in and out) and stands in for a registered version. `rule`
    may give None to decline; if it declines one instance of a call, the next rung answers all of them.
    `default` is the last answer. `bands` turns a probability into a label by the
    highest lower bound reached. `timeouts` are seconds by rung name. `options` are the parts of the request path that
    this model declares. A function's `input` has the looked-up features among its fields. `source` is what answers
    in place of a function: another server, or other models.
    """

    name: str
    input: type[BaseModel]
    output: type[BaseModel]
    function: Callable[..., Any] | None = None
    rule: Callable[[Any], BaseModel | None] | None = None
    default: BaseModel | None = None
    bands: Mapping[str, float] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    options: Options = NO_OPTIONS
    source: ModelSource | None = None

    @property
    def from_registry(self) -> bool:
        """Whether registered versions answer first, and nothing that the declaration itself brings."""
        return self.function is None and self.source is None


class Predicts(Protocol):
    """Predictions, and what is served."""

    @action("serving:predict", effect="read", resource="Model", by="model", seconds=30)
    async def predict(
        self, ctx: Context, model: str, instances: Sequence[Mapping[str, Json]], *, options: PredictOptions = PLAIN
    ) -> Predictions:
        """Answers for 1 to 10,000 instances of one model; `model` may be `name`, `name@alias` or `name@1.4.0`.

        Each instance is checked against the version's input schema: unknown fields, wrong types and values
        out of range are refused, absent optional fields take their declared default. Raises NotFound,
        InvalidInput if the only instance is refused (paths `$.features...`), PayloadTooLarge, Unavailable if
        no rung can answer.
        """
        ...

    @action("serving:read", effect="read", resource="Model")
    async def models(self, ctx: Context) -> Sequence[ServedModel]:
        """What this process serves, by name."""
        ...

    @action("serving:read", effect="read", resource="Model", by="model")
    async def describe(self, ctx: Context, model: str) -> ServedModel:
        """One served model. Raises NotFound."""
        ...
