"""Several streamed calls of one model whose pieces are put into one stream as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from ...core.context import Context
from ...core.tasks import end_tasks
from ..contract.calls import Usage
from ..ports import Response, Transport, Wire
from .ways import Watch

_AHEAD = 4  # pieces of all calls that may wait for the client
_Item = tuple[int, bytes | BaseException | None]
Check = Callable[[Response], Awaitable[None]]


class Strands:
    """The calls under way; each is a task that this owns. `check` raises for an answer that is no stream.

    To be closed whatever happens: that ends every call that is still under way.
    """

    def __init__(self, ctx: Context, transport: Transport, wire: Wire, times: int, check: Check) -> None:
        self._queue: asyncio.Queue[_Item] = asyncio.Queue(_AHEAD)
        self._check = check
        self._heads = [asyncio.get_running_loop().create_future() for _ in range(times)]
        self._tasks = [asyncio.create_task(self._follow(ctx, transport, wire, call)) for call in range(times)]

    @property
    def begun(self) -> bool:
        """Whether any call has begun to answer."""
        return any(head.done() and not head.cancelled() and head.exception() is None for head in self._heads)

    async def opened(self) -> None:
        """Return when every call has begun to answer. Raises what the first that does not says."""
        await asyncio.gather(*self._heads)

    async def pieces(self, watch: Watch) -> AsyncGenerator[bytes, None]:
        """What may go on to the client, as it comes; nothing before the first fault of the calls that came with it."""
        under_way, told = len(self._tasks), False
        while under_way:
            call, item = await self._queue.get()
            if item is None:
                under_way -= 1
                continue
            if isinstance(item, BaseException):
                raise item
            shown = watch.feed(item, call)
            if not told:
                watch.check()
            if shown:
                told = True
                yield shown
            watch.check()

    async def close(self) -> None:
        """End the calls."""
        await end_tasks(*self._tasks, *self._heads)

    async def _follow(self, ctx: Context, transport: Transport, wire: Wire, call: int) -> None:
        head = self._heads[call]
        try:
            async with transport.send(ctx, wire) as response:
                await self._check(response)
                head.set_result(None)
                async for data in response.pieces():
                    await self._queue.put((call, data))
            await self._queue.put((call, None))
        except asyncio.CancelledError:
            head.cancel()
            raise
        except Exception as error:
            if not head.done():
                head.set_exception(error)
            else:
                await self._queue.put((call, error))


class Interleaved(Watch):
    """The watch over all calls, for a stream whose pieces `Strands` has already given to it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def usage(self) -> Usage | None:
        return self._watch.usage

    @property
    def finish(self) -> str:
        return self._watch.finish

    @property
    def events(self) -> int:
        return self._watch.events

    def feed(self, data: bytes, call: int = 0) -> bytes:
        return data

    def check(self) -> None:
        """Nothing: `pieces` raises at its place."""

    def close(self) -> bytes:
        return self._watch.close()
