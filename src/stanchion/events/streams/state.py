"""The state of a stream in the house's database, read and written within the transaction of the rows' handling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..backends.statements import many, rows
from .keyed import BEGINNING, Keyed
from .spec import StreamSpec
from .warm import Warm
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

    def __init__(self, connection: Connection, tenant: str, spec: StreamSpec, warm: Warm, now: int) -> None:
        self._connection, self._tenant, self._spec, self._warm = connection, tenant, spec, warm
        self.now = now
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
            self._keys[key] = (slot, self._taken_up(key, bytes(found[0][0]) if found else None))
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
            (self._tenant, self._spec.name, slot, watermark, self.now - idle),
        )
        for (key,) in found:
            if key not in self._keys:
                keyed = self.key(key, slot)
                keyed.lift(watermark)
                yield key, keyed

    def sleepers(self) -> dict[str, int]:
        """The keys that are to be woken if they stay silent, each with the moment."""
        found = {key: keyed.sleep(self.now) for key, (_, keyed) in self._keys.items()}
        return {key: at for key, at in found.items() if at is not None}

    def save(self) -> None:
        """Write what has changed."""
        times = [(self._tenant, self._spec.name, slot, newest) for slot, newest in self._newest.items()]
        many(self._connection, _SAVE_TIME, times)
        found = []
        for key, (slot, keyed) in self._keys.items():
            stored = keyed.stored()
            found.append((self._tenant, self._spec.name, key, slot, keyed.due, keyed.seen or self.now, stored))
            self._warm.put(self._tenant, key, stored, keyed)
        many(self._connection, _SAVE_KEY, found)

    def _taken_up(self, key: str, stored: bytes | None) -> Keyed:
        warm = None if stored is None else self._warm.take(self._tenant, key, stored)
        return Keyed(self._spec, stored) if warm is None else warm

    def _newest_of(self, slot: int) -> int:
        if slot not in self._newest:
            found = rows(
                self._connection,
                "SELECT newest FROM events_stream_times WHERE tenant = ? AND stream = ? AND slot = ?",
                (self._tenant, self._spec.name, slot),
            )
            self._newest[slot] = int(found[0][0]) if found else BEGINNING
        return self._newest[slot]
