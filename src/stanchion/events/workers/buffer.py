"""Events at hand for one consumer: in order within a key, keys side by side, urgent ones first but not only they."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..keeping.slots import Slot
from ..packing import Packet
from ..ports import SLOTS

# Of thirteen turns eight are for high, four for normal and one for low events; a turn that finds none passes on.
TURNS = (0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 2)


class Key(NamedTuple):
    """What keeps its order: a key of one tenant within one priority. `text` is empty where nothing waits for it."""

    tenant: str
    priority: int
    text: str


@dataclass(slots=True, eq=False)
class Item:
    """An event in hand. `place` names its row among the parked events, empty: it came straight from the bus."""

    lane: int
    position: int
    slot: Slot
    key: Key
    packet: Packet
    body: bytes
    place: str = ""
    attempts: int = 0
    history: bytes = b""

    @property
    def replayed(self) -> bool:
        """Whether it is given out once more on purpose."""
        return self.place.startswith("R")


class Buffer:
    """Not more than the feed puts in; `next` gives what may run now."""

    def __init__(self) -> None:
        self._keys: dict[Key, deque[Item]] = {}
        self._ready: tuple[deque[Key], ...] = (deque(), deque(), deque())
        self._busy: set[Key] = set()
        self._turn = 0
        self.size = 0
        self.weight = 0

    def add(self, item: Item) -> None:
        """Put an event behind those of its key."""
        self.size += 1
        self.weight += len(item.body)
        waiting = self._keys.get(item.key)
        if waiting is not None:
            waiting.append(item)
            return
        self._keys[item.key] = deque((item,))
        if item.key not in self._busy:
            self._ready[item.key.priority].append(item.key)

    def next(self, most: int, *, one_each: bool = False) -> list[Item]:
        """Up to so many events that may run together: of one author, each key's first ones in their order.

        Their keys are busy until `free`. With `one_each` only the first event of each key is given.
        """
        found: list[Item] = []
        while len(found) < most:
            ready = self._line()
            if ready is None:
                break
            key = ready.popleft()
            waiting = self._keys.get(key)
            if not waiting or key in self._busy:
                continue
            if found and bytes(waiting[0].packet.who) != bytes(found[0].packet.who):
                ready.appendleft(key)
                break
            self._busy.add(key)
            found += self._some(waiting, 1 if one_each or most == 1 else most - len(found))
            if not waiting:
                del self._keys[key]
        return found

    def free(self, key: Key) -> bool:
        """The key's events are done with; whether more of it are at hand."""
        self._busy.discard(key)
        more = key in self._keys
        if more:
            self._ready[key.priority].append(key)
        return more

    def put_back(self, items: Sequence[Item]) -> None:
        """Events that `next` gave out come before those of their keys again, and may be given out."""
        for item in reversed(items):
            self.size += 1
            self.weight += len(item.body)
            self._keys.setdefault(item.key, deque()).appendleft(item)
        for key in dict.fromkeys(item.key for item in items):
            self.free(key)

    def take_back(self, key: Key) -> Sequence[Item]:
        """Remove all events of a key that have not begun; they are the caller's now."""
        items = self._keys.pop(key, ())
        self._forget(items)
        return list(items)

    def take_out(self, leaves: Callable[[Item], bool]) -> None:
        """Remove the events that have not begun and of which the condition holds."""
        for key, waiting in list(self._keys.items()):
            staying: deque[Item] = deque()
            going: list[Item] = []
            for item in waiting:
                (going if leaves(item) else staying).append(item)
            if going:
                self._forget(going)
                if staying:
                    self._keys[key] = staying
                else:
                    del self._keys[key]

    def busy(self, key: Key) -> bool:
        """Whether events of the key are running."""
        return key in self._busy

    def _some(self, waiting: deque[Item], most: int) -> Iterator[Item]:
        who = bytes(waiting[0].packet.who)
        for _ in range(min(most, len(waiting))):
            if bytes(waiting[0].packet.who) != who:
                return
            item = waiting.popleft()
            self.size -= 1
            self.weight -= len(item.body)
            yield item

    def _line(self) -> deque[Key] | None:
        for _ in TURNS:
            ready = self._ready[TURNS[self._turn]]
            self._turn = (self._turn + 1) % len(TURNS)
            if ready:
                return ready
        return None

    def _forget(self, items: Sequence[Item] | deque[Item]) -> None:
        self.size -= len(items)
        self.weight -= sum(len(item.body) for item in items)


def priority_of(lane: int) -> int:
    """0 high, 1 normal, 2 low."""
    return lane // SLOTS
