"""`stanchion runs`: what ran, how it went, and what is to become of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput
from ...pipelines import DeadRow, Pipelines, RecordTrail, Run, RunStatus, StageRun
from .office import DONE, Options, opened, operator, run, show, table
from .pipelines import summary

_MODULES = ("events", "pipelines")
Work = Callable[[Pipelines, Context], Awaitable[None]]


def listed(*, pipeline: str | None, status: str | None, limit: int, data: Path, json: bool) -> int:
    """List runs; the exit code."""
    options = Options(data=data, json=json)

    async def work(door: Pipelines, ctx: Context) -> None:
        if status is not None and status not in get_args(RunStatus):
            raise InvalidInput(f"--status {status} is none of {', '.join(get_args(RunStatus))}")
        found = await door.list(ctx, pipeline=pipeline, status=_status(status), limit=limit)
        show(options, [asdict(each) for each in found], lambda: _lines(found))

    return _with(options, None, work)


def shown(run_id: str, *, record: str | None, system: Path | None, data: Path, json: bool) -> int:
    """Show one run, or what became of one record in it; the exit code."""
    options = Options(data=data, json=json)

    async def work(door: Pipelines, ctx: Context) -> None:
        if record is not None:
            trail = await door.record(ctx, run_id, record)
            show(options, asdict(trail), lambda: _trail(trail))
            return
        found, steps = await door.get(ctx, run_id), await door.stages(ctx, run_id)
        aside = await door.quarantined(ctx, run_id)
        told = {**asdict(found), "stages": [asdict(each) for each in steps], "quarantined": [asdict(a) for a in aside]}
        show(options, told, lambda: _whole(found, steps, aside))

    return _with(options, system, work)


def resumed(run_id: str, *, adopt: Path | None, data: Path, json: bool) -> int:
    """Resume a run; the exit code."""
    return _changed(adopt, data, json, lambda door, ctx: door.resume(ctx, run_id, adopt=adopt is not None))


def cancelled(run_id: str, *, data: Path, json: bool) -> int:
    """Cancel a run; the exit code."""
    return _changed(None, data, json, lambda door, ctx: door.cancel(ctx, run_id))


def forked(file: Path, run_id: str, stage: str, *, data: Path, json: bool) -> int:
    """Fork a run; the exit code."""
    return _changed(file, data, json, lambda door, ctx: door.fork(ctx, run_id, stage))


def _changed(file: Path | None, data: Path, json: bool, change: Callable[[Pipelines, Context], Awaitable[Run]]) -> int:
    options = Options(data=data, json=json)

    async def work(door: Pipelines, ctx: Context) -> None:
        found = await change(door, ctx)
        show(options, asdict(found), lambda: summary(found))

    return _with(options, file, work)


def _with(options: Options, file: Path | None, work: Work) -> int:
    async def opened_work() -> int:
        async with opened(options, file=file, only=_MODULES) as house:
            await work(house.door(Pipelines), operator(house.settings.tenant))
        return DONE

    return run(options, opened_work)


def _status(status: str | None) -> Any:
    return status


def _lines(found: Sequence[Run]) -> str:
    rows = [
        (each.id, each.pipeline, each.status, f"{each.created:%Y-%m-%d %H:%M:%S}", each.partition, _why(each))
        for each in found
    ]
    return table(("run", "pipeline", "status", "created", "partition", "why"), rows)


def _why(found: Run) -> str:
    if found.error is not None:
        return f"{found.error.code} {found.error.message}"[:80]
    return found.blocked or ", ".join(found.waits)


def _whole(found: Run, steps: Sequence[StageRun], aside: Sequence[DeadRow]) -> str:
    rows = [
        (
            step.step,
            step.status,
            step.attempts,
            f"{(step.ended - step.started).total_seconds():.3f}",
            step.rows,
            step.quarantined or None,
            "" if step.error is None else step.error.message[:80],
        )
        for step in steps
    ]
    parts = [summary(found), table(("step", "status", "attempts", "seconds", "rows", "set aside", "error"), rows)]
    if aside:
        parts.append(table(("record", "step", "why"), [(a.record, a.step, "; ".join(a.reasons)) for a in aside]))
    return "\n\n".join(parts)


def _trail(trail: RecordTrail) -> str:
    rows = [
        (step.step, step.outcome, _text(step.before), _text(step.after), "; ".join(step.reasons))
        for step in trail.steps
    ]
    return table(("step", "outcome", "before", "after", "why"), rows)


def _text(value: object) -> str:
    text = "" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:59] + "…"
