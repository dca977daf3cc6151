"""`stanchion drill start`, `stop` and `list`."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from ...core.context import Context
from ...core.errors import InvalidInput
from ...serving import DrillMode, Serving
from .office import Options, show, table
from .rollouts import at_serving

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0}


def begun(model: str, *, rung: str, mode: str, share: float, duration: str, delay: str, data: Path, json: bool) -> int:
    """Begin a drill."""
    chosen: DrillMode | None = next((each for each in get_args(DrillMode) if each == mode), None)

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        if chosen is None:
            raise InvalidInput(f"{mode!r} is no mode", next_step=f"Use one of {', '.join(get_args(DrillMode))}.")
        drill = await serving.begin_drill(
            ctx, model, rung, mode=chosen, share=share, seconds=seconds_of(duration), delay=seconds_of(delay)
        )
        show(
            options,
            asdict(drill),
            lambda: f"{drill.id}: {rung} of {model} gives {mode} until {drill.ends:%H:%M:%S} UTC, then recovers",
        )

    return at_serving(data, json, work)


def ended(model: str, *, data: Path, json: bool) -> int:
    """End a model's drills."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        number = await serving.end_drills(ctx, model)
        show(options, {"ended": number}, lambda: f"{number} drills of {model} ended")

    return at_serving(data, json, work)


def listed(*, data: Path, json: bool) -> int:
    """Print drills."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        found = await serving.drills(ctx)
        rows = [
            (d.model, d.rung, d.mode, f"{d.share:g}", f"{d.begins:%m-%d %H:%M:%S}", f"{d.ends:%H:%M:%S}", d.begun_by)
            for d in found
        ]
        head = ("MODEL", "RUNG", "MODE", "SHARE", "BEGAN", "ENDS", "BY")
        show(options, [asdict(d) for d in found], lambda: table(head, rows) if rows else "There was no drill yet.")

    return at_serving(data, json, work)


def seconds_of(text: str) -> float:
    """The seconds of `30s`, `2m`, `500ms` or a plain number. Raises InvalidInput."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|)", text.strip())
    if match is None:
        raise InvalidInput(f"{text!r} is no length of time", next_step="Write it as 30s, 2m or 500ms.")
    return float(match[1]) * _UNITS[match[2]]
