"""The code of one run: replays what its journal has, does the next step, and lets go where all of it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from ...core.clock import moment
from ...core.errors import DeadlineExceeded, Misconfigured
from ...core.values import Json
from ..contract import LiveRun, PipelineSpec, RunFault, Stage, StageFailed, StageSpec, bound, enter_run
from ..contract.graph import at_once
from ..ports import NEVER, Claimed, Recording, StepRow
from ..values import codec, context_of_run, plain
from .children import Children, Starter, Wanted
from .graphs import follow
from .shared import Skipped, encoded, together
from .steps import Call, Steps, Tools

T = TypeVar("T")
_QUIET = 0.02
"""Seconds in which a run that waits must begin nothing else before it is parked."""


_LATE = RunFault("deadline_exceeded", "")


class Body(LiveRun):
    """What the code of a run calls. Each call has a key: the same code gives the same keys at each replay."""

    def __init__(self, tools: Tools, spec: PipelineSpec, claimed: Claimed, starter: Starter) -> None:
        self.id = claimed.row.id
        self.row = claimed.row
        self.ctx = context_of_run(claimed.row)
        self.journal = {row.step: row for row in claimed.steps}
        self.parked = asyncio.Event()
        self.closing = False
        self.steps = Steps(tools, claimed, self.ctx)
        self._tools = tools
        self._spec = spec
        self._hold = claimed.hold
        self._children = Children(tools, claimed, starter)
        self._names: dict[str, int] = {}
        self._number = 0
        self._active = 0
        self._moves = 0
        self._idle: dict[str, int] = {}

    # -- what the code of a run calls

    def step(self, stage: Callable[..., T], /, *args: Any, **kwargs: Any) -> Awaitable[T]:
        spec = self._stage(stage)
        arguments = encoded(spec, bound(spec, args, kwargs))
        return self.call(spec, arguments, *self._next(spec.name))

    def map(self, stage: Callable[..., T], items: Sequence[Any], *, parallel: int = 8) -> Awaitable[list[T]]:
        spec = self._stage(stage)
        at_once(spec, parallel)
        key, number = self._next(spec.name)
        over = next(iter(spec.parameters))
        return self.each(spec, over, items, {}, key, number, parallel)

    def wait(self, name: str, *, timeout: float | None = None, kind: Any = None) -> Awaitable[Any]:
        key, number = self._next(f"wait:{name}")
        return self._awaited(key, number, "wait", name, timeout, Json if kind is None else kind)

    def sleep(self, seconds: float) -> Awaitable[None]:
        key, number = self._next("sleep")
        return self._slept(key, number, seconds)

    def child(
        self, pipeline: str, inputs: Any, *, key: str | None = None, partition: str | None = None
    ) -> Awaitable[Json]:
        # A partition names its step: where many are begun side by side, their order may differ from time to time.
        step, number = self._next(f"child:{pipeline}" + (f"[{partition}]" if partition else ""))
        return self._child(step, number, Wanted(pipeline, inputs, key or f"{self.id}/{step}", partition))

    def now(self) -> Awaitable[datetime]:
        key, number = self._next("now")
        return self._moment(key, number)

    # -- steps

    async def call(self, spec: StageSpec, arguments: Mapping[str, str], key: str, number: int) -> Any:
        """The answer of a stage under a key of the journal. Raises StageFailed, Skipped."""
        while (row := self.journal.get(key)) is None or row.status == "retrying":
            if row is not None and row.until is not None and row.until > self._tools.now():
                await self._until(key, row.until)
                continue
            if self.row.dry and spec.effect:
                await self._skip(spec, key, number)
            self._begin()
            try:
                self.journal[key] = await self.steps.run(Call(spec, key, number, arguments), row)
            finally:
                self._end()
        if row.status == "skipped":
            raise Skipped(spec.name)
        if row.error is not None:
            raise StageFailed(row.error.code, row.error.message, spec.name)
        text = await self._tools.answers.load(row.output, row.blob)
        return codec(spec.output).decode("null" if text is None else text)

    async def each(
        self,
        spec: StageSpec,
        over: str,
        items: Sequence[Any],
        others: Mapping[str, Any],
        key: str,
        number: int,
        parallel: int,
    ) -> list[Any]:
        """A stage's answers for items, so many at once; the first failure ends the others."""
        room = asyncio.Semaphore(parallel)

        async def one(place: int, item: Any) -> Any:
            async with room:
                return await self.call(spec, encoded(spec, {over: item, **others}), f"{key}[{place}]", number)

        return await together([one(place, item) for place, item in enumerate(items)])

    async def _skip(self, spec: StageSpec, key: str, number: int) -> None:
        now = self._tools.now()
        row = StepRow(key, number, spec.name, "skipped", now, now, attempts=0, notes=("left out: a dry run",))
        self.journal[key] = await self._tools.engine.record(self._hold, Recording(row))
        raise Skipped(spec.name)

    # -- waits

    async def _awaited(self, key: str, number: int, stage: str, name: str, timeout: float | None, kind: Any) -> Any:
        row = await self.signalled(key, number, stage, name, timeout)
        if row.error is not None:
            raise DeadlineExceeded(row.error.message)
        return codec(kind).decode(row.output or "null")

    async def signalled(self, key: str, number: int, stage: str, name: str, timeout: float | None) -> StepRow:
        """The wait's line in the journal, once it has a signal or its time is over."""
        tools = self._tools
        while (row := self.journal.get(key)) is None or row.status == "waiting":
            now, new = tools.now(), row is None
            if row is None:
                until = None if timeout is None else now + int(timeout * 1e6)
                row = StepRow(key, number, stage, "waiting", now, now, attempts=0, until=until, awaits=name)
            self._begin()
            try:
                row = self.journal[key] = await tools.engine.take(self._hold, row, new=new, now=now)
                if row.status == "waiting" and row.until is not None and row.until <= now:
                    error = replace(_LATE, message=f"nothing came for {name!r} in time", stage=stage)
                    late = replace(row, status="failed", ended=now, error=error)
                    self.journal[key] = await tools.engine.record(self._hold, Recording(late, new=False))
            finally:
                self._end()
            if self.journal[key].status == "waiting":
                await self._until(key, row.until or NEVER)
        return row

    async def _slept(self, key: str, number: int, seconds: float) -> None:
        row = self.journal.get(key)
        if row is None:
            now = self._tools.now()
            row = StepRow(key, number, "sleep", "waiting", now, now, attempts=0, until=now + int(seconds * 1e6))
            self.journal[key] = await self._written(row, new=True)
        if row.status == "waiting" and row.until is not None:
            while row.until > self._tools.now():
                await self._until(key, row.until)
            done = replace(row, status="done", ended=self._tools.now(), output="null")
            self.journal[key] = await self._written(done, new=False)

    async def _moment(self, key: str, number: int) -> datetime:
        row = self.journal.get(key)
        if row is None:
            now = self._tools.now()
            row = StepRow(key, number, "now", "done", now, now, output=str(now))
            self.journal[key] = await self._written(row, new=True)
        return moment(int(row.output or 0))

    async def _child(self, step: str, number: int, wanted: Wanted) -> Json:
        row = self.journal.get(step)
        if row is not None:
            name = row.awaits
        else:
            self._begin()
            try:
                child = await self._children.begun(wanted)
            finally:
                self._end()
            name = f"child:{child.id}"
        run = name.removeprefix("child:")
        if row is not None or child.parent == self.id:
            await self.signalled(step, number, "child", name, None)
        # Where somebody else began it, or resumed it, its end is told to others: we look from time to time.
        while (await self._children.seen(run)).ended is None:
            await self._until(step, self._tools.now() + 5_000_000)
        return plain(await self._children.output(run))

    async def _written(self, row: StepRow, *, new: bool) -> StepRow:
        self._begin()
        try:
            return await self._tools.engine.record(self._hold, Recording(row, new=new))
        finally:
            self._end()

    # -- letting go

    async def _until(self, key: str, until: int) -> None:
        """Come back when the run goes on, or when something else of it ended; parks it if nothing is under way."""
        self._idle[key] = until
        self._moved()
        try:
            near = (until - self._tools.now()) / 1e6
            await asyncio.sleep(max(0.0, min(near, 1.0)))
        finally:
            self._idle.pop(key, None)

    @property
    def due(self) -> int:
        """When a parked run goes on without a signal."""
        untils = [row.until or NEVER for row in self.journal.values() if row.status in ("waiting", "retrying")]
        return min([*untils, *self._idle.values(), NEVER])

    def _begin(self) -> None:
        if self.closing:
            raise asyncio.CancelledError
        self._active += 1
        self._moves += 1

    def _end(self) -> None:
        self._active -= 1
        self._moved()

    def _moved(self) -> None:
        self._moves += 1
        if self._active == 0 and self._idle:
            asyncio.get_running_loop().call_later(_QUIET, self._look, self._moves)

    def _look(self, moves: int) -> None:
        if moves == self._moves and self._active == 0 and self._idle:
            self.closing = True
            self.parked.set()

    def _next(self, name: str) -> tuple[str, int]:
        self._number += 1
        count = self._names[name] = self._names.get(name, 0) + 1
        return (name if count == 1 else f"{name}#{count}"), self._number

    @staticmethod
    def _stage(stage: Any) -> StageSpec:
        if not isinstance(stage, Stage):
            raise Misconfigured(f"{stage} is no stage", next_step="Declare it with @app.stage().")
        return stage.spec

    async def main(self) -> Any:
        """Run the code of the pipeline; its answer."""
        inputs = codec(self._spec.input).decode(self.row.inputs)
        if self._spec.graph is not None:
            return await follow(self, self._spec, inputs)
        enter_run(self)
        return await self._spec.function(self, inputs)
