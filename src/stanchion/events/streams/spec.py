"""What a stream is declared as: rows in event time, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from ...core.errors import Misconfigured
from .detectors.detector import Detector
from .measures import Measure
from .rolling import Rolling
from .watermark import Progress
from .windows import Windows


@dataclass(frozen=True, slots=True)
class Windowed:
    """Results of windows: `measures` by name, told when the watermark has passed the window's end.

    For `allowed` longer a late row still counts, and its window is told again with a higher revision.
    """

    windows: Windows
    measures: Mapping[str, Measure]
    allowed: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """A stream over the data of events, which are rows of the type `row`. Its keys are those of the events.

    `time` is the field that holds the event time; empty: it is the event's own. `windows`, `features` (as of each row)
    and `detectors` (over columns and features) are by name. `tells` says which scored rows are told: anomalies, or all.
    """

    name: str
    row: type[BaseModel]
    time: str = ""
    windows: Mapping[str, Windowed] = field(default_factory=dict)
    features: Mapping[str, Rolling] = field(default_factory=dict)
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    tells: Literal["anomalies", "all"] = "anomalies"
    limit: int = 1_000

    def __post_init__(self) -> None:
        fields = set(self.row.model_fields)
        if self.time and self.time not in fields:
            raise Misconfigured(f"the stream {self.name} has its time in {self.time!r}, which its rows do not have")
        measures: list[Measure] = [f.measure for f in self.features.values()]
        measures += [m for windowed in self.windows.values() for m in windowed.measures.values()]
        asked = {m.column for m in measures if m.column is not None}
        judged = {column for detector in self.detectors.values() for column in detector.columns}
        unknown = (asked - fields) | (judged - fields - set(self.features))
        if unknown:
            raise Misconfigured(f"the rows of the stream {self.name} have no {', '.join(sorted(unknown))}")
        if not (self.windows or self.detectors or (self.features and self.tells == "all")):
            raise Misconfigured(f"the stream {self.name} tells nothing: it has neither windows nor detectors")

    @property
    def measures(self) -> list[Measure]:
        """Every measure that a row must be fit for."""
        found: list[Any] = [f.measure for f in self.features.values()]
        return found + [m for windowed in self.windows.values() for m in windowed.measures.values()]

    @property
    def ordered(self) -> bool:
        """Whether rows are waited for and taken in the order of event time: windows alone do not need it."""
        return bool(self.features or self.detectors)
