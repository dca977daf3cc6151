"""The response cache of one model version.

Keys hold tenant, model, version (by its manifest), the feature service's fingerprint, and rights where the declaration
says so, so that a promotion, a rollback or another definition of the features never meets an old answer. Only answers
of the model's first rung are kept: what stood in during an outage must not outlive it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.cache import Cache as Exact
from ...core.cache import CacheKey
from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import InvalidInput
from ...core.values import Json
from ..contract import Cache, CacheStatus
from .near import Near

_BUCKETS = 1_000
_CALLERS = 1_000
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """One instance's answer as the model's rungs and rules gave it; `first` says that the first rung did."""

    values: Mapping[str, Json]
    rung: str
    first: bool
    tried: tuple[str, ...] = ()
    overruled_by: str = ""
    review: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance's answer lies: under `key`, and in a bucket of inputs that may be near."""

    key: str
    tags: tuple[str, ...] = ()
    bucket: str = ""
    vector: Sequence[float] = ()


class ResponseCache:
    """Answers by instance. `entities` are the request fields that hold entity keys: what is looked up for a key is
    dropped when its features change."""

    def __init__(
        self,
        options: Cache,
        *,
        model: str,
        version: str,
        fingerprint: str,
        entities: Sequence[str],
        clock: Clock,
        count: Callable[[str, str], None],
    ) -> None:
        self._options = options
        self._model = model
        self._entities = tuple(entities)
        self._count = count
        self._keys = CacheKey("serving", model=model, version=version, features=fingerprint)
        self._answers: Exact[Given] = Exact(max_entries=options.entries, ttl=options.ttl, clock=clock)
        self._dropped = frozenset(options.ignore)
        self._callers: dict[str, Context] = {}
        self._apart = list(options.near) if options.near else [options.similar.field] if options.similar else []
        least = options.similar.least if options.similar else 1.0
        self._near = (
            Near(buckets=_BUCKETS, tolerances=list(options.near.values()), least=least) if self._apart else None
        )
        self._hits = self._similar = self._coalesced = self._misses = 0

    async def place(self, ctx: Context, instance: Mapping[str, Json]) -> Place:
        """Where the answer to a checked instance, with its defaults, lies."""
        caller = self._caller(ctx)
        fields = sorted((name, value) for name, value in instance.items() if name not in self._dropped)
        key = self._key(caller, fields)
        tags = tuple(_tag(ctx.tenant, str(instance.get(field, ""))) for field in self._entities)
        if self._near is None:
            return Place(key, tags)
        vector = await self._vector(instance)
        if vector is None:
            return Place(key, tags)
        apart = self._apart
        return Place(key, tags, self._key(caller, ["near", [f for f in fields if f[0] not in apart]]), vector)

    def _key(self, caller: Context, content: Sequence[object]) -> str:
        try:
            return self._keys.key(caller, content)
        except InvalidInput:
            # Numbers beyond 64 bits and half surrogates have no binary form; their text is as good a key.
            return self._keys.key(caller, "text", ascii(content))

    def find(self, place: Place) -> tuple[Given, str] | None:
        """The stored answer and how it was found, `hit` or `similar`; None if there is none."""
        found = self._answers.peek(place.key)
        if found is not None:
            self._hits += 1
            self._count(self._model, "hit")
            return found.value, "hit"
        if self._near is None or not place.bucket:
            return None
        near = self._near.find(place.bucket, place.vector)
        if near is None:
            return None
        found = self._answers.peek(near)
        if found is None:
            self._near.drop(near)
            return None
        self._similar += 1
        self._count(self._model, "similar")
        return found.value, "similar"

    async def get(self, place: Place, compute: Callable[[], Awaitable[Given]]) -> tuple[Given, str]:
        """The answer for an instance for which `find` found none: `miss`, or `coalesced` with an equal call."""
        found = await self._answers.get(place.key, compute, tags=place.tags)
        if found.how == "shared":
            self._coalesced += 1
            self._count(self._model, "coalesced")
            return found.value, "coalesced"
        if found.how == "hit":
            self._hits += 1
            self._count(self._model, "hit")
            return found.value, "hit"
        self._misses += 1
        self._count(self._model, "miss")
        if found.value.first:
            self._remember(place)
        else:
            await self._answers.forget(place.key)
        return found.value, "miss"

    def put(self, place: Place, given: Given) -> None:
        """Store the answer of an instance that was computed among others."""
        self._misses += 1
        self._count(self._model, "miss")
        if given.first:
            self._answers.put(place.key, given, tags=place.tags)
            self._remember(place)

    async def forget(self, tenant: str, keys: Sequence[str]) -> None:
        """Drop the answers that hang on these entity keys; all answers where no key is given."""
        if keys:
            for key in keys:
                await self._answers.invalidate(_tag(tenant, key))
            return
        self.clear()

    def clear(self) -> None:
        """Drop every answer."""
        self._answers.clear()
        if self._near is not None:
            self._near.clear()

    def status(self) -> CacheStatus:
        """The figures so far."""
        answered = self._hits + self._similar + self._coalesced
        asked = answered + self._misses
        return CacheStatus(
            hits=self._hits,
            similar=self._similar,
            coalesced=self._coalesced,
            misses=self._misses,
            entries=self._answers.stats().entries,
            rate=answered / asked if asked else 0.0,
        )

    def _remember(self, place: Place) -> None:
        if self._near is not None and place.bucket:
            self._near.add(place.bucket, place.key, place.vector)

    def _caller(self, ctx: Context) -> Context:
        """Who shares answers: everybody of the tenant, or only those with the same rights."""
        if self._options.by_rights:
            return ctx
        caller = self._callers.get(ctx.tenant)
        if caller is None:
            if len(self._callers) >= _CALLERS:
                self._callers.clear()
            caller = self._callers[ctx.tenant] = Context(ctx.tenant, "cache")
        return caller

    async def _vector(self, instance: Mapping[str, Any]) -> Sequence[float] | None:
        similar = self._options.similar
        if similar is None:
            values = [instance.get(name) for name in self._apart]
            # An absent number is near to nothing.
            numbers = [float(value) for value in values if isinstance(value, int | float)]
            return numbers if len(numbers) == len(values) else None
        text = instance.get(similar.field)
        if not isinstance(text, str):
            return None
        try:
            embedded = similar.embed([text])
            [vector] = await embedded if inspect.isawaitable(embedded) else embedded
            return [float(value) for value in vector]
        # A declared function may raise anything; without its vector the model answers as without a cache.
        except Exception as error:
            log.warning("the embedding of %s for the cache of %s failed: %s", similar.field, self._model, _kind(error))
            return None


def _tag(tenant: str, key: str) -> str:
    return f"{tenant}/{key}"


def _kind(error: Exception) -> str:
    # Its text may repeat what the caller sent.
    return type(error).__name__
