"""`stanchion train`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ...core.errors import InvalidInput
from ...training import Training
from .office import DONE, Options, opened, operator, run, show
from .progress import follow, summary

_MODULES = ("features", "registry", "training")
_REVIEW = "review:"


def train(file: Path, model: str, *, source: str | None, data: Path, json: bool) -> int:
    """Train, register and report; the exit code. `source` is a file, or `review:QUEUE@VERSION`."""
    options = Options(data=data, json=json)

    async def work() -> int:
        decided = source is not None and source.startswith(_REVIEW)
        if source is not None and not decided and not Path(source).is_file():
            raise InvalidInput(f"there is no file {source}", next_step="Name an existing file with --source.")
        modules = (*_MODULES, "review") if decided else _MODULES
        async with opened(options, file=file, only=modules) as house:
            ctx = operator(house.settings.tenant)
            found = source if source is None or decided else str(Path(source).absolute())
            events = house.door(Training).train(ctx, model, source=found)
            report = await follow(events, model, quiet=json)
        show(options, asdict(report), lambda: summary(report))
        return DONE

    return run(options, work)
