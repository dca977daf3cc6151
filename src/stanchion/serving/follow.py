"""Follows the registry: each change of a declared model is taken into service, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from ..core.context import system_context
from ..core.errors import StanchionError
from ..core.tasks import end_tasks
from ..registry import Registry
from .shelf import Shelf

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait after the first failure, and the most; each failure doubles the wait."""

    first: float = 0.5
    most: float = 30.0

    def after(self, failures: int) -> float:
        """The wait after so many failures in a row, at least one."""
        # The exponent is bounded: a float overflows after a thousand failures.
        return min(self.most, self.first * 2.0 ** min(failures - 1, 32))


class Follower:
    """Two tasks: one hears of changes and marks models, the other refreshes what is marked.

    Apart, so that a slow load does not hold up the watch, and many changes of a model cost one refresh.
    """

    def __init__(self, shelf: Shelf, registry: Registry, *, backoff: Backoff) -> None:
        self._shelf = shelf
        self._registry = registry
        self._backoff = backoff
        self._marked: set[str] = set()
        self._bell = asyncio.Event()
        self._failures: dict[str, int] = {}
        self._again: dict[str, asyncio.TimerHandle] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load every declared model, then follow. A model that cannot be loaded is tried again in the background."""
        await asyncio.gather(*(self._refresh(name) for name in self._shelf.registered))
        self._tasks = [
            asyncio.create_task(self._watch(), name="serving-watch"),
            asyncio.create_task(self._work(), name="serving-refresh"),
        ]

    async def stop(self) -> None:
        """End both tasks and every wait."""
        for handle in self._again.values():
            handle.cancel()
        await end_tasks(*self._tasks)

    async def _watch(self) -> None:
        ctx = system_context(self._shelf.owner, task="serving")
        # From the beginning, not from now: what changed between our first load and the watch must not be missed.
        # Changes of the past are many marks of few models, so they cost one refresh each.
        cursor, failures = 0, 0
        while True:
            try:
                async for change in self._registry.watch(ctx, since=cursor):
                    cursor, failures = max(cursor, change.cursor), 0
                    self._shelf.forget(change.model)
                    self._mark(change.model)
            except StanchionError as error:
                log.warning("the watch of the registry broke off: %s", error.detail)
            except Exception as error:
                # Whatever a transport raises, the watch goes on: a dead watch would serve old versions for ever.
                log.warning("the watch of the registry broke off: %s", type(error).__name__)
            failures += 1
            await asyncio.sleep(self._backoff.after(failures))
            for name in self._shelf.registered:
                self._mark(name)

    async def _work(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            marked, self._marked = self._marked, set()
            for name in sorted(marked):
                await self._refresh(name)

    def _mark(self, model: str) -> None:
        if model in self._shelf.registered:
            self._marked.add(model)
            self._bell.set()

    async def _refresh(self, name: str) -> None:
        waiting = self._again.pop(name, None)
        if waiting is not None:
            waiting.cancel()
        if await self._shelf.refresh(name):
            self._failures.pop(name, None)
            return
        self._failures[name] = self._failures.get(name, 0) + 1
        wait = self._backoff.after(self._failures[name])
        self._again[name] = asyncio.get_running_loop().call_later(wait, self._mark, name)
