"""What a system declares of streams: windows, features and detectors over events, in event time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel

from ..core.errors import Misconfigured
from ..events import Detector, HandlerSpec, Measure, Progress, Rolling, Stream, StreamSpec, Windowed
from .events import DeclaredEvent
from .features import FeatureView
from .handles import Bound

H = TypeVar("H", bound=Bound)
BATCH = 200


class DeclaredStream(Bound):
    """A declared stream. Handlers name what it tells by `closed`, `anomaly`, `scored` and `late`."""

    def __init__(self, spec: StreamSpec, types: tuple[str, ...]) -> None:
        super().__init__(f"stream:{spec.name}")
        self.spec = spec
        stream = Stream(spec)
        # One batch at a time: what several did at once would be one another's state.
        self._handler = HandlerSpec(
            name=spec.name,
            types=(*types, *stream.wakes),
            function=stream.handle,
            batch=BATCH,
            concurrency=1,
        )

    @property
    def closed(self) -> str:
        """The type of events that tell a window's result."""
        return f"{self.spec.name}.closed"

    @property
    def anomaly(self) -> str:
        """The type of events that tell a row which a detector found strange."""
        return f"{self.spec.name}.anomaly"

    @property
    def scored(self) -> str:
        """The type of events that tell any other row, where all are told."""
        return f"{self.spec.name}.scored"

    @property
    def late(self) -> str:
        """The type of events that tell a row which came too late for something."""
        return f"{self.spec.name}.late"

    def specs(self) -> Sequence[object]:
        return (self._handler,)


class StreamDeclarations:
    """The part of System that declares streams."""

    def _keep(self, handle: H) -> H:
        raise NotImplementedError

    def stream(
        self,
        name: str,
        *types: str | DeclaredEvent[Any],
        row: type[BaseModel],
        time: str = "",
        windows: Mapping[str, Windowed] | None = None,
        features: FeatureView[Any] | Mapping[str, Rolling] | None = None,
        detectors: Mapping[str, Detector] | None = None,
        lag: timedelta = timedelta(0),
        idle: timedelta = timedelta(seconds=10),
        silence: timedelta | None = timedelta(days=1),
        tells: Literal["anomalies", "all"] = "anomalies",
    ) -> DeclaredStream:
        """Declare a stream over events of these types; see `stanchion.events.StreamSpec`.

        With a declared feature view over a source of the same rows, its windows are the stream's features: what a
        training set has at a row's moment is what the stream has. Rows may come `lag` behind the newest of their key;
        those that come later are told as late. A key without rows for `idle` goes on with the others, and one without
        rows for `silence` with the clock, so that its windows close; None: they stay open until a row comes.
        """
        rolling = _rolling(name, features, row) if isinstance(features, FeatureView) else dict(features or {})
        spec = StreamSpec(
            name=name,
            row=row,
            time=time,
            windows=dict(windows or {}),
            features=rolling,
            detectors=dict(detectors or {}),
            progress=Progress(lag, idle, silence),
            tells=tells,
        )
        return self._keep(DeclaredStream(spec, tuple(each if isinstance(each, str) else each.type for each in types)))


def _rolling(name: str, view: FeatureView[Any], row: type[BaseModel]) -> dict[str, Rolling]:
    source = view.spec.source
    if source is None or source.row is not row:
        raise Misconfigured(f"the stream {name} and the view {view.name} must have rows of one type")
    found = {}
    for field, made in view.spec.aggregates.items():
        whole = made.column is not None and _is_whole(row, made.column)
        found[field] = Rolling(Measure(made.function, made.column, whole), made.window, made.hop)
    return found


def _is_whole(row: type[BaseModel], column: str) -> bool:
    kind = row.model_fields[column].annotation
    return kind is int or (int in get_args(kind) and float not in get_args(kind))
