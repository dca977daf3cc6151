"""Ends tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_SECONDS = 3.0


async def end_tasks(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel those of `tasks` that run, and return once all have ended, whatever they ended with.

    Before Python 3.12 `asyncio.wait_for` swallows a cancellation that comes together with its result, and clients of
    Redis and NATS wait with it: a task that still runs after `AGAIN_SECONDS` is cancelled again.
    """
    given = [task for task in tasks if task is not None]
    while running := [task for task in given if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_SECONDS)
    for task in given:
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten
