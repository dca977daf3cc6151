"""`stanchion features`: the online side brought up to date from the sources, and stretches of it made anew."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...core.errors import InvalidInput
from ...features import Features, Progress
from .office import DONE, Options, opened, operator, run, show

_MODULES = ("features",)


def materialised(file: Path, view: str, *, start: str | None, end: str | None, data: Path, json: bool) -> int:
    """Materialise and report; the exit code."""
    options = Options(data=data, json=json)

    async def work() -> int:
        since, until = _moment("start", start), _moment("end", end)
        async with opened(options, file=file, only=_MODULES) as house:
            ctx = operator(house.settings.tenant)
            events = house.door(Features).materialise(ctx, view, start=since, end=until)
            report = await _follow(events, view, quiet=json)
        show(options, report, lambda: _summary(report))
        return DONE

    return run(options, work)


def _moment(name: str, given: str | None) -> datetime | None:
    """A moment of the command line; a day is its beginning, and what names no offset is in UTC."""
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given)
    except ValueError as error:
        raise InvalidInput(
            f"--{name} is no moment: {given!r}", next_step="Write it as 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


async def _follow(events: AsyncIterator[Progress], view: str, *, quiet: bool) -> dict[str, Any]:
    """Show each partition: a bar on a terminal, plain lines elsewhere, nothing where a machine listens."""
    report: dict[str, Any] = {"view": view, "job": None, "partitions": 0, "skipped": 0, "rows": 0}
    if sys.stderr.isatty() and not quiet:
        await _bar(events, view, report)
        return report
    async for event in events:
        _count(report, event)
        if not quiet:
            sys.stderr.write(f"{view}: {event.done / event.total:4.0%} {_said(event)}\n")
    return report


async def _bar(events: AsyncIterator[Progress], view: str, report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(f"materialising {view}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("reading", total=1.0)
        async for event in events:
            _count(report, event)
            bar.update(task, completed=event.done / event.total, description=_said(event))


def _count(report: dict[str, Any], event: Progress) -> None:
    report["job"] = event.job
    report["partitions"] += 1
    report["skipped"] += event.skipped
    report["rows"] += event.rows


def _said(event: Progress) -> str:
    what = "done before" if event.skipped else f"{event.rows:,} rows"
    return f"{event.partition:%Y-%m-%d %H:%M} {what} ({event.done} of {event.total})"


def _summary(report: dict[str, Any]) -> str:
    if not report["partitions"]:
        return f"{report['view']} is up to date: there was nothing to do"
    skipped = f", {report['skipped']} of them done before" if report["skipped"] else ""
    return f"{report['view']}: {report['rows']:,} rows in {report['partitions']} partitions{skipped}"
