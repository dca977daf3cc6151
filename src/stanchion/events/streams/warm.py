"""Keys as they were put away last, so that they need not be taken up from their bytes again."""

from __future__ import annotations

from threading import Lock

from .keyed import Keyed

MOST_BYTES = 4 * 1024 * 1024


class Warm:
    """The keys that were put away last, with the bytes they were stored as: at most `most` of these in all.

    A key is given out only for the very bytes that the database has. So neither a transaction that is undone nor
    another process that has had the key since can be gone on from what is not stored. In memory a key takes some ten
    times its bytes.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._held = most, 0
        self._keys: dict[tuple[str, str], tuple[bytes, Keyed]] = {}
        self._lock = Lock()  # transactions run in threads

    def take(self, tenant: str, key: str, stored: bytes) -> Keyed | None:
        """The key in this state, which is the caller's alone from now on; None: it is not here."""
        with self._lock:
            found = self._gone((tenant, key))
        return found[1] if found is not None and found[0] == stored else None

    def put(self, tenant: str, key: str, stored: bytes, keyed: Keyed) -> None:
        """Hold the key, which is as these bytes say, and let the oldest go for it."""
        with self._lock:
            self._gone((tenant, key))
            self._keys[tenant, key] = (stored, keyed)
            self._held += len(stored)
            while self._held > self._most:
                self._gone(next(iter(self._keys)))

    def _gone(self, name: tuple[str, str]) -> tuple[bytes, Keyed] | None:
        found = self._keys.pop(name, None)
        self._held -= len(found[0]) if found is not None else 0
        return found
