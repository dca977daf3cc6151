"""A handler's time limit, paid for by those that wait: most end at their first step, and a timer is a tenth of one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine as awaitable
from typing import Any


async def within(work: Coroutine[Any, Any, object], seconds: float) -> object:
    """What the coroutine returns. Raises TimeoutError where it is not done so many seconds after its first wait.

    What comes before that wait holds the event loop, so no timer could end it.
    """
    try:
        wanted = work.send(None)
    except StopIteration as end:
        found: object = end.value
        return found
    async with asyncio.timeout(seconds):
        return await _rest(work, wanted)


@awaitable
def _rest(work: Coroutine[Any, Any, object], wanted: object) -> Generator[object, object, object]:
    """The coroutine from the wait on that it has begun."""
    try:
        while True:
            try:
                given = yield wanted
            except Exception as error:
                wanted = work.throw(error)
            except asyncio.CancelledError as error:
                wanted = work.throw(error)
            else:
                wanted = work.send(given)
    except StopIteration as end:
        found: object = end.value
        return found
    finally:
        work.close()
