"""A module for which a system declares nothing: its engine is loaded and its tables are made with the first use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from .context import Context
from .contract import methods


class Dormant:
    """Has every method of a contract: those named in `empty` give an empty list, all else wakes the service.

    `build` makes the service, once. Its `start` is called when it wakes, its `stop` when the house ends.
    """

    def __init__(
        self, contract: type[Any], build: Callable[[], Awaitable[Any]], *, empty: Collection[str] = ()
    ) -> None:
        self._build = build
        self._lock = asyncio.Lock()
        self._service: Any = None
        for method in methods(contract):
            woken = partial(self._stream if method.streams else self._call, method.name)
            setattr(self, method.name, _nothing if method.name in empty else woken)

    async def wake(self) -> None:
        """Build and start the service where that is not done. A caller who leaves meanwhile leaves no half of it."""
        if self._service is None:
            await asyncio.shield(self._wake())

    async def stop(self) -> None:
        """End what was woken; one that is just waking is up first."""
        async with self._lock:
            if self._service is not None:
                await self._service.stop()

    async def _awake(self, name: str) -> Any:
        await self.wake()
        return getattr(self._service, name)

    async def _wake(self) -> None:
        async with self._lock:
            if self._service is None:
                service = await self._build()
                await service.start()
                self._service = service

    async def _call(self, name: str, ctx: Context, *args: Any, **kwargs: Any) -> Any:
        return await (await self._awake(name))(ctx, *args, **kwargs)

    async def _stream(self, name: str, ctx: Context, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with aclosing((await self._awake(name))(ctx, *args, **kwargs)) as items:
            async for item in items:
                yield item


async def _nothing(ctx: Context) -> Sequence[Any]:
    """Nothing is declared, so there is nothing to list."""
    return ()
