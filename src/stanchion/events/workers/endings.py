"""How events leave a feed: done, put back for a retry with those behind them, or buried among the dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection

from ...core.clock import micros
from ...core.context import Context, new_request_id, system_context
from ...core.errors import StanchionError
from ..backends.statements import Row, many
from ..contract import Event
from ..keeping.finishing import PARK_BEHIND, Answer, Finish, Finished, Trail, Work
from ..keeping.slots import Consumer, Slot, save, suspect
from ..packing import Cause, NoSeal, Packet, entry_of, packed_who
from ..ports import Entry, Stored
from .buffer import Buffer, Item, Key
from .desk import Desk
from .progress import Progress
from .retrying import Rules, headline, hopeless, in_words, longer

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
Told = Callable[[Sequence[Item], Answer], None]
_log = logging.getLogger(__name__)


class Endings:
    """The half of a feed that ends what the other half has given out."""

    consumer: Consumer
    desk: Desk
    rules: Rules
    buffer: Buffer
    slots: dict[int, Progress]
    held: dict[Key, int]
    out: set[str]
    reads: list[set[str]]
    names: dict[tuple[str, str, str], Item]
    suspecting: asyncio.Lock
    ready: Callable[[], None]

    def stir(self) -> None:
        """Something changed that the feed waits for."""
        raise NotImplementedError

    def snapshots(self) -> Sequence[Slot]:
        """The slots whose positions have moved since they were last asked for."""
        raise NotImplementedError

    def room(self) -> None:
        """Events have ended: others may begin, and more may be read."""
        raise NotImplementedError

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        raise NotImplementedError

    async def _release(self, key: Key, slot: int) -> None:
        raise NotImplementedError

    def begin(self, items: Sequence[Item]) -> None:
        """These are in somebody's hands now."""
        for item in items:
            progress = self.slots.get(item.slot.number)
            if progress is not None and progress.slot is item.slot:
                progress.running += 1

    async def suspect(self, items: Sequence[Item]) -> None:
        """Before these begin: where processes have ended over their slots, note that this one might be the next."""
        if not any(item.slot.stalls for item in items):
            return
        async with self.suspecting:
            slots = {item.slot.number: item.slot for item in items if item.slot.stalls and not item.slot.noted}
            if not slots:
                return
            for slot in slots.values():
                slot.noted = True
            ended = self.snapshots()

            def work(connection: Connection) -> None:
                # Those whose events have ended are suspected no more, before the next one can end the process.
                save(connection, self.consumer, ended)
                suspect(connection, self.consumer, list(slots.values()))

            try:
                await self.desk.database.write(system_context("*", task="events"), work)
            except StanchionError as error:
                _log.warning("consumer %s cannot note what it begins: %s", self.consumer.name, error.detail)

    def put_back(self, items: Sequence[Item]) -> None:
        """Take them back as if they had never been given out; they come first in their keys."""
        self._let_run(items)
        self.buffer.put_back([item for item in items if self._here(item)])
        for item in items:
            if not self._here(item):
                self.buffer.free(item.key)
                self._forget(item)

    def done(self, items: Sequence[Item], works: Sequence[Work], entries: Sequence[Entry], told: Told) -> None:
        """Their handling is over: keep its writes, its follow-up events and the note that they are handled."""
        at = micros(self.desk.clock.now())
        led = [(packet.id, packet.source, packet.type) for packet in map(_opened, entries)]
        events = [self._finished(item, self._handled(item, at, "done", "", led)) for item in items]
        ending = Finish("done", events, works, entries, at)
        self.desk.committer.add(ending, lambda answer: self._ended(items, answer, told))

    def failed(self, item: Item, error: BaseException, told: Told, *, after: float | None = None) -> None:
        """An attempt failed: another one after its wait, or none where none would help or all are used up."""
        self.give_up(
            item,
            in_words(error),
            told,
            after=after,
            verdict="dead" if hopeless(error) else "retry",
        )

    def give_up(
        self,
        item: Item,
        error: str,
        told: Told,
        *,
        after: float | None = None,
        verdict: Literal["retry", "dead"] = "retry",
        entries: Sequence[Entry] = (),
    ) -> None:
        """Put the event back, or bury it where it is `dead` or out of attempts."""
        item.attempts += 1
        at = micros(self.desk.clock.now())
        item.history = longer(item.history, at, error)
        if verdict == "dead" or item.attempts >= self.rules.attempts:
            event = self._finished(item, self._handled(item, at, "dead", error, []))
            event.buried = self._grave(item, at)
            ending = Finish("dead", [event], (), entries, at)
            self._surely_end(item, ending, lambda answer: self._ended([item], answer, told))
            return
        wait = self.rules.wait(item.attempts) if after is None else after
        following: Sequence[Item] = ()
        if item.key.text[0] != "\x1f":
            if self._here(item):
                self.held[item.key] = item.slot.number
            following = self.buffer.take_back(item.key)
        event = self._finished(item, None)
        event.parked = [self._row(item, at + int(wait * 1e6))]
        event.behind = [self._row(each, None) for each in following if not each.place]
        ending = Finish("retry", [event], (), entries, at)
        self._surely_end(item, ending, lambda answer: self._put_off(item, following, answer, told))

    def bury(self, item: Item, error: str) -> None:
        """Give the event up without another attempt."""
        self.give_up(item, error, _nobody, verdict="dead")

    def end_known(self, item: Item) -> None:
        """It was put back and has been handled since: only its row is left to be removed."""
        self.begin([item])
        ending = Finish("done", [self._finished(item, None)])
        self.desk.committer.add(ending, lambda answer: self._ended([item], answer, _nobody))

    def distrust(self, stored: Stored, progress: Progress, error: Exception) -> None:
        """Bury what cannot be read or was not sealed by the house, in the house's own name and with no rights."""
        progress.begin(stored.lane, stored.position)
        ctx = system_context("*", task="events", roles=frozenset())
        known = Packet(
            "unreadable", "events", f"{stored.lane}-{stored.position}", "", None, stored.body,
            "application/octet-stream", "", None, packed_who(ctx), "", "", False, "", "", False, 0,
        )  # fmt: skip
        body = self.desk.seal.close(msgspec.msgpack.encode(known))
        key = Key(self.desk.tenant, stored.lane // 16, f"\x1funreadable-{stored.lane}.{stored.position}")
        item = Item(stored.lane, stored.position, progress.slot, key, known, body)
        self.begin([item])
        self.bury(item, in_words(error))

    async def park(self, items: Sequence[Item]) -> None:
        """Put events behind the one of their key that waits."""
        if not items:
            return
        rows = [self._row(item, None) for item in items]
        ctx = system_context("*", task="events")

        def work(connection: Connection) -> None:
            many(connection, PARK_BEHIND, rows)

        await self.desk.database.write(ctx, work)
        self._passed(items)

    def _surely_end(self, item: Item, ending: Finish, ended: Callable[[Answer], None], *, pause: float = 0.0) -> None:
        """End a failed handling, again and again while the database refuses it: its key waits as long.

        An event that is neither handled nor put back would be passed by those behind it, and be given to nobody until
        its slot is read anew. A slot that is to be left is, so there the trying ends.
        """

        def answered(answer: Answer) -> None:
            if answer.error is None or ending.entries:
                # An event that was to be published with it may be what is refused: that is another failure.
                ended(answer)
            elif not self._stays(item):
                ended(Answer("stale"))
            else:
                wait = min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)
                _log.error("consumer %s cannot keep a failure: %s", self.consumer.name, headline(answer.error))
                self._spawn(self._end_after(wait, item, ending, ended))

        self.desk.committer.add(ending, answered)

    async def _end_after(self, wait: float, item: Item, ending: Finish, ended: Callable[[Answer], None]) -> None:
        await asyncio.sleep(wait)
        self._surely_end(item, ending, ended, pause=wait)

    def _ended(self, items: Sequence[Item], answer: Answer, told: Told) -> None:
        if answer.error is not None and len(items) == 1:
            # The handler's own writes were refused: an attempt like any other that failed.
            self.failed(items[0], answer.error, told)
            return
        if len(items) > 1 and (answer.error is not None or answer.result == "duplicate"):
            self.put_back(items)
            told(items, answer)
            self.room()
            return
        self._let_run(items)
        if answer.result != "stale":
            self._passed(items)
        for item in items:
            self._forget(item)
        self._free(items, release=True)
        told(items, answer)

    def _put_off(self, item: Item, following: Sequence[Item], answer: Answer, told: Told) -> None:
        self._let_run([item])
        if answer.result != "stale":
            self._passed([item, *following])
        for each in (item, *following):
            self._forget(each)
        self._free([item], release=False)
        self.stir()
        told([item], answer)

    def _forget(self, item: Item) -> None:
        """The event is in hand no more."""
        self.out.discard(item.place)
        for left in self.reads:
            left.add(item.place)
        name = (item.key.tenant, item.packet.source, item.packet.id)
        if self.names.get(name) is item:
            del self.names[name]

    def _free(self, items: Sequence[Item], *, release: bool) -> None:
        for key, item in {item.key: item for item in items}.items():
            more = self.buffer.free(key)
            if release and not more and key in self.held:
                self._spawn(self._release(key, item.slot.number))
        self.room()

    def _let_run(self, items: Sequence[Item]) -> None:
        for item in items:
            progress = self.slots.get(item.slot.number)
            if progress is not None and progress.slot is item.slot:
                progress.running -= 1
                # While another of the slot is in hand, that one may be what ends processes.
                progress.proved |= item.slot.noted and not progress.running

    def _passed(self, items: Sequence[Item]) -> None:
        for item in items:
            if not item.place and self._here(item):
                self.slots[item.slot.number].done(item.lane, item.position)

    def _here(self, item: Item) -> bool:
        progress = self.slots.get(item.slot.number)
        return progress is not None and progress.slot is item.slot

    def _stays(self, item: Item) -> bool:
        return self._here(item) and not self.slots[item.slot.number].leaving

    def _finished(self, item: Item, handled: Row | None) -> Finished:
        return Finished(
            self.consumer, item.slot.number, item.slot.token, item.key.tenant, item.place, handled
        )  # fmt: skip

    def _handled(
        self, item: Item, at: int, state: Literal["done", "dead"], error: str, led: list[tuple[str, str, str]]
    ) -> Row | None:
        packet = item.packet
        # A replay is a handling of its own.
        identity = f"{packet.id}\x1f{item.place}" if item.replayed else packet.id
        correlation: str | None = None
        trail: bytes | None = None
        # A lone event that went well at once leaves no trail unless its trace is kept: that would be most of the log.
        if packet.causation or led or packet.sampled or error or item.attempts:
            correlation = packet.correlation
            attempts = item.attempts + (state == "done")
            told = Trail(packet.type, packet.causation, packet.published, at, attempts, state, error, led)
            trail = msgspec.msgpack.encode(told)
        return item.key.tenant, self.consumer.name, packet.source, identity, correlation, trail, at

    def _row(self, item: Item, due: int | None) -> Row:
        key = "" if item.key.text[0] == "\x1f" else item.key.text
        return (
            item.key.tenant, self.consumer.name, item.place or f"L{item.lane}.{item.position}", item.slot.number,
            item.lane, item.position, key, due, item.attempts, item.body, item.history,
        )  # fmt: skip

    def _grave(self, item: Item, at: int) -> Row:
        packet = item.packet
        return (
            item.key.tenant, self.consumer.name, new_request_id(), packet.type, packet.source, packet.subject, at,
            item.lane, item.key.text, item.attempts, item.body, item.history,
        )  # fmt: skip


def _opened(entry: Entry) -> Packet:
    return msgspec.msgpack.decode(entry.body, type=Packet)


def _nobody(items: Sequence[Item], answer: Answer) -> None:
    """For endings that no handler waits for."""


def follow_ups(events: Sequence[Event], ctx: Context, at: int, cause: Cause) -> list[Entry]:
    """A handler's follow-up events as they are appended: by the same author, caused by the event in hand."""
    who = packed_who(ctx)
    return [entry_of(event, ctx, who, at=at, seal=NoSeal(), cause=cause) for event in events]
