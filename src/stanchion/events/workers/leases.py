"""Keeps this process's share of every consumer's slots, and gives up what is no longer its own."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from sqlalchemy import Connection

from ...core.clock import Clock, micros
from ...core.context import new_request_id, system_context
from ...core.errors import StanchionError
from ...core.storage import Database
from ...core.tasks import end_tasks
from ..keeping.slots import Consumer, Share, beat, give_back, leave, register, save
from .feed import Feed
from .post import Post

_log = logging.getLogger(__name__)


class Leases:
    """One for a process. A share is held for `seconds` from each beat; there are three beats in that time."""

    def __init__(self, database: Database, clock: Clock, *, seconds: float) -> None:
        self.holder = new_request_id()
        self._database = database
        self._clock = clock
        self._seconds = seconds
        self._feeds: list[Feed | Post] = []
        self._ctx = system_context("*", task="events")
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def add(self, feed: Feed | Post) -> None:
        """Take a share for this feed from the next beat on."""
        self._feeds.append(feed)

    def leave(self, feed: Feed | Post) -> None:
        """Take no share for this feed any more. What it holds is given up without a word: its consumer is gone."""
        self._feeds = [each for each in self._feeds if each is not feed]

    async def start(self) -> None:
        """Take the first share, then keep it."""
        posts = [feed.consumer for feed in self._feeds if isinstance(feed, Post)]
        if posts:
            await self._database.write(self._ctx, lambda c: [register(c, post, {}) for post in posts])
        await self.beat()
        self._task = asyncio.create_task(self._run(), name="events-leases")

    async def stop(self) -> None:
        """Give everything back, so that others need not wait for the lease to end."""
        await end_tasks(self._task)
        feeds = list(self._feeds)

        def work(connection: Connection) -> None:
            for feed in feeds:
                slots = [progress.snapshot() or progress.slot for progress in feed.slots.values()]
                give_back(connection, self.holder, feed.consumer, slots)
            leave(connection, self.holder)

        with suppress(StanchionError):
            await self._database.write(self._ctx, work)

    async def beat(self) -> None:
        """Say that this process lives; take what is free and its share, leave what is not."""
        async with self._lock:
            began = self._clock.monotonic()
            feeds = list(self._feeds)
            if not feeds:
                return
            now = micros(self._clock.now())
            consumers = {feed.consumer: {n: p.slot.token for n, p in feed.slots.items()} for feed in feeds}
            saves = [(feed.consumer, feed.snapshots()) for feed in feeds]

            def work(connection: Connection) -> dict[Consumer, Share]:
                for consumer, slots in saves:
                    save(connection, consumer, slots)
                return beat(connection, self.holder, consumers, now=now, until=now + int(self._seconds * 1e6))

            shares = await self._database.write(self._ctx, work)
            for feed in feeds:
                # The lease is counted from before the beat was sent, so it ends here no later than for others.
                feed.until = began + self._seconds
                await self._apply(feed, shares[feed.consumer])

    async def _apply(self, feed: Feed | Post, share: Share) -> None:
        feed.holders = share.holders
        feed.drop([number for number, p in feed.slots.items() if share.held.get(number) != p.slot.token])
        await feed.take(share.taken)
        # One that was begun to be left is left, though it may be its share again by now: its events were let go.
        going = share.surplus | {number for number, progress in feed.slots.items() if progress.leaving}
        surplus = feed.leave([number for number in going if number in feed.slots])
        if surplus:
            slots = [progress.snapshot() or progress.slot for progress in surplus]
            await self._database.write(
                self._ctx, lambda c: give_back(c, self.holder, feed.consumer, slots)
            )  # fmt: skip
            feed.drop([slot.number for slot in slots])
        feed.stir()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            try:
                await self.beat()
            except StanchionError as error:
                _log.warning("the leases of events could not be renewed: %s", error.detail)
