"""What a detector is to a stream: columns in, a score out, and a state that can be put away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ....core.values import Json


class Scorer(Protocol):
    """A detector with the state of one key."""

    def score(self, values: Sequence[float]) -> float | None:
        """How strange the row is (0 and above) by what came before it, which it then becomes part of.

        None while too little has come to say.
        """
        ...

    def kept(self) -> Any:
        """Its state, of plain values and bytes."""
        ...


class Detector(Protocol):
    """A method with its settings: `columns` are what it looks at, in order."""

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def threshold(self) -> float:
        """The score from which on a row is an anomaly."""
        ...

    def scorer(self, kept: Any = None) -> Scorer:
        """The detector with this state, or at its beginning."""
        ...


def vector(columns: Sequence[str], row: Mapping[str, Json]) -> list[float] | None:
    """The columns of a row as numbers; None where one has no finite value, which no detector can judge."""
    found = []
    for name in columns:
        value = row.get(name)
        if not isinstance(value, int | float) or not abs(value) < float("inf"):
            return None
        found.append(float(value))
    return found
