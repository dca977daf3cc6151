"""`stanchion train`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ...core.errors import InvalidInput
from ...training import Training
from .office import DONE, Options, opened, operator, run, show
from .progress import follow, summary

_MODULES = ("features", "registry", "training")


def train(file: Path, model: str, *, source: Path | None, data: Path, json: bool) -> int:
    """Train, register and report; the exit code."""
    options = Options(data=data, json=json)

    async def work() -> int:
        if source is not None and not source.is_file():
            raise InvalidInput(f"there is no file {source}", next_step="Name an existing file with --source.")
        async with opened(options, file=file, only=_MODULES) as house:
            ctx = operator(house.settings.tenant)
            events = house.door(Training).train(ctx, model, source=str(source.absolute()) if source else None)
            report = await follow(events, model, quiet=json)
        show(options, asdict(report), lambda: summary(report))
        return DONE

    return run(options, work)
