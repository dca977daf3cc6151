"""The gateway of a system that declares none: its engine is loaded and its tables are made with the first use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from ..core.context import Context
from ..core.contract import methods
from .contract import Gateway, LanguageModel, RouteView, ToolView, UpstreamView


class Dormant:
    """Has every method of Gateway: lists of models and routes are empty, all else wakes the service that `build` makes.

    Without models no call is answered, but budgets, teams, prompts and usage are a tenant's own, and kept.
    """

    def __init__(self, build: Callable[[], Awaitable[Any]]) -> None:
        self._build = build
        self._lock = asyncio.Lock()
        self._service: Any = None

    async def models(self, ctx: Context) -> Sequence[LanguageModel]:
        """None are declared."""
        return ()

    async def routes(self, ctx: Context) -> Sequence[RouteView]:
        """A route needs a model."""
        return ()

    async def upstreams(self, ctx: Context) -> Sequence[UpstreamView]:
        """None are declared."""
        return ()

    async def tools(self, ctx: Context) -> Sequence[ToolView]:
        """No server is declared."""
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


for _method in methods(Gateway):
    if not hasattr(Dormant, _method.name):
        setattr(Dormant, _method.name, (_stream if _method.streams else _call)(_method.name))
