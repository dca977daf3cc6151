"""How far consumers are behind, so that `publish` is refused before the bus fills up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..core.errors import Throttled
from ..core.storage import Database
from .contract import matches
from .keeping import parked, registry, slots
from .keeping.slots import HOUSE, Consumer
from .ports import Bus
from .workers.feed import Feed


@dataclass(frozen=True, slots=True)
class Behind:
    """A consumer's arrears: events of the bus not come to, and events put back."""

    consumer: Consumer
    types: tuple[str, ...]
    paused: bool
    behind: int
    waiting: int


class Backlog:
    """Measured now and then; between two measures what this process published is added.

    `feeds` are the consumers' feeds here, which know more than the database of the slots they hold.
    """

    def __init__(self, database: Database, bus: Bus, feeds: Callable[[], Sequence[Feed]], *, most: int) -> None:
        self._database = database
        self._bus = bus
        self._feeds = feeds
        self._most = most
        self._full: Sequence[Behind] = ()
        self._since = 0

    def admit(self, tenant: str, types: Collection[str], number: int) -> None:
        """Count the events in. Raises Throttled where one who is to have them is too far behind.

        Another tenant's consumers are none of theirs.
        """
        self._since += number
        for each in self._full:
            whose, behind = each.consumer.tenant, each.behind + each.waiting
            if behind + self._since <= self._most or whose not in (HOUSE, tenant):
                continue
            if any(matches(each.types, kind) for kind in types):
                raise Throttled(
                    f"the consumer {each.consumer.name} is {behind} events behind; at most {self._most} may wait",
                    next_step="Publish again after the seconds in Retry-After. Pause one that nobody works for.",
                    retry_after=1.0,
                )

    async def measure(self) -> None:
        """Look again. A paused consumer holds nobody up: whoever paused it answers for it."""
        since = self._since
        self._full = [each for each in await self.all() if not each.paused]
        self._since -= since

    async def all(self) -> Sequence[Behind]:
        """Every consumer's arrears, by tenant and name."""
        known, positions = await self._database.read(lambda c: (registry.all_known(c), slots.positions(c)))
        for feed in self._feeds():
            positions.get(feed.consumer, {}).update(feed.low())
        found: list[Behind] = []
        for consumer in sorted(known, key=lambda each: (each.tenant, each.name)):
            at: Mapping[int, int] = positions.get(consumer, {})
            behind = await self._bus.behind(at, most=self._most + 1)
            waiting = await self._database.read(partial(parked.waiting, consumer=consumer))
            one = known[consumer]
            found.append(Behind(consumer, one.types, one.paused, behind, waiting))
        return found
