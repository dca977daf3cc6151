"""Questions with their vectors and answers, by partition: nothing is ever found in another one than its own."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contract.calls import Reply

Vector = NDArray[np.float32]
_MOST_PARTITIONS = 1_000
_MOST_ENTRIES = 500


class Near(NamedTuple):
    """A kept question, how near it is (the cosine), and its answer."""

    text: str
    cosine: float
    reply: Reply


class _Entry(NamedTuple):
    text: str
    vector: Vector
    reply: Reply
    until: float


@dataclass(slots=True)
class _Partition:
    entries: list[_Entry] = field(default_factory=list)


class Kept:
    """At most 1,000 partitions of at most 500 questions, the ones used last."""

    def __init__(self) -> None:
        self._partitions: OrderedDict[str, _Partition] = OrderedDict()

    def nearest(self, place: str, vector: Vector, now: float) -> Near | None:
        """The nearest question that is still kept; a vector of another length finds none."""
        partition = self._partitions.get(place)
        if partition is None:
            return None
        self._partitions.move_to_end(place)
        entries = partition.entries = [e for e in partition.entries if e.until > now and e.vector.shape == vector.shape]
        if not entries:
            return None
        cosines = np.stack([entry.vector for entry in entries]) @ vector
        best = int(cosines.argmax())
        return Near(entries[best].text, float(cosines[best]), entries[best].reply)

    def keep(self, place: str, text: str, vector: Vector, reply: Reply, until: float) -> None:
        """Keep an answer; the oldest one of a full partition goes."""
        partition = self._partitions.setdefault(place, _Partition())
        self._partitions.move_to_end(place)
        partition.entries.append(_Entry(text, vector, reply, until))
        del partition.entries[:-_MOST_ENTRIES]
        while len(self._partitions) > _MOST_PARTITIONS:
            self._partitions.popitem(last=False)
