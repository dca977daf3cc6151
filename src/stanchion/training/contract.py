"""Training: a declared estimator becomes a checked, exported and registered version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, GetJsonSchemaHandler

from ..core.context import Context
from ..core.contract import action

if TYPE_CHECKING:
    import numpy
    import pandas
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class Role:
    """What a field of an input type is when it is not a feature; written into the JSON Schema as `role`.

    `customer_id: Annotated[str, identifier]` names the instance. An `aside` is checked and given to rules,
    and no estimator sees it. Neither becomes a column of the model.
    """

    name: Literal["identifier", "aside"]

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        schema["role"] = self.name
        return schema


identifier = Role("identifier")
aside = Role("aside")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to learn from: one column for each feature, and for each row the outcome, 1 (positive) or 0.

    Columns that are no feature of the input type are ignored. `source` says where the rows come from, in words
    that may be published: it stands in the lineage and on the model card. `time` names the column with the moment
    (with its time zone) at which each row is judged: the newest rows are then held out instead of random ones, and
    a model that reads a feature service gets the features as they were known at that moment.
    """

    rows: pandas.DataFrame
    target: Sequence[int] | numpy.ndarray[Any, Any]
    source: str
    time: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """What `system.py` declares of a model that is trained here.

    `data(source, seed)` gives a Dataset; `source` is None or a path the caller named, which for a data set of reviews
    is a file of its JSON lines (`decisions.jsonl`). `estimator()` gives an
    unfitted scikit-learn classifier of classes 0 and 1; `simple`, if set, the small one kept beside it as the
    ladder's second rung. The probability of class 1 is served. `bands` as in the served declaration.
    `features` names the feature service whose features are joined to the rows; the dataset then needs its `time`.
    `entities` says which column holds each of the service's entity keys; one left out has the key's own name.
    """

    model: str
    input: type[BaseModel]
    output: type[BaseModel]
    data: Callable[..., Dataset]
    estimator: Callable[[], Any]
    simple: Callable[[], Any] | None = None
    features: str | None = None
    entities: Mapping[str, str] = field(default_factory=dict)
    bands: Mapping[str, float] = field(default_factory=dict)
    test_share: float = 0.2
    seed: int = 7
    card: str = ""


@dataclass(frozen=True, slots=True)
class Reliability:
    """One bin of the calibration curve: mean predicted probability, observed rate, rows in the bin."""

    predicted: float
    observed: float
    rows: int


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What was trained and how well: measured on rows that training never saw.

    `roc_auc`, `brier` (Brier 1950, lower is better) and `log_loss` are of the hold-out set; `parity` is the
    largest difference of probability between the exported graph and the estimator on it. `picture` is a path.
    """

    model: str
    version: str
    roc_auc: float
    brier: float
    log_loss: float
    base_rate: float
    train_rows: int
    test_rows: int
    parity: float
    reliability: Sequence[Reliability]
    simple_roc_auc: float | None
    seconds: float
    picture: str | None


@dataclass(frozen=True, slots=True)
class TrainingEvent:
    """One step of a training under way. The last one of a stream is `registered` and carries the report."""

    stage: Literal["started", "data", "split", "fitted", "measured", "exported", "registered"]
    message: str
    fraction: float
    report: TrainingReport | None = None


class Training(Protocol):
    """Trains declared models."""

    @action("training:train", effect="write", resource="Model", by="model", seconds=3600)
    def train(self, ctx: Context, model: str, *, source: str | None = None) -> AsyncIterator[TrainingEvent]:
        """Train, check, export and register; yields progress and ends with the report.

        `source` is a path, or `review:QUEUE@VERSION`: what people decided, in a version that never changes, which the
        lineage names with its digest (without `@VERSION` the newest). The caller needs the rights to export it.
        Runs in a worker process; leaving the iterator ends the worker. Nothing is registered unless every
        check passed. Raises NotFound (no such declaration or data set), InvalidInput (unusable data), Conflict (one
        training of the model is running), Unavailable (the worker died).
        """
        ...

    @action("training:read", effect="read", resource="Model")
    async def declared(self, ctx: Context) -> Sequence[str]:
        """Names of the models that can be trained here, ascending."""
        ...
