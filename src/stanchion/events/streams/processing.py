"""Runs a stream: rows, state, results and the note that the rows are handled commit together, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from ...core.clock import micros, moment
from ...core.context import Context
from ...core.errors import InvalidInput
from ...core.values import Json
from ..contract import CAUSATION, CORRELATION, PARTITION_KEY, Commit, Event, Value
from ..ports import SLOTS
from .keyed import Keyed, Scored, Waiting
from .measures import fresh, take
from .panes import Closed
from .spec import StreamSpec

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .state import States

_LONGEST_ID = 200
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the stream and the event that it came by."""

    event: Event
    at: int
    values: dict[str, Any]


class Stream:
    """A declared stream as a handler of events.

    Whoever reads a slot of keys is alone with it, so its state is nobody else's meanwhile.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec

    async def handle(self, ctx: Context, events: Sequence[Event], commit: Commit) -> None:
        """Take rows in, in one transaction with their handling. Raises InvalidInput for a row that cannot be one."""
        rows = [self._row(event) for event in events]
        commit.write(lambda connection: self.apply(connection, ctx, rows))

    def apply(self, connection: Connection, ctx: Context, rows: Sequence[Row]) -> None:
        """Bring the state up to date and stage what comes of it, in the caller's transaction."""
        from ..outbox import stage  # engines are loaded where they are used, not with the declaration
        from ..packing import lane_of
        from .state import States

        states = States(connection, ctx.tenant, self.spec)
        told: list[Event] = []
        slots: dict[int, None] = {}
        for row in rows:
            slot = lane_of(ctx.tenant, row.event.key, "normal") % SLOTS
            slots[slot] = None
            told += self._take(states, slot, row)
        for slot in slots:
            for key, keyed in states.due(slot):
                told += self._advanced(key, keyed)
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
        late, revised = keyed.add(waiting)
        states.came(slot, row.at)
        told += [self._closed(key, name, closed) for name, closed in revised]
        if late:
            value: dict[str, Any] = {"key": key, "at": _text(row.at), "watermark": _text(watermark), "row": row.values}
            told.append(self._event("late", key, value, row.event.id, cause=(row.event.id, chain)))
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
        return self._event("closed", key, value, f"{name}.{closed.start}.{closed.end}.{closed.revision}")

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
        return self._event(kind, key, value, f"{scored.waiting.source}.{scored.waiting.event}", cause=cause)

    def _event(
        self, kind: str, key: str, value: Mapping[str, Json], own: str, *, cause: tuple[str, str] | None = None
    ) -> Event:
        extensions: dict[str, Value] = {PARTITION_KEY: key}
        if cause is not None:
            extensions |= {CAUSATION: cause[0], CORRELATION: cause[1]}
        # The id follows from what is told, so that telling it again tells nothing new.
        made = Event.of(f"{self.spec.name}.{kind}", f"stream/{self.spec.name}", dict(value), subject=key, **extensions)
        return _named(made, f"{key}.{kind}.{own}")

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


def _named(event: Event, name: str) -> Event:
    short = name if len(name) <= _LONGEST_ID else hashlib.sha256(name.encode()).hexdigest()
    return replace(event, id=short)


def _text(at: int) -> str:
    return moment(at).isoformat()
