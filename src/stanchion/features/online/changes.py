"""Tells followers what was written: at once and by key in this process, by view within the poll interval elsewhere."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from ...core.errors import Unavailable
from ...core.storage import KeyValue
from ..contract import Written
from ..rows import tenant_digest

_BEHIND = 1_000


class Follower:
    """One follower's news, as yet unread."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.news: dict[str, Written] = {}
        self.keys = 0
        self.bell = asyncio.Event()

    def tell(self, view: str, keys: Sequence[str]) -> None:
        """Add a write; one that would make the news too long is told without its keys."""
        held = self.news.get(view)
        if held is not None and not held.keys:
            return
        every = not keys or self.keys + len(keys) > _BEHIND
        both = () if every else (*(held.keys if held is not None else ()), *keys)
        self.keys += len(both) - (len(held.keys) if held is not None else 0)
        self.news[view] = Written(view, both)
        self.bell.set()

    def take(self) -> Sequence[Written]:
        """The news, which are then read."""
        news = tuple(self.news.values())
        self.news.clear()
        self.keys = 0
        self.bell.clear()
        return news


class Changes:
    """The writes of a store. A counter in the store for each tenant and view tells processes of each other's."""

    def __init__(self, store: KeyValue, views: Sequence[str], *, poll_seconds: float) -> None:
        self._store = store
        self._views = tuple(views)
        self._poll_seconds = poll_seconds
        self._followers: set[Follower] = set()
        self._own: defaultdict[str, int] = defaultdict(int)
        self._under_way: defaultdict[str, int] = defaultdict(int)
        self._stopped = False

    async def wrote(self, tenant: str, view: str, keys: Sequence[str]) -> None:
        """Tell everybody that follows the tenant, here and in other processes."""
        name = _counter(tenant, view)
        # Counted before the store is asked: a poll in between then sees a write too few, never one too many.
        self._own[name] += 1
        self._under_way[name] += 1
        try:
            await self._store.increment(name)
        finally:
            self._under_way[name] -= 1
            for follower in self._followers:
                if follower.tenant == tenant:
                    follower.tell(view, keys)

    def stop(self) -> None:
        """End all following."""
        self._stopped = True
        for follower in self._followers:
            follower.bell.set()

    async def follow(self, tenant: str) -> AsyncIterator[Written]:
        """The tenant's writes, without end. Raises Unavailable once stopped."""
        follower = Follower(tenant)
        self._followers.add(follower)
        try:
            seen = await self._others(tenant)
            yield Written("", ())
            while not self._stopped:
                await self._wait(follower.bell)
                for written in follower.take():
                    yield written
                now = await self._others(tenant)
                for view in self._views:
                    # Fewer than before, with none of ours under way: the store has lost its counters.
                    lost = now[view] < seen[view] and not self._under_way[_counter(tenant, view)]
                    if now[view] > seen[view] or lost:
                        seen[view] = now[view]
                        yield Written(view, ())
        finally:
            self._followers.discard(follower)
        raise Unavailable("the feature store is stopping")

    async def _others(self, tenant: str) -> dict[str, int]:
        """How often other processes have written, by view; only differences mean anything."""
        names = [_counter(tenant, view) for view in self._views]
        own = [self._own[name] for name in names]
        found = await self._store.get(names)
        return {view: int(value or b"0") - mine for view, value, mine in zip(self._views, found, own, strict=True)}

    async def _wait(self, bell: asyncio.Event) -> None:
        scope = asyncio.timeout(self._poll_seconds)
        try:
            async with scope:
                await bell.wait()
        except TimeoutError:
            if not scope.expired():
                raise


def _counter(tenant: str, view: str) -> str:
    return f"feature-writes/{tenant_digest(tenant)}/{view}"
