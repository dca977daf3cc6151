"""Batch jobs: how far each is, what it read, predicted and set aside, and the forms that cancel and resume one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import InvalidInput, NotFound, StanchionError
from ....serving import BatchJob, BatchReport, ColumnDrift, Serving
from ..assets import BASE
from ..charts import histogram
from ..flash import Flash
from ..shell import Shell

_LIMIT = 50
_REASONS, _COLUMNS, _LABELS = 20, 25, 12
# States in which news may still come of the job's own accord.
_LIVE = ("queued", "running", "cancelling", "interrupted")
_VERDICTS = ("drifted", "shifted", "stable")


async def listing(shell: Shell, request: Request, ctx: Context) -> Response:
    """The newest fifty jobs."""
    return shell.page(request, "batches.html", **await _listed(shell, ctx), live=f"{BASE}/fragments/batches")


async def listing_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Their rows alone."""
    return shell.fragment(request, "_batches.html", **await _listed(shell, ctx))


async def detail(shell: Shell, request: Request, ctx: Context) -> Response:
    """One job."""
    return await _show(shell, request, ctx)


async def detail_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """How far the job is, and its report once there is one."""
    job = await _serving(shell).batch_job(ctx, request.path_params["job"])
    return shell.fragment(request, "_batch.html", **_shown(job))


async def acts_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """What can be done to the job in the state it is in: of its own, so that progress does not untick a box."""
    job = await _serving(shell).batch_job(ctx, request.path_params["job"])
    return shell.fragment(request, "_batch_acts.html", csrf=shell.doors.sessions.csrf(request), **_offered(job))


async def cancel(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Stop the job; its output never appears."""
    try:
        if form.get("confirm") != "yes":
            raise InvalidInput("cancelling was not confirmed", next_step="Tick the box above the button.")
        job = await _serving(shell).cancel_batch(ctx, request.path_params["job"])
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error)
    said = "ends after the chunk under way" if job.state == "cancelling" else "is cancelled"
    return shell.leave(request, _address(job), Flash("ok", f"The batch job {said}; no output appears."))


async def resume(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Let the job go on behind its last finished chunk, in the process that serves."""
    try:
        job = await _serving(shell).batch_job(ctx, request.path_params["job"])
        if not _resumable(job):
            raise InvalidInput(
                f"a job that is {job.state} cannot be resumed", next_step="Order it anew with `stanchion batch`."
            )
        order = replace(job.order, key=job.key, resume=True)
        begun = await _serving(shell).submit_batch(ctx, job.model, order)
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error)
    return shell.leave(request, _address(begun), Flash("ok", f"The batch job goes on after {begun.rows:,} rows."))


async def _listed(shell: Shell, ctx: Context) -> dict[str, Any]:
    serving = shell.doors.serving
    jobs: Sequence[BatchJob] = () if serving is None else await serving.batches(ctx, limit=_LIMIT)
    return {
        "here": serving is not None,
        "jobs": [(job, _name(job.order.input), _progress(job)) for job in jobs],
        "full": len(jobs) == _LIMIT,
    }


async def _show(shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None) -> Response:
    job = await _serving(shell).batch_job(ctx, request.path_params["job"])
    fragment = f"{BASE}/fragments/batches/{quote(job.id, safe='')}"
    moving = job.state in _LIVE
    return shell.page(
        request,
        "batch.html",
        error=error,
        name=_name(job.order.input),
        live=fragment if moving else None,
        live_acts=f"{fragment}/acts" if moving else None,
        **{**_shown(job), **_offered(job)},
    )


def _shown(job: BatchJob) -> dict[str, Any]:
    report = job.report
    found: dict[str, Any] = {"job": job, "progress": _progress(job), "report": report}
    return found if report is None else {**found, **_reported(report)}


def _reported(report: BatchReport) -> dict[str, Any]:
    """The parts of a report in the order in which they are read: the worst and the commonest first."""
    reasons = sorted(report.problems.items(), key=lambda item: (-item[1], item[0]))
    labels = sorted(report.labels.items(), key=lambda item: (-item[1], item[0]))
    drifts = sorted(report.drift, key=_severity)
    return {
        "reasons": reasons[:_REASONS],
        "reasons_left": len(reasons) - len(reasons[:_REASONS]),
        "labels": labels[:_LABELS],
        "labels_left": len(labels) - len(labels[:_LABELS]),
        "drifts": drifts[:_COLUMNS],
        "drifts_left": len(drifts) - len(drifts[:_COLUMNS]),
        "picture": histogram("Predicted probabilities", report.histogram) if any(report.histogram) else None,
    }


def _severity(drift: ColumnDrift) -> tuple[int, float, str]:
    return _VERDICTS.index(drift.verdict), -drift.psi, drift.column


def _offered(job: BatchJob) -> dict[str, Any]:
    stopped = _resumable(job)
    return {
        "job": job,
        "resumable": stopped,
        "cancellable": stopped or job.state in ("queued", "running"),
        "action": _address(job),
    }


def _resumable(job: BatchJob) -> bool:
    """Whether finished chunks wait for somebody to go on with them."""
    return job.state == "interrupted" or (job.state == "failed" and job.chunks > 0)


def _progress(job: BatchJob) -> float | None:
    """The share of the rows worked off; None while nobody knows how many there are."""
    if job.state == "done":
        return 1.0
    # The number of rows of a CSV file is an estimate, which the truth may pass.
    return min(1.0, job.rows / job.rows_total) if job.rows_total > 0 else None


def _name(path: str) -> str:
    return PurePath(path).name or path


def _serving(shell: Shell) -> Serving:
    if shell.doors.serving is None:
        raise NotFound("nothing is served here", next_step="Enable the serving module.")
    return shell.doors.serving


def _address(job: BatchJob) -> str:
    return f"{BASE}/batches/{quote(job.id, safe='')}"
