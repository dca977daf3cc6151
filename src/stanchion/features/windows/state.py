"""The online side of windows: one packed value for each entity and view, kept up to date event by event.

It holds the newest rows, tiles of each window, and the events themselves. A reader adds up tiles and never looks at
events; a writer looks at events, so that late ones, repetitions and corrections count exactly as they should. In
whatever order events come, the value read at a moment is the one SQL gives for it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ...core.errors import InvalidInput, NotTrustworthy
from ...core.values import Json
from ..contract.serving import Status
from .plan import Group, Plan
from .tiles import Tile, Tiles, Window
from .values import outer, rank

SLACK = 60_000_000
"""Readers may be this many microseconds behind the clock of a writer: what they need is kept."""
_AHEAD = 1_000
_SECOND = 1_000_000
_KEPT_SECONDS = 60.0
_LONGEST_SECONDS = 50 * 365 * 86_400.0


class Occurrence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of a source for one entity. Moments are microseconds; `plain` and `columns` follow the plan's."""

    at: int
    known: int
    event: str
    plain: tuple[Any, ...]
    columns: tuple[Any, ...]


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row that is, or may become, the newest."""

    at: int
    known: int
    event: str
    values: tuple[Any, ...]


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event in a window, in the version known last."""

    at: int
    event: str
    known: int
    values: tuple[Any, ...]


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is stored. `dropped` is the latest event time that was given up because there were too many events."""

    heads: list[Head]
    groups: list[Tiles]
    dropped: int | None
    events: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Found:
    """What a view knows of one entity at a moment. `values` is empty unless the status is present."""

    status: Status
    values: dict[str, Json]
    at: int | None


_HELD = msgspec.msgpack.Decoder(Held)
_EVENTS = msgspec.msgpack.Decoder(list[Event])
_ENCODER = msgspec.msgpack.Encoder()


class State:
    """Reads and writes the packed values of one view."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._windows = tuple(Window(group) for group in plan.groups)
        none = [window.packed([]) for window in self._windows]
        self._empty = Held([], none, None, msgspec.Raw(_ENCODER.encode([])))

    def merge(self, content: bytes | None, rows: Sequence[Occurrence], now: int) -> bytes | None:
        """What is to be stored once the rows have come; None if they change nothing.

        Raises InvalidInput if too many rows lie in the future, NotTrustworthy if what is stored is not ours.
        """
        held = self._empty if content is None else _held(content)
        heads = _heads(held.heads, rows, now)
        if not self.plan.groups:
            return None if heads == held.heads else _ENCODER.encode(Held(heads, [], None, held.events))
        made = self._events(held, rows, now)
        if made is None:
            return None if heads == held.heads else _ENCODER.encode(Held(heads, held.groups, held.dropped, held.events))
        return _ENCODER.encode(Held(heads, *made))

    def read(self, key: str, content: bytes | None, at: int) -> Found:
        """The view's values of an entity as they are at `at`. Raises NotTrustworthy."""
        if content is None:
            return Found("unknown", {}, None)
        held = _held(content)
        head = next((each for each in reversed(held.heads) if each.at <= at), None)
        if head is None:
            return Found("unknown", {}, None)
        if head.at < at - self.plan.ttl:
            return Found("stale", {}, head.at)
        values: dict[str, Json] = {self.plan.entity: key} if self.plan.has_key else {}
        for column, value in zip(self.plan.plain, head.values, strict=True):
            values[column.name] = outer(column.kind, value)
        if self.plan.groups and not self._aggregated(held, at, values):
            return Found("unknown", {}, None)
        return Found("present", values, head.at)

    def lifetime(self, content: bytes, now: int) -> float:
        """For how many seconds the value must be kept: until no reader and no later event can need it."""
        newest = _held(content).heads[-1].at
        windows = [group.width + group.hop + SLACK for group in self.plan.groups]
        seconds = (newest + max([2 * self.plan.ttl, *windows]) - now) / _SECOND
        return min(max(_KEPT_SECONDS, seconds), _LONGEST_SECONDS)

    def _aggregated(self, held: Held, at: int, values: dict[str, Json]) -> bool:
        """Fill in the aggregates; False if there are too many events to be exact."""
        far_ends = [group.far_end(at) for group in self.plan.groups]
        reach = min(far_ends)
        if held.dropped is not None and held.dropped >= reach:
            return False
        for group, window, far, tiles in zip(self.plan.groups, self._windows, far_ends, held.groups, strict=True):
            # Tiles are in the order of time: where the last one has ended, all have.
            if tiles.lasts and tiles.lasts[-1] > at:
                tiles = self._until(held, group, window, tiles, at)
            first = bisect_left(tiles.indexes, far // group.hop)
            if far == reach and sum(tiles.events[first:]) > self.plan.limit:
                return False
            values.update(window.finished(tiles, first))
        return True

    @staticmethod
    def _until(held: Held, group: Group, window: Window, tiles: Tiles, at: int) -> Tiles:
        """The tiles without what is yet to come: those that hold some of it are added up anew."""
        events = _EVENTS.decode(held.events)
        chosen: list[Tile] = []
        for tile in tiles.rows():
            if tile.last <= at:
                chosen.append(tile)
            elif some := [event for event in _of(events, tile.index, group) if event.at <= at]:
                chosen.append(window.summed(tile.index, [event.values for event in some], some[-1].at))
        return window.packed(chosen)

    def _events(
        self, held: Held, rows: Sequence[Occurrence], now: int
    ) -> tuple[list[Tiles], int | None, msgspec.Raw] | None:
        """Tiles, bound and events with the rows counted in; None if that changes nothing."""
        floor = self.plan.reach(now - SLACK)
        dropped = held.dropped if held.dropped is not None and held.dropped >= floor else None
        oldest = floor if dropped is None else dropped + 1
        stored = _EVENTS.decode(held.events)
        known = {(event.at, event.event): event for event in stored}
        touched: set[int] = set()
        for row in rows:
            if row.at < oldest:
                continue
            new, old = Event(row.at, row.event, row.known, row.columns), known.get((row.at, row.event))
            if old is None or _version(old) < _version(new):
                known[row.at, row.event] = new
                if old is None or old.values != new.values:
                    touched.add(row.at)
        if not touched and all(event is known[event.at, event.event] for event in stored):
            return None
        events = sorted((event for event in known.values() if event.at >= oldest), key=_moment)
        past = bisect_right(events, now, key=_moment)
        if past > self.plan.limit:
            dropped = events[past - self.plan.limit - 1].at
            events = events[bisect_right(events, dropped, key=_moment) :]
        if len(events) - bisect_right(events, now, key=_moment) > self.plan.limit + _AHEAD:
            raise InvalidInput("too many rows of one entity lie in the future")
        oldest = floor if dropped is None else dropped + 1
        groups = [
            window.packed(self._tiles(group, window, tiles.rows(), events, touched, oldest))
            for group, window, tiles in zip(self.plan.groups, self._windows, held.groups, strict=True)
        ]
        return groups, dropped, msgspec.Raw(_ENCODER.encode(events))

    @staticmethod
    def _tiles(
        group: Group, window: Window, tiles: Sequence[Tile], events: Sequence[Event], touched: set[int], oldest: int
    ) -> list[Tile]:
        """The group's tiles with those of the touched moments added up anew, and without what no window reaches."""
        kept = {tile.index: tile for tile in tiles}
        for index in {at // group.hop for at in touched}:
            kept.pop(index, None)
            if some := _of(events, index, group):
                kept[index] = window.summed(index, [event.values for event in some], some[-1].at)
        # A tile that begins before `oldest` has lost events, or none of its events can be read any more.
        return sorted(
            (tile for tile in kept.values() if tile.index * group.hop >= oldest or tile.last >= oldest), key=_index
        )


def _heads(held: Sequence[Head], rows: Sequence[Occurrence], now: int) -> list[Head]:
    """The newest row for readers behind the clock, the newest for others, and those yet to come."""
    given = [*held, *(Head(row.at, row.known, row.event, row.plain) for row in rows)]
    ranked = sorted({_head_rank(head): head for head in given}.values(), key=_head_rank)
    behind = bisect_right(ranked, now - SLACK, key=_moment)
    past = bisect_right(ranked, now, key=_moment)
    if len(ranked) - past > _AHEAD:
        raise InvalidInput("too many rows of one entity lie in the future")
    kept = [*ranked[max(0, behind - 1) : behind], *ranked[max(behind, past - 1) : past]]
    return [*kept, *ranked[past:]]


def _of(events: Sequence[Event], index: int, group: Group) -> Sequence[Event]:
    start = bisect_left(events, index * group.hop, key=_moment)
    return events[start : bisect_left(events, (index + 1) * group.hop, key=_moment)]


def _held(content: bytes) -> Held:
    try:
        return _HELD.decode(content)
    except msgspec.MsgspecError as error:
        raise NotTrustworthy("a stored feature value is not readable") from error


def _moment(row: Head | Event) -> int:
    return row.at


def _index(tile: Tile) -> int:
    return tile.index


def _version(event: Event) -> tuple[Any, ...]:
    return (event.known, rank(event.values))


def _head_rank(head: Head) -> tuple[Any, ...]:
    return (head.at, head.known, head.event, rank(head.values))
