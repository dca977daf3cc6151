"""What the code of a run and its graph share: arguments as JSON, and works that end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from ...core.tasks import end_tasks
from ..contract import StageSpec
from ..values import codec


class Skipped(Exception):
    """A dry run came to a stage that has an effect."""


def encoded(spec: StageSpec, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Arguments as JSON, by their declared types."""
    return {name: codec(spec.parameters[name]).encode(value) for name, value in arguments.items()}


async def together(works: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """All answers in order; the first error ends the others and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await end_tasks(*tasks)
