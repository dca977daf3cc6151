"""Calls shown to a version that nobody hears: in the background, within bounds, and never at the cost of an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from ...core.clock import Clock
from ...core.context import Context, new_request_id
from ...core.errors import StanchionError
from ...core.tasks import end_tasks
from ...core.values import Json
from ..contract import Difference, Predictions
from ..traffic import Assignment
from .board import Board, Split, count
from .counting import figure
from .metrics import RolloutMetrics
from .store import Disagreed

# Numbers closer than this are the same answer for whoever reads the figures.
_SAME = 0.01
_SHOWN = 200
Ask = Callable[[Context, str, Sequence[Mapping[str, Json]], Assignment], Awaitable[Predictions]]


class _Shown(NamedTuple):
    ctx: Context
    split: Split
    instances: Sequence[Mapping[str, Json]]
    answer: Predictions


class Mirror:
    """A queue of at most `waiting` calls and one task that works it off; what finds it full is dropped and counted."""

    def __init__(
        self,
        board: Board,
        ask: Ask,
        *,
        clock: Clock,
        waiting: int,
        seconds: float,
        metrics: RolloutMetrics,
    ) -> None:
        self._board = board
        self._ask = ask
        self._clock = clock
        self._seconds = seconds
        self._metrics = metrics
        self._queue: asyncio.Queue[_Shown] = asyncio.Queue(maxsize=waiting)
        self._task: asyncio.Task[None] | None = None
        board.mirror(self.offer)

    def start(self) -> None:
        """Begin to work off the queue."""
        self._task = asyncio.create_task(self._work(), name="serving-mirror")

    async def stop(self) -> None:
        """End, whatever waits."""
        await end_tasks(self._task)

    async def idle(self) -> None:
        """Return when everything that was offered has been worked off."""
        await self._queue.join()

    def offer(self, ctx: Context, split: Split, instances: Sequence[Mapping[str, Json]], answer: Predictions) -> bool:
        """Take a call; whether there was room."""
        if self._queue.full():
            self._metrics.mirrored(split.record.rollout.model, "dropped")
            return False
        self._queue.put_nowait(_Shown(ctx, split, instances, answer))
        return True

    async def _work(self) -> None:
        while True:
            shown = await self._queue.get()
            try:
                await self._one(shown)
            finally:
                self._queue.task_done()
            # Whoever waits for an answer goes first.
            await asyncio.sleep(0)

    async def _one(self, shown: _Shown) -> None:
        split = shown.split
        rollout = split.record.rollout
        arm = split.names.candidate
        # A call of its own: its caller's deadline and budget are not spent on it, and its id is not taken twice.
        ctx = replace(
            shown.ctx,
            request_id=new_request_id(),
            deadline=self._clock.monotonic() + self._seconds,
            effect=None,
        )
        started = time.perf_counter()
        try:
            answer = await self._ask(
                ctx, f"{rollout.model}@{rollout.candidate}", shown.instances, Assignment(rollout.candidate, arm)
            )
        except StanchionError:
            split.tally(arm).failed()
            self._metrics.mirrored(rollout.model, "failed")
            return
        count(split.tally(arm), answer, time.perf_counter() - started)
        comparable = answer.served_by == shown.answer.served_by == "primary"
        self._metrics.mirrored(rollout.model, "compared" if comparable else "uncompared")
        if comparable:
            self._compare(split, shown, answer)

    def _compare(self, split: Split, shown: _Shown, answer: Predictions) -> None:
        tally = split.tally(split.names.candidate)
        largest: tuple[float, str, str] | None = None
        for mine, theirs in zip(answer.items, shown.answer.items, strict=True):
            if mine.error is not None or theirs.error is not None:
                continue
            size = differs(theirs.values, mine.values)
            tally.compared += 1
            tally.difference += size
            self._metrics.differed(split.record.rollout.model, size)
            tally.disagreements += size > _SAME
            if size > _SAME and (largest is None or size > largest[0]):
                largest = (size, _text(theirs.values), _text(mine.values))
        tally.changed = True
        if largest is not None:
            rollout = split.record.rollout
            found = Difference(self._clock.now(), shown.ctx.request_id, largest[1], largest[2], largest[0])
            self._board.note(Disagreed(split.record.tenant, rollout.id, found))


def differs(one: Mapping[str, Json], other: Mapping[str, Json]) -> float:
    """How far two answers are apart: the distance of their numbers, at least 1 where another field differs."""
    here, there = _number(figure(one)), _number(figure(other))
    gap = abs(here - there) if here is not None and there is not None else float(figure(one) != figure(other))
    words = {name: value for name, value in one.items() if _number(value) is None}
    others = {name: value for name, value in other.items() if _number(value) is None}
    return max(gap, 1.0) if words != others else gap


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(values: Mapping[str, Json]) -> str:
    return msgspec.json.encode(values).decode()[:_SHOWN]
