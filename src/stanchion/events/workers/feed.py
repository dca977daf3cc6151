"""One consumer's events in this process: read from the bus, held up where their key waits, given out in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

from ...core.clock import micros
from ...core.errors import NotTrustworthy
from ...core.tasks import end_tasks
from ..contract import EXPIRY, expiry, matches
from ..keeping import handled, parked
from ..keeping.slots import HOUSE, Consumer, Slot, lanes_of
from ..packing import Packet, unpack
from ..ports import SLOTS, Page, Stored
from .buffer import Buffer, Item, Key, priority_of
from .desk import Desk
from .endings import Endings
from .progress import Progress
from .retrying import Rules, headline

WINDOW = 4_096
WEIGHT = 64 << 20
AT_ONCE = 1_000
WAIT_SECONDS = 0.5
RELOADED = 64
LEAST_ENDS = 3
"""Of the first two processes it is not known which of their events ended them."""
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Feed(Endings):
    """Reads the lanes of the slots it was given, and what was put back for them.

    `ready` is called whenever events may have become ready to run.
    """

    def __init__(self, consumer: Consumer, types: Sequence[str], desk: Desk, *, rules: Rules) -> None:
        self.consumer = consumer
        self.types = types
        self.desk = desk
        self.rules = rules
        self.buffer = Buffer()
        self.slots: dict[int, Progress] = {}
        self.held: dict[Key, int] = {}
        self.stranded: dict[Key, int] = {}
        self.out: set[str] = set()
        self.reads: list[set[str]] = []
        self.names: dict[tuple[str, str, str], Item] = {}
        self.paused = False
        self.holders = 0
        self.expired = 0
        self.until = 0.0
        self.ready: Callable[[], None] = lambda: None
        self._wanted = lru_cache(maxsize=1_024)(lambda kind: matches(types, kind))
        self._far = False
        self._moved = asyncio.Event()
        self._due = asyncio.Event()
        self._lock, self.suspecting = asyncio.Lock(), asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many events are in somebody's hands."""
        return sum(progress.running for progress in self.slots.values())

    @property
    def frozen(self) -> bool:
        """Whether nothing may be begun: it is paused, or whether the leases still hold is not known."""
        return self.paused or self.desk.clock.monotonic() >= self.until

    @property
    def careful(self) -> bool:
        """Whether several processes ended over events that are here again: one runs at a time, to find out which."""
        return any(progress.slot.stalls > 1 and not progress.idle for progress in self.slots.values())

    async def start(self) -> None:
        """Begin to read."""
        for work in (self._read(), self._revive()):
            self._spawn(work)

    async def stop(self) -> None:
        """End reading. What was given out may still be ended."""
        await end_tasks(*self._tasks)

    def stir(self) -> None:
        """Something changed that this waits for: a pause, a share, events put back."""
        self._due.set()
        self.room()

    def room(self) -> None:
        """Events have ended: others may begin, and more may be read. What was put back is not looked for each time."""
        self._moved.set()
        self.ready()

    async def take(self, slots: Sequence[Slot]) -> None:
        """Work on these slots from now on."""
        if not slots:
            return
        numbers = [slot.number for slot in slots]
        found = await self.desk.database.read(lambda c: parked.keys(c, self.consumer, numbers))
        for slot in slots:
            self.slots[slot.number] = Progress(slot)
        for each in found:
            key = Key(each.tenant, int(each.key[0]), each.key)
            self.held[key] = each.slot
            if not each.timed:
                self.stranded[key] = each.last
        self.stir()

    def drop(self, numbers: Collection[int]) -> None:
        """Leave slots that others hold by now; what runs for them will be refused when it ends."""
        for number in numbers:
            self.slots.pop(number, None)
        gone = set(numbers)
        # What waits there for whom is another's to know; it is read anew if the slots come back.
        self.held = {key: slot for key, slot in self.held.items() if slot not in gone}
        self.stranded = {key: last for key, last in self.stranded.items() if key in self.held}
        self.buffer.take_out(lambda item: item.slot.number in gone and self._let_go(item))

    def leave(self, numbers: Collection[int]) -> Sequence[Progress]:
        """Begin nothing more of these slots; those of which nothing runs can be given back."""
        begins = {number for number in numbers if not self.slots[number].leaving}
        for number in begins:
            self.slots[number].leaving = True
        if begins:
            self.buffer.take_out(lambda item: item.slot.number in begins and self._let_go(item))
        return [self.slots[number] for number in numbers if not self.slots[number].running]

    def snapshots(self) -> Sequence[Slot]:
        """The slots whose positions have moved since they were last asked for."""
        return [slot for progress in self.slots.values() if (slot := progress.snapshot()) is not None]

    def low(self) -> Mapping[int, int]:
        """Up to where the lanes held here are done."""
        return {lane: at for progress in self.slots.values() for lane, at in progress.low().items()}

    def _let_go(self, item: Item) -> bool:
        self._forget(item)
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        while True:
            lanes = [p for p in self.slots.values() if not p.leaving]
            full = self.buffer.size >= WINDOW or self.buffer.weight >= WEIGHT
            if self.paused or full or not lanes:
                self._moved.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(WAIT_SECONDS):
                        await self._moved.wait()
                continue
            try:
                await self._round(lanes)
            except Exception as error:
                _log.warning("consumer %s cannot read: %s", self.consumer.name, headline(error))
                await asyncio.sleep(WAIT_SECONDS)

    async def _round(self, lanes: Sequence[Progress]) -> None:
        """Read once: all lanes together at the head, each priority for itself where there is a backlog."""
        limit = self._limit()
        if not self._far:
            page = await self._page(lanes, range(3), limit, WAIT_SECONDS)
            self._far = len(page.entries) >= limit
            await self._take_in(page, lanes)
            return
        self._far = False
        for priority in range(3):
            page = await self._page(lanes, range(priority, priority + 1), max(1, limit // 3), 0.0)
            self._far |= len(page.entries) >= max(1, limit // 3)
            await self._take_in(page, lanes)

    def _limit(self) -> int:
        average = self.buffer.weight // self.buffer.size if self.buffer.size else 2_048
        return max(1, min(AT_ONCE, WINDOW - self.buffer.size, (WEIGHT - self.buffer.weight) // max(1, average)))

    async def _page(self, lanes: Sequence[Progress], priorities: range, limit: int, wait: float) -> Page:
        after = {
            lane: progress.read[lane]
            for progress in lanes
            for lane in lanes_of(progress.slot.number)
            if priority_of(lane) in priorities
        }
        tenant = None if self.consumer.tenant == HOUSE else self.consumer.tenant
        return await self.desk.bus.read(after, limit=limit, wait=wait, tenant=tenant, types=self.types)

    async def _take_in(self, page: Page, lanes: Sequence[Progress]) -> None:
        """Sort what was read: not for us, done before, behind one that waits, or ready."""
        mine = {p.slot.number: p for p in lanes if self.slots.get(p.slot.number) is p and not p.leaving}
        items = [item for stored in page.entries if (item := self._item(stored, mine)) is not None]
        for lane, position in page.reached.items():
            progress = mine.get(lane % SLOTS)
            if progress is not None and position > progress.read[lane]:
                progress.read[lane] = position
        if items:
            await self._admit(items)
            self.ready()
        self._release_stranded()

    def _release_stranded(self) -> None:
        """Whoever held the keys ended between an event and those behind it: they follow once it would be read anew."""
        for key, last in list(self.stranded.items()):
            slot = self.held[key]
            if self.slots[slot].read[key.priority * SLOTS + slot] >= last:
                del self.stranded[key]
                self._spawn(self._release(key, slot))

    async def _admit(self, items: Sequence[Item]) -> None:
        names = [name_of(item.packet) for item in items]
        before = await self._surely(lambda: self._handled_before(names))
        behind: list[Item] = []
        for item, name in zip(items, names, strict=True):
            if not self._stays(item):
                continue
            if name in before or self._at_hand(name):
                self.slots[item.slot.number].done(item.lane, item.position)
            elif item.key in self.held:
                behind.append(item)
            elif item.slot.stalls >= max(LEAST_ENDS, self.rules.attempts):
                error = f"{item.slot.stalls} processes ended while they handled it"
                item.slot.stalls = 0
                self.begin([item])
                self.bury(item, error)
            else:
                self.names[name] = item
                self.buffer.add(item)
        if behind:
            async with self._lock:
                for item in behind:
                    if item.key not in self.held:
                        self.names[name_of(item.packet)] = item
                        self.buffer.add(item)
                waiting = [item for item in behind if item.key in self.held and self._stays(item)]
                await self._surely(lambda: self.park(waiting))

    async def _surely(self, work: Callable[[], Awaitable[T]]) -> T:
        """What it gives, once the database answers. Events in hand that were forgotten would come after later ones."""
        while True:
            try:
                return await work()
            except Exception as error:
                _log.warning("consumer %s cannot go on: %s", self.consumer.name, headline(error))
                await asyncio.sleep(WAIT_SECONDS)

    def _item(self, stored: Stored, mine: Mapping[int, Progress]) -> Item | None:
        progress = mine.get(stored.lane % SLOTS)
        if progress is None or stored.position <= progress.read[stored.lane]:
            return None
        try:
            packet = unpack(stored.body, self.desk.seal)
            tenant = packet.tenant
        except NotTrustworthy as error:
            self.distrust(stored, progress, error)
            return None
        if self.consumer.tenant not in (HOUSE, tenant) or not self._wanted(packet.type):
            return None
        if self._late(packet):
            return None
        priority = priority_of(stored.lane)
        key = Key(tenant, priority, f"{priority}:{packet.key}")
        progress.begin(stored.lane, stored.position)
        return Item(stored.lane, stored.position, progress.slot, key, packet, stored.body)

    def _late(self, packet: Packet) -> bool:
        if not packet.extensions or EXPIRY not in packet.extensions:
            return False
        until = expiry(packet.event)
        late = until is not None and until <= self.desk.clock.now()
        self.expired += late
        return late

    def _at_hand(self, name: tuple[str, str, str]) -> bool:
        """Whether the event was published twice and its first copy is being handled.

        One in hand under a lease that was lost does not count: it will be refused, so this copy is the one to handle.
        """
        item = self.names.get(name)
        return item is not None and self._stays(item)

    async def _revive(self) -> None:
        """Give out again what was put back, when its time has come."""
        following: int | None = None
        while True:
            now = micros(self.desk.clock.now())
            wait = 5.0 if following is None else min(5.0, max(0.0, (following - now) / 1e6))
            if wait > 0 or self.paused:
                with suppress(TimeoutError):
                    async with asyncio.timeout(5.0 if self.paused else wait):
                        await self._due.wait()
            self._due.clear()
            numbers = [number for number, progress in self.slots.items() if not progress.leaving]
            room = min(WINDOW - self.buffer.size, 500)
            if self.paused or not numbers or room <= 0:
                following = None if self.paused or not numbers else now + 100_000
                continue
            try:
                rows, following = await self._due_now(numbers, room)
                await self._give_again(rows)
            except Exception as error:
                _log.warning("consumer %s cannot read its retries: %s", self.consumer.name, headline(error))
                following = now + 1_000_000

    async def _due_now(self, numbers: Sequence[int], room: int) -> tuple[Sequence[parked.Parked], int | None]:
        now, most = micros(self.desk.clock.now()), room + len(self.out)
        with self._noting() as left:
            rows, following = await self.desk.database.read(
                lambda c: parked.due(c, self.consumer, numbers, now=now, limit=most)
            )
        return [row for row in rows if row.place not in left], following

    @contextmanager
    def _noting(self) -> Iterator[set[str]]:
        """The places of events that leave while rows are being read: what was read of them holds no more."""
        left: set[str] = set()
        self.reads.append(left)
        try:
            yield left
        finally:
            self.reads = [each for each in self.reads if each is not left]

    async def _give_again(self, rows: Sequence[parked.Parked]) -> None:
        fresh = [row for row in rows if row.place not in self.out]
        held_back = {row.place for row in fresh}
        self.out |= held_back
        try:
            items = [item for row in fresh if (item := self._reread(row)) is not None]
            names = [name_of(item.packet) for item in items if not item.replayed]
            before = await self._handled_before(names)
            for item in items:
                if not self._stays(item):
                    continue
                held_back.discard(item.place)
                if not item.replayed and name_of(item.packet) in before:
                    self.end_known(item)
                else:
                    self.buffer.add(item)
        finally:
            self.out -= held_back
        if items:
            self.ready()

    async def _handled_before(self, names: Sequence[tuple[str, str, str]]) -> Collection[tuple[str, str, str]]:
        if not names:
            return ()
        return await self.desk.database.read(lambda c: handled.among(c, self.consumer.name, names))

    def _reread(self, row: parked.Parked) -> Item | None:
        progress = self.slots.get(row.slot)
        if progress is None or progress.leaving:
            return None
        packet = unpack(row.body, self.desk.seal)
        key = Key(row.tenant, priority_of(row.lane), row.key)
        # One that waits for nobody is a key of its own.
        key = key if row.key else Key(row.tenant, priority_of(row.lane), "\x1f" + row.place)
        return Item(row.lane, row.position, progress.slot, key, packet, row.body, row.place, row.attempts, row.history)

    async def _release(self, key: Key, slot: int) -> None:
        """The event that held the key up is through: those behind it follow, in their order, or the key is free."""
        async with self._lock:
            while self._releases(key, slot):
                try:
                    if await self._released(key, slot):
                        return
                except Exception as error:
                    _log.warning("consumer %s cannot read what waits: %s", self.consumer.name, headline(error))
                    await asyncio.sleep(1.0)

    def _releases(self, key: Key, slot: int) -> bool:
        held = key in self.held and key not in self.stranded
        return held and slot in self.slots and not self.slots[slot].leaving

    async def _released(self, key: Key, slot: int) -> bool:
        """Whether nothing more is to be done for the key until the next of its events ends."""
        with self._noting() as left:
            rows = await self.desk.database.read(
                lambda c: parked.behind(c, self.consumer, key.tenant, slot, key.text, limit=RELOADED)
            )
        if any(row.place in left for row in rows):
            return False
        if not rows:
            self.held.pop(key, None)
            return True
        if not any(row.place in self.out for row in rows):
            await self._give_again(rows)
        return any(row.place in self.out for row in rows)


def name_of(packet: Packet) -> tuple[str, str, str]:
    """What an event is known by, for ever: its tenant, source and id."""
    return packet.tenant, packet.source, packet.id
