"""What became of predictions: labels and outcomes that arrive later, and how good each version is by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.values import Json


@dataclass(frozen=True, slots=True)
class Truth:
    """What became of one prediction, found by the request id of its answer; at least one of `label` and `outcome`.

    `label` is what was true: 1 or 0 (or true and false) against a probability, or the name of the class. `outcome` is
    a business number, such as revenue or a complaint, higher is better; `metric` names it. `instance` is the place
    in a request of several.
    """

    request_id: str
    label: int | float | str | bool | None = None
    outcome: float | None = None
    metric: str = "outcome"
    instance: int = 0


@dataclass(frozen=True, slots=True)
class Noted:
    """What was done with one of them. `status` is stored, corrected (another value stood there), repeated (the same
    did) or refused, with `error` as a problem document."""

    status: Literal["stored", "corrected", "repeated", "refused"]
    model: str = ""
    version: str = ""
    error: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """One tenth of the calibration curve: mean predicted probability, observed rate, labels in it."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True, slots=True)
class Mean:
    """A business metric: how many values, and their mean."""

    count: int
    mean: float


@dataclass(frozen=True, slots=True)
class VersionQuality:
    """One version, in one arm of a rollout ("" outside of one), by what came back.

    `labelled` of the `predictions` kept have a label. `accuracy` is the share of right answers; `roc_auc`, `brier`
    (lower is better) and `calibration` are of probabilities against labels of 1 and 0, and None or empty where there
    are none, or labels of one kind only. `outcomes` are by metric.
    """

    version: str
    arm: str
    predictions: int
    labelled: int
    accuracy: float | None = None
    roc_auc: float | None = None
    brier: float | None = None
    calibration: Sequence[Bin] = ()
    outcomes: Mapping[str, Mean] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelQuality:
    """A model's versions by what came back since `since`. Figures are of the newest 50,000 labels at most."""

    model: str
    since: datetime
    versions: Sequence[VersionQuality]


@dataclass(frozen=True, slots=True)
class Entry:
    """One prediction as the journal keeps it. `inputs` lacks omitted fields, and has a digest for an identifier."""

    request_id: str
    instance: int
    at: datetime
    model: str
    version: str
    arm: str
    rung: str
    inputs: Mapping[str, Json]
    output: Mapping[str, Json]
    overruled_by: str = ""
    review: str = ""


class Feedback(Protocol):
    """Labels, outcomes and the journal of predictions, of the caller's tenant."""

    @action("serving:feedback", effect="write", resource="Prediction")
    async def feedback(self, ctx: Context, items: Sequence[Truth]) -> Sequence[Noted]:
        """Store what became of 1 to 1,000 predictions; one answer for each, in order.

        Sending the same again changes nothing. Each item stands for itself: one with an unknown request id, or of a
        prediction that was not kept, is refused with its own error and the others are stored. Raises InvalidInput
        for no item, PayloadTooLarge for too many.
        """
        ...

    @action("serving:read", effect="read", resource="Model", by="model")
    async def quality(self, ctx: Context, model: str, *, days: int = 30) -> ModelQuality:
        """How good the model's versions are by what came back in the last 1 to 365 days. Raises InvalidInput."""
        ...

    @action("serving:read_journal", effect="read", resource="Prediction", by="request_id")
    async def journal(self, ctx: Context, request_id: str) -> Sequence[Entry]:
        """The kept predictions of one request, in order; none if it was not kept, or not the tenant's.

        A right of its own, as it opens what was sealed. Raises NotTrustworthy if an entry was changed or moved.
        """
        ...
