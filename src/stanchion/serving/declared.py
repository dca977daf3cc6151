"""The stages that a model declares beside check and ladder: cache, features, batching, rules and review.

Without a declaration a model has no `Declared`, and its calls take the short way in `predicting.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.context import Context
from ..core.errors import StanchionError, Throttled, Unavailable
from ..core.resilience import Step
from ..core.values import Json
from .batching import Batcher, Ranked, Shed
from .caching.answers import Given, Place, ResponseCache
from .contract import Keep, Priority
from .enrich import Enriched, Enricher
from .rules import Marked, Reviewers, Rules

_SLICE = 256  # others get their turn after so many
_now = time.perf_counter


class Stages:
    """A stopwatch with a lap for each stage; milliseconds."""

    __slots__ = ("_laps", "_last")

    def __init__(self) -> None:
        self._laps: dict[str, float] = {}
        self._last = _now()

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to this stage; several laps of one stage add up."""
        now = _now()
        self._laps[stage] = self._laps.get(stage, 0.0) + (now - self._last) * 1000
        self._last = now

    def told(self) -> Mapping[str, float]:
        """The laps so far."""
        return self._laps


class Answering(Protocol):
    """A loaded version: its ladder answers checked instances."""

    @property
    def model(self) -> str:
        """Its name."""
        ...

    async def answer(self, ctx: Context, items: Sequence[Any]) -> Step[Sequence[Mapping[str, Json]]]:
        """The ladder's answer. Raises what the ladder raises."""
        ...


@dataclass(slots=True)
class Slot:
    """One admitted instance on its way: `request` is it as plain data with its defaults, `item` what rungs take.

    It ends with `given` or with `error`. `how` tells what the cache had to say.
    """

    place: int
    request: Mapping[str, Json]
    item: Any
    given: Given | None = None
    error: StanchionError | None = None
    how: str = ""
    where: Place | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Declared:
    """The declared stages of one loaded version. `defaults` are those of its input schema."""

    defaults: Mapping[str, Json]
    cache: ResponseCache | None = None
    enricher: Enricher | None = None
    batcher: Batcher | None = None
    rules: Rules | None = None
    keep: Keep | None = None
    people: Reviewers | None = None
    version: str = ""

    def statuses(self) -> dict[str, Any]:
        """The figures of the declared stages, by their names in ServedModel."""
        parts = {"cache": self.cache, "batch": self.batcher, "features": self.enricher}
        return {name: part.status() for name, part in parts.items() if part is not None}

    async def answer_one(self, loaded: Answering, ctx: Context, slot: Slot, priority: Priority, stages: Stages) -> None:
        """Fill the slot with its answer. Raises what refuses the call."""
        cache = self.cache
        if cache is None:
            slot.given = await self._computed(loaded, ctx, slot, priority, stages)
            return
        where = await cache.place(ctx, slot.request)
        found = cache.find(where)
        stages.lap("cache")
        if found is None:
            found = await cache.get(where, lambda: self._computed(loaded, ctx, slot, priority, stages))
            stages.lap("cache")
        slot.given, slot.how = found

    async def answer_many(
        self, loaded: Answering, ctx: Context, slots: Sequence[Slot], priority: Priority, stages: Stages
    ) -> None:
        """Fill each slot with its answer or its error. Raises where none of them can be answered."""
        cache, left = self.cache, list(slots)
        if cache is not None:
            left = []
            for number, slot in enumerate(slots):
                if number % _SLICE == _SLICE - 1:
                    await asyncio.sleep(0)
                slot.where = await cache.place(ctx, slot.request)
                found = cache.find(slot.where)
                if found is None:
                    left.append(slot)
                else:
                    slot.given, slot.how = found
            stages.lap("cache")
        if left:
            await self._compute(loaded, ctx, left, priority, stages)
        if cache is not None:
            for slot in left:
                if slot.where is not None and slot.given is not None:
                    cache.put(slot.where, slot.given)
                    slot.how = "miss"
            stages.lap("cache")

    async def _computed(self, loaded: Answering, ctx: Context, slot: Slot, priority: Priority, stages: Stages) -> Given:
        await self._compute(loaded, ctx, [slot], priority, stages)
        if slot.error is not None:
            raise slot.error
        if slot.given is None:
            raise Unavailable(f"{loaded.model} left an instance without an answer")
        return slot.given

    async def _compute(
        self, loaded: Answering, ctx: Context, slots: Sequence[Slot], priority: Priority, stages: Stages
    ) -> None:
        groups: list[list[Slot]] = [list(slots)]
        if self.enricher is not None:
            groups = await self._enriched(self.enricher, ctx, slots)
            stages.lap("features")
        for group in groups:
            try:
                step = await self._ladder(loaded, ctx, [slot.item for slot in group], priority)
            except StanchionError as error:
                if len(groups) == 1:
                    raise
                # Instances with features and instances without are answered apart: one group's fault is its own.
                for slot in group:
                    slot.error = error
                continue
            tried = tuple(attempt.rung for attempt in step.tried)
            for slot, values in zip(group, step.value, strict=True):
                slot.given = Given(values, step.rung, step.index == 0, tried)
        stages.lap("ladder")
        if self.rules is not None:
            await self._judge(self.rules, slots)
            self._hand_over(loaded.model, self.rules, ctx, slots)
            stages.lap("rules")

    async def _enriched(self, enricher: Enricher, ctx: Context, slots: Sequence[Slot]) -> list[list[Slot]]:
        """Put features into the slots; those that have them and those that have none are groups of their own."""
        found = await enricher.enrich(ctx, [slot.item for slot in slots], [slot.request for slot in slots])
        whole: list[Slot] = []
        missing: list[Slot] = []
        for slot, each in zip(slots, found, strict=True):
            if isinstance(each, Enriched):
                slot.item = each
                (missing if each.missing else whole).append(slot)
            else:
                slot.error = each
        return [group for group in (whole, missing) if group]

    async def _ladder(
        self, loaded: Answering, ctx: Context, items: list[Any], priority: Priority
    ) -> Step[Sequence[Mapping[str, Json]]]:
        if self.batcher is None:
            return await loaded.answer(ctx, items)
        ranked = Ranked(items)
        ranked.priority = priority
        try:
            return await loaded.answer(ctx, ranked)
        except Unavailable as error:
            shed = _shed(error)
            if shed is None:
                raise
            raise Throttled(
                f"{loaded.model} has more calls than it can answer in time: {shed}", retry_after=shed.retry_after
            ) from error

    async def _judge(self, rules: Rules, slots: Sequence[Slot]) -> None:
        for number, slot in enumerate(slots):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            if slot.given is None or not slot.given.values:
                # Refused, or asked of people: there is no answer to judge.
                continue
            try:
                judged = rules.judge(slot.item, slot.given.values)
            except StanchionError as error:
                slot.given, slot.error = None, error
                continue
            given = slot.given
            slot.given = Given(judged.values, given.rung, given.first, given.tried, judged.overruled_by, judged.review)

    def _hand_over(self, model: str, rules: Rules, ctx: Context, slots: Sequence[Slot]) -> None:
        """Give marked answers to the reviewers, who take them without making the caller wait."""
        if self.people is None or not rules.queue:
            return
        marked = [
            Marked(
                request_id=ctx.request_id,
                instance=slot.place,
                model=model,
                version=self.version,
                reason=rules.reason,
                inputs=slot.request,
                output=slot.given.values,
                queue=rules.queue,
            )
            for slot in slots
            if slot.given is not None and slot.given.review
        ]
        self.people.take(ctx, marked)


def defaults_of(schema: Mapping[str, Any]) -> Mapping[str, Json]:
    """The declared default of each field that has one."""
    return {name: each["default"] for name, each in schema.get("properties", {}).items() if "default" in each}


def _shed(error: StanchionError) -> Shed | None:
    """What the batcher raised, if its refusal is among the reasons why no rung answered."""
    causes = error.__cause__.exceptions if isinstance(error.__cause__, ExceptionGroup) else ()
    return next((each for each in causes if isinstance(each, Shed)), None)
