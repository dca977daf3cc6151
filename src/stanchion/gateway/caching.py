"""Answers that are given again: the same request of the same rights to the same version of a route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal

from ..core.cache import Cache, CacheKey
from ..core.clock import Clock
from ..core.context import Context
from .contract.calls import CacheState, Reply, Usage
from .routing.asked import Asked
from .routing.table import Target

_LONGEST = 30 * 86_400.0
_ENTRIES = 20_000
_BYTES = 64 << 20
_STATES: dict[Literal["hit", "miss", "shared"], CacheState] = {"hit": "hit", "miss": "miss", "shared": "coalesced"}


class Answers:
    """Whole answers of routes that declare `cache_seconds`, in this process. The body counts byte for byte."""

    def __init__(self, clock: Clock) -> None:
        self._cache: Cache[Reply] = Cache(
            max_entries=_ENTRIES, ttl=_LONGEST, clock=clock, max_bytes=_BYTES, size=lambda reply: len(reply.body)
        )
        self._key = CacheKey("gateway")

    async def get(self, ctx: Context, asked: Asked, target: Target, compute: Callable[[], Awaitable[Reply]]) -> Reply:
        """The kept answer, which costs nothing, or a new one. Equal calls under way share one. Raises as `compute`."""
        seconds = target.spec.cache_seconds
        if seconds is None:
            return await compute()
        ask = asked.ask
        what = [ask.shape, target.subject, target.version, sorted(ctx.labels), sorted(ask.headers.items()), ask.body]
        found = await self._cache.get(self._key.key(ctx, *what), compute, ttl=float(seconds))
        account = replace(found.value.account, cache=_STATES[found.how])
        if found.how != "miss":
            account = replace(account, usage=Usage(), cost=0, tried=())
        return replace(found.value, account=account)
