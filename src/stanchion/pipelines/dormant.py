"""The runs of a system that declares no pipelines: tables are made, and earlier runs found, with the first question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..core.context import Context
from ..core.contract import methods
from .contract import Pipelines, PipelineView, ScheduleView


class Dormant:
    """Has every method of Pipelines: lists of declarations are empty, all else wakes the service that `build` makes."""

    def __init__(self, build: Callable[[], Awaitable[Any]]) -> None:
        self._build = build
        self._lock = asyncio.Lock()
        self._service: Any = None

    async def declared(self, ctx: Context) -> Sequence[PipelineView]:
        """None are declared."""
        return ()

    async def schedules(self, ctx: Context) -> Sequence[ScheduleView]:
        """A schedule needs a pipeline."""
        return ()

    async def stop(self) -> None:
        """End what was woken."""
        if self._service is not None:
            await self._service.stop()

    async def _awake(self) -> Any:
        async with self._lock:
            if self._service is None:
                self._service = await self._build()
        return self._service


def _call(name: str) -> Callable[..., Awaitable[Any]]:
    async def call(self: Dormant, ctx: Context, *args: Any, **kwargs: Any) -> Any:
        return await getattr(await self._awake(), name)(ctx, *args, **kwargs)

    return call


for _method in methods(Pipelines):
    if not hasattr(Dormant, _method.name):
        setattr(Dormant, _method.name, _call(_method.name))
