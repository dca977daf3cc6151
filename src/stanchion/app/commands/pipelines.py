"""`stanchion pipelines`: a pipeline run here to its end, a range made up for, a graph drawn."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput
from ...pipelines import Pipelines, Run
from .office import DONE, FAILED, Options, opened, operator, run, show

_LOOK = 0.5


def ran(file: Path, pipeline: str, inputs: str, *, key: str | None, dry: bool, data: Path, json: bool) -> int:
    """Run a pipeline and report; the exit code."""
    options = Options(data=data, json=json)
    try:
        given: Any = msgspec.json.decode(inputs)
    except msgspec.DecodeError as error:
        unreadable = InvalidInput(f"--inputs is no JSON: {error}")
        return run(options, lambda: _refused(unreadable))

    async def begin(door: Pipelines, ctx: Context) -> Run:
        return await door.begin(ctx, pipeline, given, key=key, dry=dry)

    return run(options, lambda: _followed(options, file, begin))


def backfilled(file: Path, pipeline: str, *, start: str, end: str, parallel: int, data: Path, json: bool) -> int:
    """Make up for a range and report; the exit code."""
    options = Options(data=data, json=json)

    async def begin(door: Pipelines, ctx: Context) -> Run:
        return await door.backfill(ctx, pipeline, _moment("start", start), _moment("end", end), parallel=parallel)

    return run(options, lambda: _followed(options, file, begin))


def graphed(file: Path, pipeline: str, *, output: Path | None, data: Path, json: bool) -> int:
    """Draw a graph; the exit code."""
    options = Options(data=data, json=json)

    async def work() -> int:
        async with opened(options, file=file, only=("pipelines",)) as house:
            picture = await house.door(Pipelines).picture(operator(house.settings.tenant), pipeline)
        if output is not None:
            output.write_text(picture, encoding="utf-8")
        told = {"pipeline": pipeline, "output": None if output is None else str(output)}
        show(
            options,
            told if output is not None or not json else {**told, "svg": picture},
            lambda: _said(picture, output),
        )
        return DONE

    return run(options, work)


def _said(picture: str, output: Path | None) -> str:
    return picture if output is None else f"written to {output}"


async def _refused(error: InvalidInput) -> int:
    raise error


async def _followed(options: Options, file: Path, begin: Callable[[Pipelines, Context], Awaitable[Run]]) -> int:
    """Begin a run, show its steps as they end, and tell how it ended."""
    async with opened(options, file=file) as house:
        await house.start()
        door, ctx = house.door(Pipelines), operator(house.settings.tenant)
        found = await begin(door, ctx)
        shown: set[str] = set()
        while found.ended is None:
            found = await door.wait(ctx, found.id, seconds=_LOOK)
            if not options.json:
                await _steps(door, ctx, found, shown)
        if not options.json:
            await _steps(door, ctx, found, shown)
    show(options, asdict(found), lambda: summary(found))
    return DONE if found.status == "done" else FAILED


async def _steps(door: Pipelines, ctx: Context, found: Run, shown: set[str]) -> None:
    for step in await door.stages(ctx, found.id):
        if step.step in shown or step.status in ("waiting", "retrying"):
            continue
        shown.add(step.step)
        seconds = (step.ended - step.started).total_seconds()
        rows = "" if step.rows is None else f", {step.rows:,} rows"
        aside = f", {step.quarantined:,} set aside" if step.quarantined else ""
        why = "" if step.error is None else f": {step.error.message}"
        sys.stderr.write(f"  {step.step}: {step.status} in {seconds:.2f} s{rows}{aside}{why}\n")


def summary(found: Run) -> str:
    """A run in a few lines."""
    lines = [f"{found.pipeline} {found.id}: {found.status}"]
    if found.error is not None:
        where = f" in {found.error.stage}" if found.error.stage else ""
        lines.append(f"  {found.error.code}{where}: {found.error.message}")
    if found.output is not None:
        text = msgspec.json.encode(found.output).decode()
        lines.append(f"  {text if len(text) <= 2_000 else text[:2_000] + '...'}")
    return "\n".join(lines)


def _moment(name: str, given: str) -> datetime:
    """A moment of the command line; what names no offset is in UTC."""
    try:
        found = datetime.fromisoformat(given)
    except ValueError as error:
        raise InvalidInput(
            f"--{name} is no moment: {given!r}", next_step="Write it as 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
