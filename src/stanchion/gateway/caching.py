"""Answers that are given again: the same request of the same rights to the same version of a route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

from ..core.cache import Cache, CacheKey
from ..core.clock import Clock
from ..core.context import Context
from .contract.calls import Ask, Reply, Usage
from .routing.table import Target

_LONGEST = 30 * 86_400.0
_ENTRIES = 20_000
_BYTES = 64 << 20


class _Kept(NamedTuple):
    """An answer, and how it is told when it is given again: by then it costs nothing."""

    first: Reply
    again: Reply


class Answers:
    """Whole answers of routes that declare `cache_seconds`, in this process. The body counts byte for byte."""

    def __init__(self, clock: Clock) -> None:
        self._cache: Cache[_Kept] = Cache(
            max_entries=_ENTRIES, ttl=_LONGEST, clock=clock, max_bytes=_BYTES, size=lambda kept: len(kept.first.body)
        )
        self._key = CacheKey("gateway")

    def kept(self, ctx: Context, ask: Ask, target: Target) -> Reply | None:
        """The kept answer, which costs nothing; None where there is none. Only a call that was valid has one."""
        if target.spec.cache_seconds is None:
            return None
        found = self._cache.peek(self._of(ctx, ask, target))
        return None if found is None else found.value.again

    async def get(self, ctx: Context, ask: Ask, target: Target, compute: Callable[[], Awaitable[Reply]]) -> Reply:
        """The kept answer or a new one. Equal calls under way share one. Raises as `compute`."""
        seconds = target.spec.cache_seconds
        if seconds is None:
            return await compute()

        async def made() -> _Kept:
            reply = await compute()
            account = replace(reply.account, cache="hit", usage=Usage(), cost=0, tried=())
            return _Kept(replace(reply, account=replace(reply.account, cache="miss")), replace(reply, account=account))

        key = self._of(ctx, ask, target)
        # A live call that waited for one of a batch would be refused with it: they share answers, not calls under way.
        place = f"{key} in the background" if ask.background else key
        found = await self._cache.get(place, made, ttl=float(seconds))
        if ask.background and found.how == "miss":
            self._cache.put(key, found.value, ttl=float(seconds))
        if found.how == "miss":
            return found.value.first
        again = found.value.again
        return again if found.how == "hit" else replace(again, account=replace(again.account, cache="coalesced"))

    def _of(self, ctx: Context, ask: Ask, target: Target) -> str:
        headers = sorted(ask.headers.items()) if ask.headers else []
        return self._key.key(ctx, ask.shape, target.subject, target.version, sorted(ctx.labels), headers, ask.body)
