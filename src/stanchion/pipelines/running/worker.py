"""The worker of a process: claims runs, keeps its heartbeat, and takes over what dead processes left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...core.errors import StanchionError
from ...core.tasks import end_tasks
from ..contract import PipelineSpec
from ..ports import Bound, Claimed, Executor
from .bells import Bells
from .children import Starter
from .liveness import Watchman, own_id
from .run import Running
from .steps import Tools

_log = logging.getLogger(__name__)
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Pace:
    """How a worker works: see the settings of the module."""

    queues: Sequence[str]
    concurrency: int
    poll: float
    lease: float
    stalls: int


class Worker:
    """Runs what is due, for as long as the process lives."""

    def __init__(
        self,
        tools: Tools,
        specs: Mapping[str, PipelineSpec],
        bounds: Mapping[str, Bound],
        pace: Pace,
        starter: Starter,
        bells: Bells,
    ) -> None:
        self._tools = tools
        self._bells = bells
        self._specs = specs
        self._bounds = bounds
        self._pace = pace
        self._starter = starter
        self._me = self._new()
        self._watchman = Watchman(self._me.id, lease=pace.lease)
        self._running: dict[tuple[str, str, int], Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._closing = False
        self._more = False

    def _new(self) -> Executor:
        code = [(spec.name, spec.version) for spec in self._specs.values()]
        return Executor(own_id(), 0, tuple(self._pace.queues), tuple(code))

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def start(self) -> None:
        """Make the process known, take over what died before it, and begin to claim."""
        await self._tools.engine.register(self._me)
        await self._sweep()
        self._loops = [
            asyncio.create_task(self._serve(), name="pipelines claim"),
            asyncio.create_task(self._live(), name="pipelines heartbeat"),
        ]

    async def stop(self) -> None:
        """Give back what is under way; other processes go on with it at once."""
        self._closing = True
        for running in self._running.values():
            running.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=30)
        await end_tasks(*self._loops)
        with suppress(StanchionError):
            await self._tools.engine.bury(self._me.id, self._tools.now(), stalls=1 << 30)

    async def _serve(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                claimed = await self._claim()
            except StanchionError as error:
                _log.warning("runs could not be claimed: %s", error.detail)
                claimed = ()
            for each in claimed:
                self._begin(each)
            if not claimed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.poll):
                        await self._wake.wait()

    async def _claim(self) -> Sequence[Claimed]:
        room = min(self._pace.concurrency - len(self._running), _AT_ONCE)
        engine, now = self._tools.engine, self._tools.now()
        # A look is cheap and takes no lock: an idle process writes nothing. It is spared if the last claim left some.
        if room <= 0 or not (self._more or await engine.waiting(self._me, now)):
            return ()
        claimed = await engine.claim(self._me, self._bounds, limit=room, now=now)
        self._more = len(claimed) == room
        return claimed

    def _begin(self, claimed: Claimed) -> None:
        spec = self._specs[claimed.row.pipeline]
        running = Running(self._tools, spec, claimed, self._starter)
        key = (claimed.row.tenant, claimed.row.id, claimed.row.epoch)
        self._running[key] = running

        async def serve() -> None:
            try:
                await running.serve()
            except Exception:
                _log.exception("the run %s ended outside of its journal", claimed.row.id)
            finally:
                del self._running[key]
                self._wake.set()
                self._bells.ring(claimed.row.id)

        task = asyncio.create_task(serve(), name=f"hold {claimed.row.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(self._pace.lease / 4)
            try:
                await self._beat()
                await self._sweep()
            except StanchionError as error:
                _log.warning("the heartbeat could not be written: %s", error.detail)

    async def _beat(self) -> None:
        heard = await self._tools.engine.beat(self._me)
        if not heard.alive:
            await self._resurrect()
            return
        for (_, run, _), running in self._running.items():
            if run in heard.cancelling:
                running.cancel()

    async def _resurrect(self) -> None:
        """Others took this process for dead: its runs are theirs now. It begins anew under another name."""
        _log.warning("this process was taken for dead after %s s without a heartbeat", self._pace.lease)
        for running in self._running.values():
            running.lose()
        self._me = self._new()
        self._watchman = Watchman(self._me.id, lease=self._pace.lease)
        await self._tools.engine.register(self._me)

    async def _sweep(self) -> None:
        engine = self._tools.engine
        for dead in self._watchman.dead(await engine.executors(), self._tools.clock.monotonic()):
            taken = await engine.bury(dead, self._tools.now(), stalls=self._pace.stalls)
            if taken:
                _log.warning("%s runs of a process that died go on", taken)
                self._wake.set()

    def cancel(self, tenant: str, run: str) -> None:
        """Cancel a run at once if it is here, without waiting for the next heartbeat."""
        for (whose, which, _), running in self._running.items():
            if (whose, which) == (tenant, run):
                running.cancel()
