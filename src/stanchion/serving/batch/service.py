"""The rules of batch jobs: what may be read and written, which job an order means, and who works it off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.clock import Clock
from ...core.context import Context, Effect, new_request_id, system_context
from ...core.errors import Conflict, FieldProblem, InvalidInput, NotFound, StanchionError, Unavailable
from ...core.tasks import end_tasks
from ...core.telemetry.metrics import Metrics
from ...features import Features
from ...registry import ModelVersion, Registry
from ..contract import BatchJob, BatchOrder, ServedSpec
from ..loaded import DECLARED
from ..pool import Pool
from ..ports import Runtime
from .checking import Plan
from .delta import DeltaSource
from .enriching import Enricher
from .finish import leftovers
from .lookups import Lookups, Wanted, check_mark
from .metrics import BatchMetrics
from .opening import source_of
from .parts import Workshop, fingerprint
from .paths import Folders
from .pieces import Described, Source
from .reading import reference_of
from .scoring import FunctionScorer, Scorer, graph_scorer
from .source import digest_of
from .store import OPEN, BatchStore, Held, seen
from .work import Opened, Work

log = logging.getLogger(__name__)
_SMALLEST, _LARGEST = 100, 1_000_000


@dataclass(frozen=True, slots=True)
class Engines:
    """What jobs run on. `threads` is used where an order does not say, `features` where a table lacks some."""

    registry: Registry
    runtime: Runtime
    pool: Pool
    threads: int
    features: Features | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The checked paths of an order."""

    input: Path
    output: Path
    reference: Path | None


class BatchService:
    """Takes orders, works them off here and now or in the background, and tells how they stand.

    Nothing of a job is in memory only: a process that starts takes up the background jobs that another one left.
    """

    def __init__(
        self,
        *,
        store: BatchStore,
        engines: Engines,
        folders: Folders,
        specs: Sequence[ServedSpec],
        owner: str,
        clock: Clock,
        at_once: int,
        metrics: BatchMetrics | None = None,
    ) -> None:
        self._store = store
        self._engines = engines
        self._folders = folders
        self._functions = {spec.name: spec for spec in specs if spec.function is not None}
        self._owner = owner
        self._lookups = Lookups(specs, engines.features, owner)
        self._clock = clock
        self._slots = asyncio.Semaphore(at_once)
        self._metrics = metrics or BatchMetrics(Metrics())
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Take up the background jobs that have not ended and that nobody works on."""
        for held in await self._store.waiting():
            # Another machine's job: its folder is not here.
            if Path(held.job.order.output).parent.is_dir() and not self._busy(held):
                self._spawn(held)

    async def stop(self) -> None:
        """Leave the jobs under way where they are: the next process resumes them."""
        tasks = list(self._tasks.values())
        await end_tasks(*tasks)

    async def submit(self, ctx: Context, model: str, order: BatchOrder) -> BatchJob:
        """See `Batches.submit_batch`."""
        held = await self._ordered(ctx, model, order, background=True)
        if not held.job.reused:
            self._spawn(held)
        return held.job

    async def run(self, ctx: Context, model: str, order: BatchOrder) -> AsyncGenerator[BatchJob, None]:
        """See `Batches.run_batch`."""
        held = await self._ordered(ctx, model, order, background=False)
        if held.job.reused:
            yield held.job
            return
        async with aclosing(self._worked(ctx, held)) as jobs:
            async for job in jobs:
                yield job

    async def newest(self, ctx: Context, limit: int) -> Sequence[BatchJob]:
        """See `Batches.batches`."""
        if not 1 <= limit <= 500:
            raise InvalidInput("the limit must be 1 to 500", fields=[FieldProblem("$.limit", "Expected 1 to 500")])
        return [self._seen(held) for held in await self._store.newest(ctx.tenant, limit)]

    async def show(self, ctx: Context, job: str) -> BatchJob:
        """See `Batches.batch`."""
        return self._seen(await self._store.find(ctx.tenant, job))

    async def cancel(self, ctx: Context, job: str) -> BatchJob:
        """See `Batches.cancel_batch`."""
        held = await self._store.find(ctx.tenant, job)
        running = self._busy(held) or held.job.id in self._tasks
        ended = await self._store.cancel(ctx, held, running=running)
        if not running:
            output = Path(held.job.order.output)
            workshop = Workshop(output)
            if workshop.owner() == job:
                with workshop.taken():
                    workshop.clear()
                for draft in leftovers(output):
                    draft.unlink(missing_ok=True)
        return ended

    def _seen(self, held: Held) -> BatchJob:
        return seen(held.job, worked_on=self._busy(held) or held.job.id in self._tasks)

    @staticmethod
    def _busy(held: Held) -> bool:
        workshop = Workshop(Path(held.job.order.output))
        return workshop.owner() == held.job.id and workshop.busy()

    # Which job an order means

    async def _ordered(self, ctx: Context, model: str, order: BatchOrder, *, background: bool) -> Held:
        """The job of an order, new, to be resumed, or done before (`reused`). Everything that can be checked is."""
        files = self._checked(ctx.tenant, order)
        source = await asyncio.to_thread(source_of, files.input, delimiter=order.delimiter)
        described = await asyncio.to_thread(source.describe)
        mark = described.fingerprint
        if files.reference is not None:
            mark += "|" + await asyncio.to_thread(digest_of, files.reference)
        version = None if self._function(ctx.tenant, model) else await self._resolved(ctx.tenant, model)
        wanted = await self._lookups.wanted(ctx.tenant, model, version, described, order)
        mark += "" if wanted is None else wanted.mark
        order = replace(order, input=str(files.input), output=str(files.output))
        key = order.key or _key(ctx.tenant, model, order, mark)
        found = await self._store.by_key(ctx.tenant, key)
        if found is not None:
            known = await self._known(found, model, order, mark, version)
            if known is not None:
                return known
        if files.output.exists() and not order.overwrite:
            raise Conflict(
                f"{files.output.name} exists", next_step="Name another output, or allow it with `overwrite`."
            )
        Workshop(files.output).check_free()
        scorer = await self._scorer(ctx.tenant, model, version, order)
        try:
            self._planned(ctx.tenant, scorer, wanted, described, order)
        finally:
            scorer.close()
        held = self._new(ctx, model, order, key, mark, described, version, background=background)
        if ctx.effect is not None:
            ctx.effect.note(batch=held.job.id, version=held.job.version)
        await self._store.add(ctx, held)
        return held

    def _planned(
        self, tenant: str, scorer: Scorer, wanted: Wanted | None, described: Described, order: BatchOrder
    ) -> tuple[Plan, Enricher | None]:
        """What is read of the table, and what completes it. Raises InvalidInput if it does not fit the model."""
        enricher = None if wanted is None else Enricher(wanted, scorer, self._lookups.store, tenant)
        checker, taken = scorer.checker, [*scorer.names]
        if enricher is not None:
            checker, taken = enricher.checker, [*taken, *enricher.taken]
        plan = checker.plan(described, keep=order.keep, extra=order.extra, taken=taken, time=order.time)
        return plan, enricher

    def _checked(self, tenant: str, order: BatchOrder) -> Files:
        problems = []
        if not _SMALLEST <= order.chunk_rows <= _LARGEST:
            problems.append(FieldProblem("$.chunk_rows", f"Expected {_SMALLEST} to {_LARGEST}"))
        if not 0 <= order.most_bad <= 1:
            problems.append(FieldProblem("$.most_bad", "Expected 0 to 1"))
        if not 0 <= order.threads <= 64:
            problems.append(FieldProblem("$.threads", "Expected 0 to 64"))
        if len(order.key) > 200:
            problems.append(FieldProblem("$.key", "Expected at most 200 characters"))
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", fields=problems)
        return Files(
            self._folders.readable(tenant, order.input, "input"),
            self._folders.writable(tenant, order.output, "output"),
            self._folders.readable(tenant, order.reference, "reference") if order.reference else None,
        )

    async def _known(
        self, found: Held, model: str, order: BatchOrder, mark: str, version: ModelVersion | None
    ) -> Held | None:
        """The earlier job of this key if the order means it, or None for a new one. Raises Conflict."""
        job = found.job
        if (job.model, found.fingerprint, job.order.output) != (model, mark, order.output):
            raise Conflict(
                f"the key {job.key[:64]} stands for another job: model, input, output or features differ",
                next_step="Use a new key for a new job.",
            )
        if job.state == "done":
            same = bool(order.key) or version is None or version.manifest_sha256 == found.manifest
            intact = await asyncio.to_thread(_intact, job)
            return replace(found, job=replace(job, reused=True)) if same and intact else None
        if job.state not in OPEN and not (job.state == "failed" and job.chunks):
            return None
        if self._busy(found) or job.id in self._tasks:
            raise Conflict(f"the batch job {job.id} is running", next_step="Wait for it, or cancel it.")
        if not order.resume:
            raise Conflict(
                f"the batch job {job.id} stopped after {job.rows:,} rows",
                next_step="Run it again with `resume` or --resume, or cancel it first.",
            )
        return found

    def _new(
        self,
        ctx: Context,
        model: str,
        order: BatchOrder,
        key: str,
        mark: str,
        described: Described,
        version: ModelVersion | None,
        *,
        background: bool,
    ) -> Held:
        now = self._clock.now()
        job = BatchJob(
            id=new_request_id(),
            key=key,
            model=model,
            version=DECLARED if version is None else version.version,
            state="queued",
            order=order,
            requested_by=ctx.principal,
            created_at=now,
            updated_at=now,
            rows_total=described.rows,
            rows=0,
            quarantined=0,
            chunks=0,
        )
        manifest = "" if version is None else version.manifest_sha256
        return Held(ctx.tenant, job, manifest, mark, background, 0, 0.0)

    # Working off

    def _spawn(self, held: Held) -> None:
        task = asyncio.create_task(self._in_background(held), name=f"batch-{held.job.id}")
        self._tasks[held.job.id] = task
        self._metrics.queued(held.job)
        task.add_done_callback(lambda _: self._tasks.pop(held.job.id, None))
        task.add_done_callback(lambda _: self._metrics.gone(held.job))

    async def _in_background(self, held: Held) -> None:
        job = held.job
        effect = Effect(
            action="serving:batch",
            kind="write",
            resource=f"Model::{job.model}",
            tenant=held.tenant,
            principal=job.requested_by,
            request_id=job.id,
            trace_id="",
        )
        ctx = replace(system_context(held.tenant, task="batch"), effect=effect)
        async with self._slots:
            try:
                async with aclosing(self._worked(ctx, held)) as jobs:
                    async for _ in jobs:
                        pass
            except StanchionError as error:
                log.warning("the batch job %s failed: %s", job.id, error.detail)

    def _worked(self, ctx: Context, held: Held) -> AsyncGenerator[BatchJob, None]:
        return self._metrics.watched(held.job, self._steps(ctx, held))

    async def _steps(self, ctx: Context, held: Held) -> AsyncGenerator[BatchJob, None]:
        opened = await self._opened(held)
        try:
            async with aclosing(Work(opened, self._store, self._clock).run(ctx)) as jobs:
                async for job in jobs:
                    yield job
        finally:
            opened.scorer.close()

    async def _opened(self, held: Held) -> Opened:
        """The job with its file, which must be the one it was ordered for, and the version that was pinned then."""
        order = held.job.order
        # Again, and not from the order alone: the configuration may have changed since.
        files = self._checked(held.tenant, order)
        source = await asyncio.to_thread(source_of, files.input, delimiter=order.delimiter)
        mark = held.fingerprint.partition("|")[0]
        if isinstance(source, DeltaSource):
            source = source.at(mark)
        described = await asyncio.to_thread(source.describe)
        if described.fingerprint != mark:
            raise Conflict(
                f"{files.input.name} is not the file that the job was begun with",
                next_step="Put the file back, or cancel the job and order a new one.",
            )
        version = None
        if held.manifest:
            name = held.job.model.partition("@")[0]
            version = await self._resolved(held.tenant, f"{name}@{held.job.version}")
            if version.manifest_sha256 != held.manifest:
                raise Unavailable(f"{name} {held.job.version} is not the version that the job was begun with")
        wanted = await self._lookups.wanted(held.tenant, held.job.model, version, described, order)
        check_mark(wanted, held.fingerprint)
        scorer = await self._scorer(held.tenant, held.job.model, version, order)
        plan, enricher = self._planned(held.tenant, scorer, wanted, described, order)
        reference = await reference_of(
            system_context(held.tenant, task="batch"), scorer, self._reference_source(files, order), held.job
        )
        return Opened(held, source, files.input, plan, scorer, Workshop(files.output), reference, enricher)

    @staticmethod
    def _reference_source(files: Files, order: BatchOrder) -> Callable[[], Source] | None:
        path = files.reference
        return None if path is None else lambda: source_of(path, delimiter=order.delimiter)

    async def _scorer(self, tenant: str, model: str, version: ModelVersion | None, order: BatchOrder) -> Scorer:
        engines = self._engines
        spec = self._function(tenant, model)
        if spec is not None:
            return FunctionScorer(spec, engines.pool)
        if version is None:
            raise NotFound(f"there is no model {model}")
        # As the system itself: a caller that may order predictions need not be one that may read models.
        ctx = system_context(tenant, task="batch")
        threads = order.threads or engines.threads
        return await graph_scorer(ctx, engines.registry, engines.runtime, version, threads=threads)

    def _function(self, tenant: str, model: str) -> ServedSpec | None:
        return self._functions.get(model) if tenant == self._owner else None

    async def _resolved(self, tenant: str, reference: str) -> ModelVersion:
        return await self._engines.registry.resolve(system_context(tenant, task="batch"), reference)


def _key(tenant: str, model: str, order: BatchOrder, mark: str) -> str:
    """The name of a job that was given none: whatever decides its result, and not how it is worked off."""
    parts = (order.input, order.output, order.extra, order.delimiter, order.reference, *order.keep)
    return fingerprint(tenant, model, mark, *parts)


def _intact(job: BatchJob) -> bool:
    """Whether the output of a finished job is still the one that it wrote."""
    file = Path(job.order.output)
    return job.report is not None and file.is_file() and digest_of(file) == job.report.output_sha256
