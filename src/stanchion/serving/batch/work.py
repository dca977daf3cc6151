"""One job worked off: read, check, predict, store, record; chunk by chunk, each safe before the next is begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput, StanchionError, Unavailable
from ..contract import BatchJob, BatchProblem
from .checking import PROBLEMS, RAW, ROW, Admitted, Plan
from .enriching import Enricher
from .finish import Finish
from .parts import Workshop
from .pieces import Piece, Source
from .scoring import Scored, Scorer
from .store import BatchStore, Chunk, Facts, Held
from .tally import Reference, added, facts_of

if TYPE_CHECKING:
    import pyarrow

P = ParamSpec("P")
T = TypeVar("T")
_ENOUGH_TO_JUDGE = 1_000
_TOLD = 10


@dataclass(frozen=True, slots=True)
class Opened:
    """All that a job needs while it is worked off."""

    held: Held
    source: Source
    input: Path
    plan: Plan
    scorer: Scorer
    workshop: Workshop
    reference: Reference | None
    enricher: Enricher | None = None


class Work:
    """Works one job off, from where it stopped."""

    def __init__(self, opened: Opened, store: BatchStore, clock: Clock) -> None:
        self._opened = opened
        self._order = opened.held.job.order
        self._store = store
        self._clock = clock

    async def run(self, ctx: Context) -> AsyncGenerator[BatchJob, None]:
        """The job after every chunk, and at the end. `ctx` carries the effect that its end is audited with.

        Raises what made it fail, once that is recorded. Leaving it leaves the job to be resumed.
        """
        opened = self._opened
        with opened.workshop.taken():
            try:
                # A signature before the first byte: a file that is changed while it is read shows at the end.
                before = await asyncio.to_thread(_signature, opened.input)
                async with aclosing(self._chunks()) as jobs:
                    async for job in jobs:
                        yield job
                if job.state == "cancelling":
                    yield await self._cancelled(ctx)
                    return
                if await asyncio.to_thread(_signature, opened.input) != before:
                    raise InvalidInput(
                        f"{opened.input.name} was changed while it was read",
                        next_step="Run it again on a file at rest.",
                    )
                held = await self._store.find(opened.held.tenant, opened.held.job.id)
                finish = Finish(opened.workshop, held, opened.plan, opened.scorer, opened.reference)
                chunks = await self._store.chunks(held)
                started = self._clock.monotonic()
                report = await _whole(finish.publish, chunks, lambda: held.seconds + self._clock.monotonic() - started)
                if ctx.effect is not None:
                    ctx.effect.note(batch=job.id, rows=report.rows, quarantined=report.quarantined)
                done = await self._store.end(ctx, opened.held, "done", report=report)
                opened.workshop.clear()
                yield done
            except Exception as error:
                raise await self._failed(error) from error

    async def _chunks(self) -> AsyncGenerator[BatchJob, None]:
        opened, order = self._opened, self._order
        opened.workshop.claim(opened.held.job.id)
        kept = await self._kept()
        held = await self._store.begin(opened.held, kept, resumed=opened.held.job.state != "queued")
        job = held.job
        seen = [chunk.facts for chunk in kept]
        yield job
        pieces = opened.source.pieces(order.chunk_rows, opened.plan.columns, skip=len(kept))
        number = len(kept)
        # The next piece is read and checked while this one is predicted.
        coming = asyncio.create_task(asyncio.to_thread(self._next, pieces))
        try:
            while True:
                started = self._clock.monotonic()
                admitted = await asyncio.shield(coming)
                if admitted is None:
                    break
                coming = asyncio.create_task(asyncio.to_thread(self._next, pieces))
                chunk = await self._one(number, admitted)
                job = await self._store.record(opened.held, chunk, seconds=self._clock.monotonic() - started)
                number = number + 1
                seen.append(chunk.facts)
                yield job
                if job.state == "cancelling":
                    return
                self._judge(seen, last=False)
        finally:
            # A thread cannot be stopped: the file must not be closed under it.
            await asyncio.gather(coming, return_exceptions=True)
        if not job.rows:
            raise InvalidInput(f"{opened.input.name} holds no rows", next_step="Give a table with at least one row.")
        self._judge(seen, last=True)

    def _next(self, pieces: Iterator[Piece]) -> Admitted | None:
        piece, opened = next(pieces, None), self._opened
        checker = opened.scorer.checker if opened.enricher is None else opened.enricher.checker
        return None if piece is None else checker.admit(piece, opened.plan.fields)

    async def _kept(self) -> list[Chunk]:
        """The finished chunks whose files are there and whole, up to the first that is not."""
        chunks = await self._store.chunks(self._opened.held)

        def sound() -> list[Chunk]:
            kept = []
            for place, chunk in enumerate(chunks):
                if chunk.number != place or not self._opened.workshop.intact(place, chunk.size, chunk.sha256):
                    break
                kept.append(chunk)
            return kept

        return await asyncio.to_thread(sound)

    async def _one(self, number: int, admitted: Admitted) -> Chunk:
        ctx = Context(self._opened.held.tenant, "system:batch")
        enricher = self._opened.enricher
        if enricher is None:
            scored = await self._opened.scorer.score(ctx, admitted)
        else:
            admitted, scored = await enricher.score(ctx, await enricher.enriched(admitted))
        return await _whole(self._stored, number, admitted, scored)

    def _stored(self, number: int, admitted: Admitted, scored: Scored) -> Chunk:
        piece = admitted.piece
        output = _output(admitted, scored, self._opened.plan.kept)
        bad = _quarantined(admitted, csv=self._opened.input.suffix != ".parquet" and not self._opened.input.is_dir())
        size, sha256 = self._opened.workshop.store(number, output, bad)
        scorer = self._opened.scorer
        reasons = [text.split("; ", 1)[0] for text in admitted.reasons] + [each.problem for each in piece.broken]
        facts: Facts = facts_of(
            piece.rows,
            admitted.matrix,
            scorer.checker.columns,
            scored.probability,
            scored.labels,
            reasons,
            self._opened.reference,
        )
        return Chunk(number, size, sha256, facts)

    def _judge(self, seen: Sequence[Facts], *, last: bool) -> None:
        """Raise InvalidInput if so many rows are bad that the file cannot be what it was meant to be."""
        rows, bad = sum(facts.rows for facts in seen), sum(facts.quarantined for facts in seen)
        if (not last and rows < _ENOUGH_TO_JUDGE) or bad <= self._order.most_bad * rows:
            return
        commonest = list(added(seen).problems.items())[:_TOLD]
        raise InvalidInput(
            f"{bad:,} of {rows:,} rows are not valid, more than the share of {self._order.most_bad:g} that may be",
            fields=[FieldProblem("$", f"{count:,} rows: {problem}") for problem, count in commonest],
            next_step="Correct the rows, or allow more of them to be quarantined with `most_bad` or --most-bad.",
        )

    async def _cancelled(self, ctx: Context) -> BatchJob:
        job = await self._store.end(ctx, self._opened.held, "cancelled", forget=True)
        self._opened.workshop.clear()
        return job

    async def _failed(self, error: Exception) -> StanchionError:
        """Record how the job failed. What another attempt could do better is kept for it."""
        problem = _problem(error)
        # A faulty input will be faulty again: its parts are of no use to anybody.
        hopeless = isinstance(problem, InvalidInput)
        told = BatchProblem(problem.code, problem.detail, problem.hint)
        held = self._opened.held
        ctx = Context(held.tenant, "system:batch")
        await asyncio.shield(self._store.end(ctx, held, "failed", problem=told, forget=hopeless))
        if hopeless:
            self._opened.workshop.clear()
        return problem


async def _whole(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What a thread makes of it. Whoever is cancelled meanwhile leaves once it has ended: it cannot be stopped."""
    running = asyncio.create_task(asyncio.to_thread(work, *given, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


def _problem(error: Exception) -> StanchionError:
    if isinstance(error, StanchionError):
        return error
    if isinstance(error, OSError):
        return Unavailable(
            f"the disk refused: {error.strerror or error}", next_step="Make room, then run it again with `resume`."
        )
    return StanchionError(f"the batch failed inside the service: {type(error).__name__}")


def _output(admitted: Admitted, scored: Scored, kept: Any) -> pyarrow.Table:
    import pyarrow

    table, sound = admitted.piece.table, admitted.sound
    rows = table if len(sound) == table.num_rows else table.take(pyarrow.array(sound))
    columns: dict[str, Any] = {ROW: pyarrow.array(admitted.piece.numbers[sound])}
    columns |= {name: rows.column(name) for name in kept}
    return pyarrow.table({**columns, **scored.columns})


def _quarantined(admitted: Admitted, *, csv: bool) -> pyarrow.Table | None:
    """The bad rows as they came, with their numbers and what is wrong with each, in the order of the input."""
    import pyarrow

    piece = admitted.piece
    if not admitted.bad and not piece.broken:
        return None
    rows = piece.table.take(pyarrow.array(list(admitted.bad), pyarrow.int64()))
    lost = len(piece.broken)
    columns: dict[str, Any] = {
        ROW: pyarrow.array([*piece.numbers[list(admitted.bad)].tolist(), *(each.number for each in piece.broken)]),
        PROBLEMS: pyarrow.array([*admitted.reasons, *(each.problem for each in piece.broken)], pyarrow.string()),
    }
    for name in piece.table.column_names:
        column = rows.column(name)
        columns[name] = pyarrow.chunked_array([*column.chunks, pyarrow.nulls(lost, column.type)], column.type)
    if csv:
        raw = [None] * len(admitted.bad) + [each.raw for each in piece.broken]
        columns[RAW] = pyarrow.array(raw, pyarrow.string())
    return pyarrow.table(columns).sort_by(ROW)


def _signature(path: Path) -> tuple[int, int]:
    """Size and time of the last change; nothing for a folder, whose table is pinned by its version."""
    found = path.stat()
    return (0, 0) if path.is_dir() else (found.st_size, found.st_mtime_ns)
