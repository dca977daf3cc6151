"""`stanchion worker`: a process that only works on what is due."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ...core.config import Value
from ...core.telemetry.logs import configure_logging
from .office import DONE, Options, opened, run, show


def worked(file: Path, *, queues: str | None, data: Path, json: bool) -> int:
    """Work until it is stopped; the exit code."""
    wanted: list[Value] = [] if queues is None else [name for each in queues.split(",") if (name := each.strip())]
    pipelines: dict[str, Value] = {"work": True} | ({"queues": wanted} if wanted else {})
    options = Options(data=data, json=json, flags={"pipelines": pipelines})

    async def work() -> int:
        async with opened(options, file=file) as house:
            configure_logging(json=not sys.stderr.isatty(), level=house.settings.telemetry.log_level, stream=sys.stderr)
            await house.start()
            taken = ", ".join(str(each) for each in wanted) or "all queues"
            show(options, {"event": "ready", "queues": wanted or ["*"]}, lambda: f"working on {taken}; Ctrl-C stops")
            await asyncio.Event().wait()
        return DONE

    return run(options, work, stopped=DONE)
