"""The reviews of a system that declares no queue: the engine is loaded and the tables are made with the first use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from ..core.context import Context
from ..core.contract import methods
from .contract import QueueView, Reviews


class Dormant:
    """Has every method of Reviews: there is no queue, and all else wakes the service that `build` makes.

    Items of queues that are declared no more still end in their time, once somebody looks at them.
    """

    def __init__(self, build: Callable[[], Awaitable[Any]]) -> None:
        self._build = build
        self._lock = asyncio.Lock()
        self._service: Any = None

    async def queues(self, ctx: Context) -> Sequence[QueueView]:
        """None are declared."""
        return ()

    async def stop(self) -> None:
        """End what was woken."""
        if self._service is not None:
            await self._service.stop()

    async def _awake(self) -> Any:
        async with self._lock:
            if self._service is None:
                service = await self._build()
                await service.start()
                self._service = service
        return self._service


def _call(name: str) -> Callable[..., Awaitable[Any]]:
    async def call(self: Dormant, ctx: Context, *args: Any, **kwargs: Any) -> Any:
        return await getattr(await self._awake(), name)(ctx, *args, **kwargs)

    return call


def _stream(name: str) -> Callable[..., AsyncIterator[Any]]:
    async def stream(self: Dormant, ctx: Context, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with aclosing(getattr(await self._awake(), name)(ctx, *args, **kwargs)) as items:
            async for item in items:
                yield item

    return stream


for _method in methods(Reviews):
    if not hasattr(Dormant, _method.name):
        setattr(Dormant, _method.name, (_stream if _method.streams else _call)(_method.name))
