"""Runs a stream: rows, state, results and the note that the rows are handled commit together, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from ...core.clock import Clock, SystemClock, micros, moment
from ...core.context import Context
from ...core.errors import InvalidInput
from ..contract import CORRELATION, Commit, Event
from ..ports import SLOTS
from .keyed import Keyed, Scored, Waiting
from .measures import fresh, take
from .panes import Closed
from .spec import StreamSpec
from .telling import tell
from .waking import keep, moment_of
from .warm import Warm

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .state import States

_AT_ONCE = 500
_SKEW = 60_000_000
"""By how much the clock of whoever published a wake may be ahead of this one, in microseconds."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the stream and the event that it came by."""

    event: Event
    at: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wake:
    """The word that a key may have been silent until this moment, by the clock."""

    event: Event
    at: int


class Stream:
    """A declared stream as a handler of events: of rows, and of `wakes`, by which the stream wakes keys of its own.

    Whoever reads a slot of keys is alone with it, so its state is nobody else's meanwhile.
    """

    def __init__(self, spec: StreamSpec, clock: Clock | None = None) -> None:
        self.spec = spec
        self._clock = clock or SystemClock()
        self._warm = Warm()

    @property
    def wakes(self) -> tuple[str, ...]:
        """The types that the handler takes besides those of the rows; none where keys may be silent for ever."""
        return () if self.spec.progress.silence is None else (f"{self.spec.name}.silent",)

    async def handle(self, ctx: Context, events: Sequence[Event], commit: Commit) -> None:
        """Take rows in, in one transaction with their handling. Raises InvalidInput for a row that cannot be one."""
        rows = [self._read(event) for event in events]
        commit.write(lambda connection: self.apply(connection, ctx, rows))

    def apply(self, connection: Connection, ctx: Context, rows: Sequence[Row | Wake]) -> None:
        """Bring the state up to date and stage what comes of it, in the caller's transaction."""
        from ..outbox import stage  # engines are loaded where they are used, not with the declaration
        from ..packing import lane_of
        from .state import States

        now = micros(self._clock.now())
        states = States(connection, ctx.tenant, self.spec, self._warm, now)
        told: list[Event] = []
        slots: dict[int, None] = {}
        for row in rows:
            slot = lane_of(ctx.tenant, row.event.key, "normal") % SLOTS
            slots[slot] = None
            if isinstance(row, Row):
                told += self._take(states, slot, row)
            else:
                states.key(row.event.key, slot).woken(min(row.at, now + _SKEW))
        for slot in slots:
            for key, keyed in states.due(slot):
                told += self._advanced(key, keyed)
        keep(connection, ctx, self.spec.name, states.sleepers(), now=now)
        states.save()
        for start in range(0, len(told), _AT_ONCE):
            stage(connection, ctx, told[start : start + _AT_ONCE])

    def _take(self, states: States, slot: int, row: Row) -> list[Event]:
        key = row.event.key
        chain = str(row.event.extensions.get(CORRELATION, "") or row.event.id)
        waiting = Waiting(row.at, 0, row.event.source, row.event.id, chain, row.values)
        keyed = states.key(key, slot)
        # What was due before a row that comes late is told without it, however rows are batched.
        watermark = keyed.watermark
        told = list(self._advanced(key, keyed)) if row.at < watermark else []
        late, revised = keyed.add(waiting, now=states.now)
        states.came(slot, row.at)
        told += [self._closed(key, name, closed) for name, closed in revised]
        if late:
            value: dict[str, Any] = {"key": key, "at": _text(row.at), "watermark": _text(watermark), "row": row.values}
            told.append(tell(self.spec.name, "late", key, value, row.event.id, cause=(row.event.id, chain)))
        return told

    def _advanced(self, key: str, keyed: Keyed) -> Iterator[Event]:
        for found in keyed.advance():
            if not isinstance(found, Scored):
                yield self._closed(key, *found)
            elif found.anomalies or self.spec.tells == "all":
                yield self._scored(key, found)

    def _closed(self, key: str, name: str, closed: Closed) -> Event:
        value: dict[str, Any] = {
            "key": key,
            "window": name,
            "start": _text(closed.start),
            "end": _text(closed.end),
            "rows": closed.rows,
            "revision": closed.revision,
            "values": dict(closed.values),
            "merged": [{"start": _text(each.start), "end": _text(each.end)} for each in closed.merged],
        }
        own = f"{name}.{closed.start}.{closed.end}.{closed.revision}"
        return tell(self.spec.name, "closed", key, value, own)

    def _scored(self, key: str, scored: Scored) -> Event:
        value: dict[str, Any] = {
            "key": key,
            "at": _text(scored.waiting.at),
            "row": scored.waiting.row,
            "features": dict(scored.features),
            "scores": dict(scored.scores),
            "anomalies": list(scored.anomalies),
        }
        kind = "anomaly" if scored.anomalies else "scored"
        cause = (scored.waiting.event, scored.waiting.chain)
        return tell(self.spec.name, kind, key, value, f"{scored.waiting.source}.{scored.waiting.event}", cause=cause)

    def _read(self, event: Event) -> Row | Wake:
        return Wake(event, moment_of(event)) if event.type in self.wakes else self._row(event)

    def _row(self, event: Event) -> Row:
        if event.data is None:
            raise InvalidInput("the event has no data")
        try:
            given = self.spec.row.model_validate_json(event.data)
        except ValueError as error:
            raise InvalidInput(f"the event's data are no row of {self.spec.name}: {error}") from error
        values = given.model_dump(mode="json")
        for measure in self.spec.measures:
            take(measure, fresh(measure), values)
        at = getattr(given, self.spec.time) if self.spec.time else event.time
        if at is None:
            raise InvalidInput(f"the event tells no time, which the stream {self.spec.name} goes by")
        return Row(event, micros(at if at.tzinfo is not None else at.replace(tzinfo=UTC)), values)


def _text(at: int) -> str:
    return moment(at).isoformat()
