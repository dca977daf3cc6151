"""Which graphs are in memory: loaded when called for, unloaded when idle or when others need the room.

A version's schemas, checks and counts stay; only its graphs come and go. So a model that is unloaded is still served:
its next call waits for the load (a cold start), or a lower rung answers it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..core.clock import Clock
from ..core.errors import CircuitOpen, Unavailable
from ..core.tasks import end_tasks

G = TypeVar("G")
Contents = Mapping[str, bytes]
_STATM = Path("/proc/self/statm")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """`budget` bytes for all graphs (None: no limit); graphs idle for `idle_seconds` are unloaded (None: never), but
    for the models in `keep`. A load waits `patience` seconds for graphs in use to make room."""

    budget: int | None = None
    idle_seconds: float | None = None
    keep: frozenset[str] = frozenset()
    patience: float = 5.0


def _ignore(name: str, value: float) -> None:
    return


def _nothing(name: str, reason: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class Watchers:
    """Told of each load (model, seconds), of what a model holds (bytes) and of each unload (model, reason)."""

    on_load: Callable[[str, float], None] = field(default=_ignore)
    on_bytes: Callable[[str, float], None] = field(default=_ignore)
    on_unload: Callable[[str, str], None] = field(default=_nothing)


class Resident(Generic[G]):
    """The graphs of one version: `graphs` by rung while they are in memory, else None.

    Whoever runs one calls `enter` before and `leave` after it: what is in use is never unloaded.
    """

    __slots__ = (
        "_build", "_clock", "_fetch", "_loading", "_memory", "barred", "bytes", "cold_seconds", "forgotten", "graphs",
        "model", "used_at", "users",
    )  # fmt: skip

    def __init__(
        self,
        model: str,
        memory: Memory,
        *,
        fetch: Callable[[], Awaitable[Contents]],
        build: Callable[[Contents], Mapping[str, G]],
    ) -> None:
        self.model = model
        self.graphs: Mapping[str, G] | None = None
        self.bytes = 0
        self.users = 0
        self.used_at = 0.0
        self.cold_seconds: float | None = None
        self.barred = False
        self.forgotten = False
        self._memory = memory
        self._clock = memory.clock
        self._fetch = fetch
        self._build = build
        self._loading: asyncio.Task[None] | None = None

    @property
    def loading(self) -> bool:
        """Whether a load is under way."""
        return self._loading is not None

    def enter(self) -> None:
        """A run begins."""
        self.users += 1
        self.used_at = self._clock.monotonic()

    def leave(self) -> None:
        """A run has ended."""
        self.users -= 1
        if not self.users and self._memory.crowded:
            self._memory.freed()

    async def back(self) -> Mapping[str, G]:
        """The graphs, loaded first if they are not in memory; all who wait share one load.

        A caller who leaves does not end the load. Raises Unavailable if it was unloaded by hand, if there is no room,
        and what fetching and building raise.
        """
        while (graphs := self.graphs) is None:
            if self.barred:
                # Held back on purpose, so that a breaker does not take it for a failing graph.
                raise CircuitOpen(f"{self.model} was unloaded", next_step="Load it again, or call another model.")
            if self._loading is None:
                self._loading = asyncio.create_task(self._load(), name="serving-load")
                self._loading.add_done_callback(self._loaded)
            await asyncio.shield(self._loading)
        return graphs

    async def _load(self) -> None:
        started = self._clock.monotonic()
        contents = await self._fetch()
        await self._memory.bring(self, contents, self._build)
        self.cold_seconds = self._clock.monotonic() - started
        self.used_at = self._clock.monotonic()
        self._memory.watchers.on_load(self.model, self.cold_seconds)

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._loading = None
        # Looked at, so that a failure after its callers left is not reported as forgotten.
        if not task.cancelled():
            task.exception()


class Memory:
    """Keeps graphs within the budget: least recently used first, never one in use.

    Loads are built one at a time: a graph is weighed by how much the process grows while it is built and run warm,
    at least by its files. Memory that was freed and is used again is not seen to grow: then the files count.
    """

    def __init__(self, clock: Clock, limits: MemoryLimits | None = None, watchers: Watchers | None = None) -> None:
        self.clock = clock
        self.limits = limits or MemoryLimits()
        self.watchers = watchers or Watchers()
        self.crowded = 0
        self._held: set[Resident[Any]] = set()
        self._building = asyncio.Lock()
        self._room = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def used(self) -> int:
        """Bytes of all graphs in memory."""
        return sum(each.bytes for each in self._held)

    async def start(self) -> None:
        """Begin to unload what is idle, where a time is set."""
        if self.limits.idle_seconds is not None:
            self._sweeper = asyncio.create_task(self._sweep_on(self.limits.idle_seconds), name="serving-idle")

    async def stop(self) -> None:
        """End that."""
        await end_tasks(self._sweeper)

    async def bring(
        self, resident: Resident[G], contents: Contents, build: Callable[[Contents], Mapping[str, G]]
    ) -> None:
        """Build the graphs and keep them, after others have made room. Raises Unavailable, and what building raises."""
        least = sum(len(each) for each in contents.values())
        async with self._building:
            await self._make_room(resident, max(least, resident.bytes))
            graphs, grown = await asyncio.to_thread(_weighed, build, contents)
            size = max(least, grown)
            self._check(resident.model, size)
            resident.graphs, resident.bytes = graphs, size
            if not resident.forgotten:
                self._held.add(resident)
            self._tell(resident.model)
        self._trim(0, but=resident)

    def forget(self, resident: Resident[Any]) -> None:
        """Its version is served no more: it is not counted, and its graphs are freed with the last call on it."""
        resident.forgotten = True
        if resident in self._held:
            self._held.discard(resident)
            self._tell(resident.model)
            self._room.set()

    def unload(self, resident: Resident[Any], reason: str) -> None:
        """Drop the graphs now, whoever uses them: a run holds its graph until it ends, and then it is freed."""
        self._drop(resident, reason)

    def sweep(self) -> list[str]:
        """Unload what has been idle for long; the models that were."""
        limit = self.limits.idle_seconds
        if limit is None:
            return []
        last = self.clock.monotonic() - limit
        idle = [each for each in self._held if not each.users and each.used_at <= last and self._may_go(each)]
        for each in idle:
            self._drop(each, "idle")
        return sorted(each.model for each in idle)

    def freed(self) -> None:
        """A graph is out of use while others wait for room."""
        self._room.set()

    async def _sweep_on(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(min(max(seconds / 4, 0.05), 30.0))
            self.sweep()
            self._trim(0)

    async def _make_room(self, resident: Resident[Any], size: int) -> None:
        self._check(resident.model, size)
        self.crowded += 1
        try:
            async with asyncio.timeout(self.limits.patience):
                while not self._trim(size, but=resident):
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError as error:
            raise Unavailable(
                f"there is no room for {resident.model}: the graphs in memory are all in use",
                retry_after=1.0,
                next_step="Raise serving.memory_megabytes, or serve fewer models from this process.",
            ) from error
        finally:
            self.crowded -= 1

    def _trim(self, size: int, but: Resident[Any] | None = None) -> bool:
        """Unload the least recently used until `size` more bytes fit the budget; whether they do."""
        budget = self.limits.budget
        if budget is None:
            return True
        free = sorted((r for r in self._held if r is not but and not r.users and self._may_go(r)), key=_age)
        for each in free:
            if self.used + size <= budget:
                break
            self._drop(each, "room")
        return self.used + size <= budget

    def _may_go(self, resident: Resident[Any]) -> bool:
        return resident.model not in self.limits.keep

    def _check(self, model: str, size: int) -> None:
        if self.limits.budget is not None and size > self.limits.budget:
            raise Unavailable(
                f"{model} takes {size} bytes, more than the budget of {self.limits.budget} for all graphs",
                next_step="Raise serving.memory_megabytes, or register a smaller graph.",
            )

    def _drop(self, resident: Resident[Any], reason: str) -> None:
        if resident in self._held:
            self._held.discard(resident)
            resident.graphs = None
            self.watchers.on_unload(resident.model, reason)
            self._tell(resident.model)
            log.info("the graphs of %s are out of memory: %s", resident.model, reason)
            self._room.set()

    def _tell(self, model: str) -> None:
        self.watchers.on_bytes(model, float(sum(each.bytes for each in self._held if each.model == model)))


def _age(resident: Resident[Any]) -> float:
    return resident.used_at


def _weighed(build: Callable[[Contents], Mapping[str, G]], contents: Contents) -> tuple[Mapping[str, G], int]:
    """What was built, and by how many bytes the process grew meanwhile. Blocks."""
    before = _grown()
    built = build(contents)
    return built, max(0, _grown() - before)


def _grown() -> int:
    """Bytes of this process in memory, 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
