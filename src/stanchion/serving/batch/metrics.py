"""What Prometheus is told of the batch jobs that this process works off. Labels name models, never a tenant."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ...core.telemetry.metrics import Metrics
from ..contract import BatchJob


class BatchMetrics:
    """The instruments of a process."""

    def __init__(self, made: Metrics) -> None:
        jobs = made.gauge("stanchion_batch_jobs", "Batch jobs that this process holds", ("state",))
        self._rows = made.counter(
            "stanchion_batch_rows_total",
            "Rows that batch jobs have worked off: predicted or quarantined",
            ("model", "result"),
        )
        self._ended = made.counter(
            "stanchion_batch_jobs_ended_total",
            "Batch jobs that this process worked on and let go of: done, failed, cancelled or interrupted",
            ("model", "state"),
        )
        self._queued: set[str] = set()
        self._running: set[str] = set()
        jobs.watch(lambda: len(self._queued - self._running), "queued")
        jobs.watch(lambda: len(self._running), "running")

    def queued(self, job: BatchJob) -> None:
        """A job waits for its turn in the background."""
        self._queued.add(job.id)

    def gone(self, job: BatchJob) -> None:
        """A job is no longer held in the background, whatever came of it."""
        self._queued.discard(job.id)

    async def watched(self, job: BatchJob, steps: AsyncGenerator[BatchJob, None]) -> AsyncGenerator[BatchJob, None]:
        """The same steps of working a job off, while their rows and their end are counted."""
        model, state, before = job.model.partition("@")[0], "interrupted", None
        self._running.add(job.id)
        try:
            async with aclosing(steps):
                async for step in steps:
                    # What an earlier attempt had finished is in the first step, and was counted then.
                    bad = 0 if before is None else step.quarantined - before.quarantined
                    rows = 0 if before is None else step.rows - before.rows
                    self._rows.inc(model, "quarantined", by=max(0, bad))
                    self._rows.inc(model, "predicted", by=max(0, rows - bad))
                    state, before = step.state if step.state in ("done", "cancelled") else state, step
                    yield step
        except Exception:
            state = "failed"
            raise
        finally:
            self._running.discard(job.id)
            self._ended.inc(model, state)
