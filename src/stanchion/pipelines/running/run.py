"""One claimed run from its beginning here to its end, its parking, or its loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...core.errors import StanchionError
from ...core.tasks import end_tasks
from ..contract import PipelineSpec, RunFault, StageFailed, StageSpec
from ..ports import NEVER, Cancelled, Claimed, Outcome, Recording, StepRow, Superseded
from ..values import codec
from .body import Body
from .children import Starter
from .shared import Skipped
from .steps import Tools, fault_of, undo

_log = logging.getLogger(__name__)


class Running:
    """A run that this process holds."""

    def __init__(self, tools: Tools, spec: PipelineSpec, claimed: Claimed, starter: Starter) -> None:
        self._tools = tools
        self._spec = spec
        self._claimed = claimed
        self._body = Body(tools, spec, claimed, starter)
        self._cancelling = asyncio.Event()
        self._stopping = asyncio.Event()
        if claimed.row.cancelling:
            self._cancelling.set()

    def cancel(self) -> None:
        """Somebody wants it to be cancelled."""
        self._cancelling.set()

    def stop(self) -> None:
        """This process ends: give the run back."""
        self._body.closing = True
        self._stopping.set()

    def lose(self) -> None:
        """Others have it: no further step begins, and what is under way is refused when it ends."""
        self._body.closing = True

    async def serve(self) -> None:
        """Run it. It is ended, parked, given back, or lost to another process afterwards."""
        try:
            await self._serve()
        except Superseded:
            await self._lost()
        except StanchionError as error:
            # The store does not answer: the run stays ours, and others take it over if that lasts.
            _log.warning("the run %s could not be written: %s", self._claimed.row.id, error.detail)
            await self._give_back()

    async def _serve(self) -> None:
        if self._cancelling.is_set():
            await self._cancelled()
            return
        code = asyncio.create_task(self._body.main(), name=f"run {self._claimed.row.id}")
        turns = [asyncio.create_task(e.wait()) for e in (self._body.parked, self._cancelling, self._stopping)]
        try:
            await asyncio.wait([code, *turns], timeout=self._left(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for turn in turns:
                turn.cancel()
        if code.done():
            await self._ended(code)
            return
        self._body.closing = True
        await _quiet(code)
        if code.done() and not code.cancelled() and isinstance(code.exception(), Superseded):
            raise Superseded("another process took the run over")
        if self._cancelling.is_set():
            await self._cancelled()
        elif self._stopping.is_set():
            await self._tools.engine.release(self._claimed.hold)
        elif self._body.parked.is_set():
            now, deadline = self._tools.now(), self._claimed.row.deadline or NEVER
            await self._tools.engine.park(self._claimed.hold, due=min(self._body.due, deadline), now=now)
        else:
            await self._failed(RunFault("deadline_exceeded", "the run took longer than its pipeline allows"))

    def _left(self) -> float | None:
        deadline = self._claimed.row.deadline
        return None if deadline is None else max(0.0, (deadline - self._tools.now()) / 1e6)

    async def _ended(self, code: asyncio.Task[Any]) -> None:
        """Write down how the run's code ended."""
        try:
            value = await code
            text = codec(self._spec.output).encode(value) if value is not None or not self._claimed.row.dry else "null"
            row = self._claimed.row
            output, blob = await self._tools.answers.keep(row.tenant, row.id, text)
            await self._finish(Outcome("done", output, blob))
        except Superseded:
            raise
        except Cancelled:
            await self._cancelled()
        except asyncio.CancelledError:
            await self._tools.engine.release(self._claimed.hold)
        except Skipped as left:
            await self._finish(Outcome("done", None, error=RunFault("dry", f"ended before {left}: a dry run")))
        except StageFailed as error:
            await self._failed(RunFault(error.code, error.message, error.stage))
        except Exception as error:
            _log.info("the run %s failed: %s", self._claimed.row.id, error, exc_info=True)
            await self._failed(fault_of(error))

    async def _failed(self, error: RunFault) -> None:
        problems = await self._compensate()
        if problems:
            error = replace(error, message=f"{error.message}; not undone: {', '.join(problems)}")
        await self._finish(Outcome("failed", error=error))

    async def _cancelled(self) -> None:
        problems = await self._compensate()
        words = "cancelled" + (f"; not undone: {', '.join(problems)}" if problems else "")
        await self._finish(Outcome("cancelled", error=RunFault("cancelled", words)))

    async def _finish(self, outcome: Outcome) -> None:
        await self._tools.engine.finish(self._claimed.hold, outcome, self._tools.now())

    async def _compensate(self) -> list[str]:
        """Undo what ended and can be undone, newest first; the steps for which that failed."""
        problems = []
        journal = self._body.journal
        for row in sorted(journal.values(), key=lambda row: (row.number, row.ended), reverse=True):
            spec = self._spec.stages.get(row.stage)
            if spec is None or spec.compensate is None or row.status != "done" or f"undo:{row.step}" in journal:
                continue
            if row.cached:
                continue  # another run did it, and may live on it
            if not await self._undone(spec, spec.compensate, row):
                problems.append(row.step)
        return problems

    async def _undone(self, spec: StageSpec, function: Callable[..., Any], row: StepRow) -> bool:
        tools, started, error = self._tools, self._tools.now(), None
        for attempt in range(1, spec.retry.attempts + 1):
            try:
                await undo(self._body.steps, tools, spec, function, row, self._body.ctx)
                error = None
                break
            except Exception as caught:
                error = fault_of(caught, spec.name)
                if attempt < spec.retry.attempts:
                    await asyncio.sleep(min(spec.retry.most, spec.retry.seconds * spec.retry.factor ** (attempt - 1)))
        else:
            _log.warning("the step %s of the run %s could not be undone", row.step, self._claimed.row.id)
        line = StepRow(
            f"undo:{row.step}", row.number, row.stage, "undone", started, tools.now(), error=error, output="null"
        )
        with suppress(Cancelled):
            await tools.engine.record(self._claimed.hold, Recording(line))
        return error is None

    async def _lost(self) -> None:
        row = self._claimed.row
        _log.warning("the run %s is held by another process: what this one brought is refused", row.id)
        with suppress(StanchionError):
            await self._tools.engine.refuse(self._claimed.hold)

    async def _give_back(self) -> None:
        with suppress(StanchionError):
            await self._tools.engine.release(self._claimed.hold)


async def _quiet(code: asyncio.Task[Any]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            await end_tasks(code)
