"""What events need from an engine: a log in lanes, written in order and read by position.

That is all. Leases, positions of consumers, retries, dead letters, delays and deduplication lie above it, in the
house's database, so that they are the same over every engine and commit with a handler's writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

SLOTS = 16
"""By a hash of tenant and key an event belongs to a slot; one process at a time reads a slot for a consumer."""

LANES = 3 * SLOTS
"""Lane = SLOTS x priority (0 high, 1 normal, 2 low) + slot. Entries of one lane keep their order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is appended. `body` holds the whole event and its author, and is given back byte for byte.

    `tenant` and `type` are in the body as well: an engine may use them to read less, or ignore them.
    """

    lane: int
    tenant: str
    type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry in its place. Positions of a lane grow with its entries, from 1 on, in 63 bits, not without gaps."""

    lane: int
    position: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in an order that keeps each lane's own; `reached` says for every lane asked for how far it was read.

    `reached` may lie behind the lane's last entry here, where the engine passed over what was not asked for.
    """

    entries: Sequence[Stored]
    reached: Mapping[int, int]


class Bus(Protocol):
    """A durable log in `LANES` lanes, shared by the processes of a system.

    Every method raises Unavailable where the engine does not answer.
    """

    trusted: bool
    """Whether only the house can write to it. Where not, bodies are sealed above and checked on the way out."""

    single: bool = False
    """Whether the positions of all lanes are numbers of one sequence, so that one number tells a place in all."""

    async def start(self) -> None:
        """Connect, and make what is missing. Called before all else, and again where it raised."""
        ...

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        """The position of each entry, once all survive a crash of the engine's process.

        Entries of one lane stand in the order given and behind those of every call that ended before this one began.
        Where it raises, any of them may have been stored: the caller may append them again, and readers may see two.
        """
        ...

    async def read(
        self,
        after: Mapping[int, int],
        *,
        limit: int,
        wait: float = 0.0,
        tenant: str | None = None,
        types: Sequence[str] = ("*",),
    ) -> Page:
        """At most `limit` entries of the lanes in `after`, each behind its position there (0: from the first kept).

        Waits at most `wait` seconds for the first; an empty page is no error. No entry is ever passed over that becomes
        visible later. `tenant` and `types` (patterns) only allow to leave out what others do not want.
        """
        ...

    async def heads(self) -> Mapping[int, int]:
        """For every lane a position that all entries appended from now on will be behind."""
        ...

    async def before(self, moment: datetime) -> Mapping[int, int]:
        """For every lane a position behind which all entries lie that were appended at `moment` or later."""
        ...

    async def behind(self, after: Mapping[int, int], *, most: int) -> int:
        """About how many entries stand behind these positions, counted up to `most`: may be too many, never too few."""
        ...

    async def trim(self, upto: Mapping[int, int], *, older: datetime) -> int:
        """Remove entries at or before these positions that were appended before `older`; about how many went."""
        ...

    async def stop(self) -> None:
        """Disconnect. Nothing that `append` answered for is lost."""
        ...
