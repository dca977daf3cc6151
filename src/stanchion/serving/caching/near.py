"""Stored inputs that are near enough: numbers within their tolerance, or a text that means the same.

Inputs that differ in any other field lie in other buckets. Within a bucket all stored inputs are compared: with some
hundreds of them that is microseconds, and no index can be wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Vectors = NDArray[numpy.float64]

_PER_BUCKET = 512


class _Bucket:
    """The vectors of one bucket, in rows that are used again when their entry goes."""

    __slots__ = ("count", "keys", "rows")

    def __init__(self, width: int) -> None:
        import numpy

        self.keys: list[str] = []
        self.rows: Vectors = numpy.empty((16, width))
        self.count = 0

    def add(self, key: str, vector: Sequence[float]) -> str | None:
        """Store a vector; the key that had to go for it."""
        import numpy

        gone = None
        if key in self.keys:
            place = self.keys.index(key)
        elif self.count < _PER_BUCKET:
            place = self.count
            if place == len(self.rows):
                self.rows = numpy.concatenate([self.rows, numpy.empty_like(self.rows)])
            self.keys.append(key)
            self.count += 1
        else:
            # The oldest place is taken again: entries stand in the order of arrival, round and round.
            gone = self.keys.pop(0)
            self.rows[:-1] = self.rows[1:]
            place = self.count - 1
            self.keys.append(key)
        self.rows[place] = vector
        return gone

    def drop(self, key: str) -> None:
        if key in self.keys:
            place = self.keys.index(key)
            del self.keys[place]
            self.rows[place : self.count - 1] = self.rows[place + 1 : self.count]
            self.count -= 1


class Near:
    """Keys of stored answers by bucket and vector.

    With `tolerances`, the nearest key of those whose every number is within its tolerance, measured in tolerances;
    without, the key of the most similar vector whose cosine is at least `least`.
    """

    def __init__(self, *, buckets: int, tolerances: Sequence[float] = (), least: float = 1.0) -> None:
        self._most = buckets
        self._tolerances = list(tolerances)
        self._least = least
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._homes: dict[str, str] = {}

    def add(self, bucket: str, key: str, vector: Sequence[float]) -> None:
        """Remember that the answer under `key` is that of this vector."""
        scaled = self._scaled(vector)
        home = self._buckets.get(bucket)
        if home is None:
            home = self._buckets[bucket] = _Bucket(len(scaled))
        self._buckets.move_to_end(bucket)
        self._homes[key] = bucket
        gone = home.add(key, scaled)
        if gone is not None:
            self._homes.pop(gone, None)
        while len(self._buckets) > self._most:
            _, former = self._buckets.popitem(last=False)
            for each in former.keys:
                self._homes.pop(each, None)

    def find(self, bucket: str, vector: Sequence[float]) -> str | None:
        """The key of the best stored vector that is near enough, or None."""
        home = self._buckets.get(bucket)
        if home is None or not home.count:
            return None
        import numpy

        wanted, rows = numpy.asarray(self._scaled(vector)), home.rows[: home.count]
        if self._tolerances:
            distances = numpy.abs(rows - wanted).max(axis=1)
            best = int(distances.argmin())
            return home.keys[best] if distances[best] <= 1.0 else None
        cosines = rows @ wanted
        best = int(cosines.argmax())
        return home.keys[best] if cosines[best] >= self._least else None

    def drop(self, key: str) -> None:
        """Forget a key whose answer is gone."""
        bucket = self._homes.pop(key, None)
        if bucket is not None and bucket in self._buckets:
            self._buckets[bucket].drop(key)

    def clear(self) -> None:
        """Forget all."""
        self._buckets.clear()
        self._homes.clear()

    def _scaled(self, vector: Sequence[float]) -> Any:
        if self._tolerances:
            return [value / tolerance for value, tolerance in zip(vector, self._tolerances, strict=True)]
        import numpy

        array = numpy.asarray(vector, dtype=numpy.float64)
        length = float(numpy.linalg.norm(array))
        return array / length if length > 0 else array
