"""What training needs from an engine: something that fits a declared model and hands back a checked package."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..core.values import Json
from .contract import Reliability

Stage = Literal["data", "split", "fitted", "measured", "exported"]


@dataclass(frozen=True, slots=True)
class Job:
    """One training: which declaration of which file, on what, and the folder that takes the package's files.

    `origin` says where `source` comes from where the caller named more than a file.
    """

    system_file: str
    model: str
    source: str | None
    seed: int
    folder: str
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage that is done; `fraction` of the whole job, from 0 to 1."""

    stage: Stage
    message: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Spine:
    """Rows that want the features of a service: an Arrow IPC stream in the job's folder, judged at column `time`."""

    service: str
    file: str
    time: str


@dataclass(frozen=True, slots=True)
class Measures:
    """How well the estimator does on the held-out rows; the names are those of TrainingReport."""

    roc_auc: float
    brier: float
    log_loss: float
    base_rate: float
    calibration_error: float
    train_rows: int
    test_rows: int
    parity: float
    reliability: tuple[Reliability, ...]
    simple_roc_auc: float | None


@dataclass(frozen=True, slots=True)
class Package:
    """A trained model that passed every check. `files` are names in the job's folder."""

    input_schema: dict[str, Json]
    output_schema: dict[str, Json]
    parameters: dict[str, Json]
    metadata: dict[str, Json]
    measures: Measures
    data_sha256: str
    data_rows: int
    data_source: str
    weights_sha256: str
    card: str
    files: tuple[str, ...]
    picture: str


Join = Callable[[Spine], Awaitable[str]]


class Trainer(Protocol):
    """Runs jobs away from the event loop."""

    def run(self, job: Job, join: Join) -> AsyncGenerator[Progress | Package, None]:
        """Progress, then exactly one Package as the last item.

        `join` is asked where the declaration reads a feature service: it gives the name of the file, in the job's
        folder, that has the spine's rows in their order with the features behind them.
        Closing the iterator ends the work at once, with every process it started. Raises what the job
        raised of the error tree (InvalidInput for unusable data), and Unavailable if the engine died.
        """
        ...


class Workspace(Protocol):
    """Temporary folders for jobs, one at a time for each model of a tenant."""

    def claim(self, tenant: str, model: str) -> AbstractContextManager[Path]:
        """An empty folder that is removed on leaving. Raises Conflict while another claim of the model holds."""
        ...

    def keep(self, tenant: str, name: str, content: bytes) -> Path:
        """Store a picture durably and give its path; a file of that name is replaced."""
        ...

    def sweep(self) -> Sequence[str]:
        """Remove folders whose claimant died, and name them."""
        ...
