"""What a declaration's options become for one loaded version: its check of requests and its declared stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pydantic

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import Misconfigured, Unavailable
from ..core.resilience import Decline
from ..features import ServedFeatures
from .batching import Batcher
from .caching.answers import ResponseCache
from .contract import Lookup, ServedSpec
from .declared import Declared, defaults_of
from .enrich import Enriched, Enricher
from .pool import Pool, Threads
from .rules import Reviewers, Rules
from .rungs import Answers, Call

Typed = Callable[[Any], pydantic.BaseModel]


class Engine(Protocol):
    """What the declared stages of every version share."""

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def features(self) -> ServedFeatures | None:
        """The feature store, if this system has one."""
        ...

    @property
    def people(self) -> Reviewers | None:
        """Who looks at marked answers, if this system has reviews."""
        ...

    @property
    def on_cache(self) -> Callable[[str, str], None]:
        """Counts a look-up of a model's cache and its result."""
        ...


def request_schema(spec: ServedSpec) -> Mapping[str, Any]:
    """What a caller gives: the declared input, of a function without the features that are looked up for it."""
    schema = spec.input.model_json_schema()
    lookup = spec.options.features
    if lookup is None or spec.function is None:
        return schema
    looked_up = set(lookup.fields)
    return {
        **schema,
        "properties": {name: each for name, each in schema["properties"].items() if name not in looked_up},
        "required": [name for name in schema.get("required", ()) if name not in looked_up],
    }


def threads_of(spec: ServedSpec | None, pool: Pool, rung: str = "primary", inline_rows: int = 0) -> Threads:
    """Where a rung's runs go: those of a batcher that never run on the event loop have a lane of their own."""
    batch = None if spec is None or rung != "primary" or inline_rows else spec.options.batch
    return pool if batch is None else pool.lane(batch.workers)


def batched(calls: Mapping[str, Call], spec: ServedSpec, engine: Engine, *, ahead: bool = False) -> dict[str, Call]:
    """The calls, the first of them behind the declared batcher. `ahead` says that its runs wait in a lane."""
    if spec.options.batch is None or "primary" not in calls:
        return dict(calls)
    return {**calls, "primary": Batcher(calls["primary"], spec.options.batch, clock=engine.clock, ahead=ahead)}


def declared_of(
    spec: ServedSpec,
    engine: Engine,
    calls: Mapping[str, Call],
    *,
    schema: Mapping[str, Any],
    version: str,
    typed: Typed,
    pinned: str = "",
    shown: str = "",
) -> Declared | None:
    """The declared stages, or None where the model declares none.

    `version` names what answers in cache keys, `shown` does for people.
    """
    options, batcher = spec.options, calls.get("primary")
    enricher = None if options.features is None else _enricher(spec, options.features, engine, pinned)
    cache = None
    if options.cache is not None:
        lookup = options.features
        cache = ResponseCache(
            options.cache,
            model=spec.name,
            version=version,
            fingerprint="" if lookup is None else pinned or lookup.service,
            entities=() if lookup is None else tuple(lookup.entities.values()),
            clock=engine.clock,
            count=engine.on_cache,
        )
    rules = Rules(spec, typed) if options.rules or options.review is not None else None
    batcher = batcher if isinstance(batcher, Batcher) else None
    if cache is None and enricher is None and rules is None and batcher is None and options.journal is None:
        return None
    return Declared(
        defaults_of(schema), cache, enricher, batcher, rules, options.journal, engine.people, shown or version
    )


def enriched_function(spec: ServedSpec, call: Call) -> Call:
    """A function's rung for instances with their features; it declines where some are missing."""

    async def called(ctx: Context, items: Sequence[Any]) -> Answers:
        for item in items:
            if item.missing:
                raise Decline(item.missing)
        return await call(ctx, [item.typed for item in items])

    return called if spec.options.features is not None else call


def typed_whole(spec: ServedSpec, item: Any) -> pydantic.BaseModel:
    """An instance of a function's input type, with its features where it reads any."""
    whole = item.typed if isinstance(item, Enriched) else item
    if not isinstance(whole, pydantic.BaseModel):
        raise Unavailable(f"a {type(whole).__name__} is no instance of the input type of {spec.name}")
    return whole


def _enricher(spec: ServedSpec, lookup: Lookup, engine: Engine, pinned: str) -> Enricher:
    if engine.features is None:
        raise Misconfigured(
            f"{spec.name} reads the feature service {lookup.service}, but this system has no feature store",
            next_step="Enable the module `features`, or say where it is in [place.features].",
        )
    typed = spec.input if spec.function is not None else None
    return Enricher(lookup, engine.features, clock=engine.clock, pinned=pinned, typed=typed)
