"""Cached answers over features go when the features change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from ...core.context import system_context
from ...core.errors import StanchionError
from ...core.tasks import end_tasks
from ...features import OnlineFeatures
from .answers import ResponseCache

_FIRST, _MOST = 0.5, 30.0
log = logging.getLogger(__name__)


class FeatureFollower:
    """Follows the writes of online values and empties the caches over them, by entity key where the write names it.

    `caches` gives those that stand over features now. While the stream is broken, writes may be missed: every such
    cache is emptied when it breaks and when it is back.
    """

    def __init__(self, features: OnlineFeatures, owner: str, caches: Callable[[], Iterable[ResponseCache]]) -> None:
        self._features = features
        self._owner = owner
        self._caches = caches
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow(), name="serving-feature-changes")

    async def stop(self) -> None:
        """End."""
        await end_tasks(self._task)

    async def _follow(self) -> None:
        pause = _FIRST
        while True:
            try:
                async for written in self._features.changes(system_context(self._owner, task="serving")):
                    pause = _FIRST
                    await self._empty(written.keys)
            except StanchionError as error:
                log.warning("the changes of features broke off: %s", error.detail)
            # Whatever a transport raises, following goes on: a cache that is not emptied would serve old values.
            except Exception as error:
                log.warning("the changes of features broke off: %s", type(error).__name__)
            await self._empty(())
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MOST)

    async def _empty(self, keys: Iterable[str]) -> None:
        """Drop the answers that hang on these entities; all of them where no key is named."""
        named = list(keys)
        for cache in self._caches():
            await cache.forget(self._owner, named)
