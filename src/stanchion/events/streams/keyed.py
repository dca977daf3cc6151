"""One key of a stream: its open windows, the rows that wait for their turn, its past and its detectors."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from ...core.values import Json
from .detectors.detector import vector
from .panes import Closed, Pane, Panes, Shape
from .rolling import History, Past
from .spec import StreamSpec

_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
BEGINNING = -(1 << 62)
"""Before all event time."""


class Waiting(msgspec.Struct, array_like=True, order=True):
    """A row that came before its turn; `number` keeps rows of one moment in the order in which they came."""

    at: int
    number: int
    source: str
    event: str
    chain: str
    row: dict[str, Any]


class Kept(msgspec.Struct, array_like=True):
    """The state of a key as it is stored."""

    newest: int = BEGINNING
    floor: int = BEGINNING
    number: int = 0
    waiting: list[Waiting] = []
    windows: dict[str, list[Pane]] = {}
    past: list[Past] = []
    detectors: dict[str, Any] = {}
    seen: int = 0
    wakes: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """A row with its features and scores; `anomalies` are the detectors whose threshold it reached."""

    waiting: Waiting
    features: Mapping[str, Json]
    scores: Mapping[str, float | None]
    anomalies: tuple[str, ...]


class Keyed:
    """The state of one key, taken up and put away."""

    def __init__(self, spec: StreamSpec, stored: bytes | None) -> None:
        self._spec = spec
        kept = _DECODER.decode(stored) if stored is not None else Kept()
        self._newest, self._floor = kept.newest, kept.floor
        self.seen, self._wakes = kept.seen, kept.wakes
        self._number, self._waiting = kept.number, kept.waiting
        self._panes = {
            name: Panes(
                Shape(each.windows, each.measures, each.allowed // _MICROSECOND), list(kept.windows.get(name, []))
            )
            for name, each in spec.windows.items()
        }
        self._history = History(spec.features, kept.past, most=spec.limit)
        self._kept_detectors = kept.detectors
        self._scorers = {name: each.scorer(kept.detectors.get(name)) for name, each in spec.detectors.items()}

    @property
    def watermark(self) -> int:
        """How far event time has come here."""
        return max(self._spec.progress.after(self._newest), self._floor)

    def lift(self, watermark: int) -> None:
        """Go on with the others, for want of rows of its own."""
        self._floor = max(self._floor, watermark)

    def woken(self, moment: int) -> None:
        """The moment has come that `sleep` named: a key silent for too long goes on with the clock."""
        silence = self._spec.progress.silence
        if silence is not None and self.seen and moment >= self._wakes:
            self._wakes = 0
            self.lift(self._spec.progress.after(self._newest) + moment - self.seen - silence // _MICROSECOND)

    def sleep(self, now: int) -> int | None:
        """By the clock, when something happens here if no row comes; None: nothing will, or the moment is named."""
        if self._spec.progress.silence is None or not self.seen:
            return None
        silence = self._spec.progress.silence // _MICROSECOND
        # A moment that is long past was named to somebody who is gone, such as a consumer that was removed.
        if self._wakes > now - silence or (due := self.due) is None:
            return None
        ahead = max(0, due - self._spec.progress.after(self._newest))
        # Not at once where the clock of whoever woke it is ahead of this one.
        self._wakes = max(self.seen + silence + ahead, now + _SECOND)
        return self._wakes

    def add(self, row: Waiting, *, now: int) -> tuple[bool, list[tuple[str, Closed]]]:
        """Take a row in that comes now. Whether it was late for anything, and the windows that it revised."""
        late, revised, watermark = False, [], self.watermark
        self.seen = now
        self._newest = max(self._newest, row.at)
        for name, panes in self._panes.items():
            taken, told = panes.add(row.at, row.row, watermark)
            late |= not taken
            revised += [(name, each) for each in told]
        if self._spec.ordered:
            if row.at < watermark:
                # Its turn has passed: it is part of the past from now on, and is not scored itself.
                late = True
                self._history.add(row.at, row.row)
            else:
                self._number += 1
                row.number = self._number
                insort(self._waiting, row)
        return late, revised

    def advance(self) -> Iterator[tuple[str, Closed] | Scored]:
        """What the watermark brings: windows that close, then rows whose turn has come, in event time."""
        watermark = self.watermark
        for name, panes in self._panes.items():
            for closed in panes.close(watermark):
                yield name, closed
        while (group := self._next(watermark)) is not None:
            # Rows of one moment see each other: that is how training sets have it.
            for row in group:
                self._history.add(row.at, row.row)
            features = self._history.read(group[0].at)
            for row in group:
                yield self._scored(row, features)
        self._history.forget(watermark)

    @property
    def due(self) -> int | None:
        """The watermark at which something happens here next; None: nothing will."""
        moments = [panes.due for panes in self._panes.values()]
        moments += [self._waiting[0].at + 1] if self._waiting else []
        return min((each for each in moments if each is not None), default=None)

    def stored(self) -> bytes:
        """The state, to be taken up again."""
        detectors = {name: each.kept() for name, each in self._scorers.items()}
        windows = {name: panes.kept for name, panes in self._panes.items()}
        return _ENCODER.encode(
            Kept(
                self._newest,
                self._floor,
                self._number,
                self._waiting,
                windows,
                self._history.kept,
                detectors,
                self.seen,
                self._wakes,
            )
        )

    def _next(self, watermark: int) -> list[Waiting] | None:
        if not self._waiting or not self._turn(self._waiting[0].at, watermark):
            return None
        end = 1
        while end < len(self._waiting) and self._waiting[end].at == self._waiting[0].at:
            end += 1
        group, self._waiting = self._waiting[:end], self._waiting[end:]
        return group

    def _turn(self, at: int, watermark: int) -> bool:
        # Without features rows of one moment need not wait for each other.
        return at < watermark or (at == watermark and not self._spec.features)

    def _scored(self, row: Waiting, features: Mapping[str, Json]) -> Scored:
        scores: dict[str, float | None] = {}
        for name, detector in self._spec.detectors.items():
            values = vector(detector.columns, {**row.row, **features})
            scores[name] = None if values is None else self._scorers[name].score(values)
        over = [n for n, score in scores.items() if score is not None and score >= self._spec.detectors[n].threshold]
        return Scored(row, features, scores, tuple(over))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Kept)
