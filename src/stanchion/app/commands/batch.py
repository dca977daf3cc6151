"""`stanchion batch`: a table of predictions from a table, here and now; and the jobs that were run."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, cast, get_args

from ...core.config import Value
from ...core.context import Context
from ...core.errors import InvalidInput, Unavailable
from ...serving import BatchJob, BatchOrder, BatchReport, Extra, Serving
from .office import DONE, Options, opened, operator, run, show, table

_MODULES = ("features", "registry", "serving")
Work = Callable[[Options, Serving, Context], Awaitable[None]]


class Told(NamedTuple):
    """What was said on the command line."""

    input: Path
    output: Path
    chunk: int
    resume: bool
    overwrite: bool
    key: str
    keep: Sequence[str]
    extra: str
    reference: Path | None
    most_bad: float
    delimiter: str
    threads: int
    time: str


def batched(file: Path, model: str, told: Told, *, data: Path, json: bool) -> int:
    """Predict a file; the exit code."""
    given = [told.input, told.output, *([told.reference] if told.reference is not None else [])]
    # Whoever names a file on this machine's command line may use the folder it lies in.
    folders: list[Value] = [*sorted({str(path.resolve().parent) for path in given})]
    options = Options(data=data, json=json, flags={"serving": {"batch_folders": folders}})

    async def work() -> int:
        order = _order(told)
        async with opened(options, file=file, only=_MODULES) as house:
            jobs = house.door(Serving).run_batch(operator(house.settings.tenant), model, order)
            job = await _followed(jobs, model, quiet=json)
        show(options, asdict(job), lambda: _summary(job))
        return DONE

    return run(options, work)


def _order(told: Told) -> BatchOrder:
    if told.extra not in get_args(Extra):
        raise InvalidInput(f"--extra {told.extra} is none of {', '.join(get_args(Extra))}")
    return BatchOrder(
        input=str(told.input.absolute()),
        output=str(told.output.absolute()),
        key=told.key,
        chunk_rows=told.chunk,
        keep=told.keep,
        # One of the three, as was just looked up.
        extra=cast(Extra, told.extra),
        delimiter=told.delimiter,
        reference="" if told.reference is None else str(told.reference.absolute()),
        most_bad=told.most_bad,
        threads=told.threads or os.cpu_count() or 1,
        overwrite=told.overwrite,
        resume=told.resume,
        time=told.time,
    )


async def _followed(jobs: AsyncIterator[BatchJob], model: str, *, quiet: bool) -> BatchJob:
    """Show each chunk; the job at its end."""
    last: BatchJob | None = None
    if sys.stderr.isatty() and not quiet:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(f"predicting with {model}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"),
                   TextColumn("{task.description}"), TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=None)
            async for job in jobs:
                bad = f"{job.quarantined:,} quarantined" if job.quarantined else ""
                progress.update(task, completed=job.rows, total=max(job.rows_total, job.rows), description=bad)
                last = job
    else:
        async for job in jobs:
            if not quiet:
                sys.stderr.write(f"{model}: {job.rows:,} of {max(job.rows_total, job.rows):,} rows\n")
            last = job
    if last is None or last.report is None:
        raise Unavailable(f"the batch of {model} ended without a report")
    return last


def _summary(job: BatchJob) -> str:
    report = job.report
    if report is None:
        return f"{job.id}: {job.state}"
    head = "done before; nothing was done" if job.reused else f"{report.seconds:,.1f} s"
    lines = [
        f"{job.model} {job.version}: {report.predicted:,} of {report.rows:,} rows predicted, "
        f"{report.rows_per_second:,.0f} rows/s, {head}",
        f"  output      {job.order.output}",
    ]
    if report.quarantined:
        lines.append(f"  quarantine  {report.quarantine} ({report.quarantined:,} rows)")
        lines += [f"    {count:8,}  {problem}" for problem, count in list(report.problems.items())[:5]]
    if report.mean is not None:
        labels = "".join(f"   {name} {count:,}" for name, count in report.labels.items())
        lines.append(f"  predictions mean {report.mean:.4f}{labels}")
    lines += _drift(report)
    if report.picture:
        lines.append(f"  picture     {report.picture}")
    return "\n".join(lines)


def _drift(report: BatchReport) -> list[str]:
    if not report.reference:
        return ["  drift       nothing to compare with: give --reference, or train the model anew"]
    found = [*report.drift, *([report.prediction_drift] if report.prediction_drift is not None else [])]
    moved = sorted((each for each in found if each.verdict != "stable"), key=lambda each: -each.psi)
    if not moved:
        return [f"  drift       none against {report.reference}"]
    return [f"  drift       against {report.reference}"] + [
        f"    {each.column:24} PSI {each.psi:.3f}  {each.verdict}" for each in moved[:10]
    ]


def _at_serving(data: Path, json: bool, work: Work) -> int:
    options = Options(data=data, json=json)

    async def whole() -> int:
        async with opened(options, only=_MODULES) as house:
            await work(options, house.door(Serving), operator(house.settings.tenant))
        return DONE

    return run(options, whole)


def listed(*, data: Path, json: bool) -> int:
    """Print the newest jobs."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        jobs = await serving.batches(ctx)
        head = ("ID", "MODEL", "VERSION", "STATE", "ROWS", "BAD", "OUTPUT", "STARTED")
        rows = [
            (
                job.id,
                job.model,
                job.version,
                job.state,
                f"{job.rows:,}",
                f"{job.quarantined:,}",
                Path(job.order.output).name,
                f"{job.created_at:%Y-%m-%d %H:%M}",
            )
            for job in jobs
        ]
        show(options, [asdict(job) for job in jobs], lambda: table(head, rows) if rows else "No batch was run yet.")

    return _at_serving(data, json, work)


def shown(job: str, *, data: Path, json: bool) -> int:
    """Print one job."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        found = await serving.batch_job(ctx, job)
        show(options, asdict(found), lambda: _told(found))

    return _at_serving(data, json, work)


def _told(job: BatchJob) -> str:
    lines = [f"{job.id}: {job.state}, {job.rows:,} of {max(job.rows_total, job.rows):,} rows in {job.chunks:,} chunks"]
    if job.problem is not None:
        lines += [f"  {job.problem.code}: {job.problem.detail}", f"  next: {job.problem.next_step}"]
    return "\n".join([*lines, _summary(job)] if job.report is not None else lines)


def cancelled(job: str, *, data: Path, json: bool) -> int:
    """Cancel a job."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        found = await serving.cancel_batch(ctx, job)
        show(options, asdict(found), lambda: f"{found.id} is {found.state}")

    return _at_serving(data, json, work)
