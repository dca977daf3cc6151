"""The state of a stream in the house's database, read and written within the transaction of the rows' handling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..backends.statements import many, rows, run
from .keyed import BEGINNING, Keyed
from .spec import StreamSpec
from .watermark import MICROSECOND

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SAVE_KEY = (
    "INSERT INTO events_stream_keys (tenant, stream, key, slot, due, seen, state) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (tenant, stream, key) DO UPDATE SET due = excluded.due, seen = excluded.seen, state = excluded.state"
)
_SAVE_TIME = (
    "INSERT INTO events_stream_times (tenant, stream, slot, newest) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (tenant, stream, slot) DO UPDATE SET newest = excluded.newest"
)


class States:
    """What one transaction has read of a stream's state, and will write."""

    def __init__(self, connection: Connection, tenant: str, spec: StreamSpec) -> None:
        self._connection, self._tenant, self._spec = connection, tenant, spec
        self._now = time.time_ns() // 1_000
        self._newest: dict[int, int] = {}
        self._keys: dict[str, tuple[int, Keyed]] = {}

    def came(self, slot: int, at: int) -> None:
        """A row of this event time has come."""
        self._newest[slot] = max(self._newest_of(slot), at)

    def key(self, key: str, slot: int) -> Keyed:
        """The state of a key."""
        if key not in self._keys:
            found = rows(
                self._connection,
                "SELECT state FROM events_stream_keys WHERE tenant = ? AND stream = ? AND key = ?",
                (self._tenant, self._spec.name, key),
            )
            self._keys[key] = (slot, Keyed(self._spec, bytes(found[0][0]) if found else None))
        return self._keys[key][1]

    def due(self, slot: int) -> Iterator[tuple[str, Keyed]]:
        """The keys of the slot that have rows in this transaction, and those that have had none for long enough."""
        yield from [(key, keyed) for key, (own, keyed) in self._keys.items() if own == slot]
        watermark = self._spec.progress.after(self._newest_of(slot))
        idle = self._spec.progress.idle // MICROSECOND
        found = rows(
            self._connection,
            "SELECT key FROM events_stream_keys "
            "WHERE tenant = ? AND stream = ? AND slot = ? AND due <= ? AND seen <= ? ORDER BY key",
            (self._tenant, self._spec.name, slot, watermark, self._now - idle),
        )
        for (key,) in found:
            if key not in self._keys:
                keyed = self.key(key, slot)
                keyed.lift(watermark)
                yield key, keyed

    def save(self) -> None:
        """Write what has changed."""
        times = [(self._tenant, self._spec.name, slot, newest) for slot, newest in self._newest.items()]
        many(self._connection, _SAVE_TIME, times)
        many(
            self._connection,
            _SAVE_KEY,
            [
                (self._tenant, self._spec.name, key, slot, keyed.due, self._now, keyed.stored())
                for key, (slot, keyed) in self._keys.items()
            ],
        )

    def _newest_of(self, slot: int) -> int:
        if slot not in self._newest:
            found = run(
                self._connection,
                "SELECT newest FROM events_stream_times WHERE tenant = ? AND stream = ? AND slot = ?",
                (self._tenant, self._spec.name, slot),
            ).fetchone()
            self._newest[slot] = int(found[0]) if found else BEGINNING
        return self._newest[slot]
