"""One prediction, from the reference to the answer: who answers, what is admitted, which rung gave it, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

from ..core.context import Context
from ..core.errors import FieldProblem, InvalidInput, PayloadTooLarge, StanchionError, Unavailable
from ..core.resilience.ladder import CALLERS_FAULT
from ..core.values import Json
from .contract import Prediction, Predictions, PredictOptions
from .contract.predictions import PLAIN
from .declared import Declared, Slot, Stages
from .intake import ROOT
from .kept import Aged
from .loaded import NONE, Loaded
from .people import WAITING, Waiting
from .shelf import Shelf
from .traffic import UNSPLIT, Assignment, NoTraffic, Traffic

MOST = 10_000
_SLICE = 256
CACHE = "cache"
_PENDING = Prediction({})
_now = time.perf_counter


class Notes(Protocol):
    """Keeps what was answered."""

    def note(
        self,
        ctx: Context,
        loaded: Loaded,
        instances: Sequence[Mapping[str, Json]],
        answer: Predictions,
        *,
        shadow: bool,
    ) -> None:
        """Take an answer to be kept, if it is one that is. Returns at once, never raises."""
        ...


class Predicting:
    """The request path. A stage that is not declared for a model is not run, and not asked about."""

    def __init__(self, shelf: Shelf, *, traffic: Traffic, journal: Notes | None = None) -> None:
        self._shelf = shelf
        self._journal = journal
        self._traffic = None if isinstance(traffic, NoTraffic) else traffic

    def predict(
        self, ctx: Context, model: str, instances: Sequence[Mapping[str, Json]], options: PredictOptions
    ) -> Coroutine[Any, Any, Predictions]:
        """The answer for all instances, once awaited. Raises what the contract says."""
        # No coroutine of its own: on the short way each costs as much as the check of an instance.
        traffic = self._traffic
        assignment = UNSPLIT if traffic is None or "@" in model else traffic.assign(ctx, model, options.unit)
        if traffic is None or assignment is UNSPLIT:
            return self._on(ctx, model, instances, options, UNSPLIT)
        return self._assigned(traffic, assignment, ctx, model, instances, options)

    async def _assigned(
        self,
        traffic: Traffic,
        assignment: Assignment,
        ctx: Context,
        model: str,
        instances: Sequence[Mapping[str, Json]],
        options: PredictOptions,
    ) -> Predictions:
        reference = model if assignment.version is None else f"{model}@{assignment.version}"
        started = _now()
        try:
            answer = await self._on(ctx, reference, instances, options, assignment)
        except StanchionError as error:
            traffic.seen(ctx, model, assignment, instances, None, error.code, _now() - started)
            if assignment.version is None or isinstance(error, CALLERS_FAULT):
                raise
            # A version on trial that has no answer at all costs its failure budget, and not the caller.
            return await self._on(ctx, model, instances, options, UNSPLIT)
        traffic.seen(ctx, model, assignment, instances, answer, None, _now() - started)
        return answer

    async def beside(
        self, ctx: Context, reference: str, instances: Sequence[Mapping[str, Json]], assignment: Assignment
    ) -> Predictions:
        """The answer of a version that shadows: nobody gets it, and no split is asked about it."""
        return await self._on(ctx, reference, instances, PLAIN, assignment, shadow=True)

    async def _on(
        self,
        ctx: Context,
        reference: str,
        instances: Sequence[Mapping[str, Json]],
        options: PredictOptions,
        assignment: Assignment,
        *,
        shadow: bool = False,
    ) -> Predictions:
        loaded = self._shelf.ready(ctx.tenant, reference) or await self._shelf.find(ctx.tenant, reference)
        if loaded.declared is not None:
            answer = await self._by_stages(loaded.declared, loaded, ctx, instances, options, assignment)
        elif len(instances) == 1:
            answer = await _one(ctx, loaded, instances[0], options, assignment)
        else:
            answer = await _many(ctx, loaded, instances, options, assignment)
        if self._journal is not None and (assignment.arm or loaded.declared is not None):
            self._journal.note(ctx, loaded, instances, answer, shadow=shadow)
        return answer

    async def _by_stages(
        self,
        declared: Declared,
        loaded: Loaded,
        ctx: Context,
        instances: Sequence[Mapping[str, Json]],
        options: PredictOptions,
        assignment: Assignment,
    ) -> Predictions:
        stages = Stages()
        if len(instances) == 1:
            item = loaded.admit(instances[0])
            slots = [Slot(0, {**declared.defaults, **instances[0]}, item)]
            items = [_PENDING]
            stages.lap("admit")
            await declared.answer_one(loaded, ctx, slots[0], options.priority, stages)
        else:
            items, admitted = await _admitted(loaded, instances)
            places = [place for place, item in enumerate(items) if item is _PENDING]
            slots = [
                Slot(place, {**declared.defaults, **instances[place]}, item)
                for place, item in zip(places, admitted, strict=True)
            ]
            stages.lap("admit")
            if slots:
                await declared.answer_many(loaded, ctx, slots, options.priority, stages)
        return _told(loaded, slots, items, assignment, stages.told() if options.explain else {})


async def _one(
    ctx: Context,
    loaded: Loaded,
    instance: Mapping[str, Json],
    options: PredictOptions,
    assignment: Assignment,
) -> Predictions:
    """The short way of one instance: the check and the ladder, and nothing else."""
    started = _now()
    item = loaded.admit(instance)
    admitted = _now()
    step = await loaded.answer(ctx, [item])
    return Predictions(
        model=loaded.model,
        version=loaded.version,
        served_by=step.rung,
        items=(_prediction(step.value[0]),),
        tried=tuple([attempt.rung for attempt in step.tried]) if step.tried else (),
        timings={"admit": (admitted - started) * 1000, "ladder": (_now() - admitted) * 1000} if options.explain else {},
        arm=assignment.arm,
    )


async def _many(
    ctx: Context,
    loaded: Loaded,
    instances: Sequence[Mapping[str, Json]],
    options: PredictOptions,
    assignment: Assignment,
) -> Predictions:
    stages = Stages()
    items, admitted = await _admitted(loaded, instances)
    stages.lap("admit")
    rung = NONE
    tried: tuple[str, ...] = ()
    if admitted:
        step = await loaded.answer(ctx, admitted)
        stages.lap("ladder")
        answers = iter(step.value)
        items = [_prediction(next(answers)) if item is _PENDING else item for item in items]
        rung, tried = step.rung, tuple(attempt.rung for attempt in step.tried)
    timings = stages.told() if options.explain else {}
    return Predictions(loaded.model, loaded.version, rung, items, tried, timings=timings, arm=assignment.arm)


def _told(
    loaded: Loaded,
    slots: Sequence[Slot],
    items: Sequence[Prediction],
    assignment: Assignment,
    timings: Mapping[str, float],
) -> Predictions:
    """The answer of declared stages. The call was served by what served its first instance that was not refused."""
    filled = list(items)
    rungs: dict[int, str] = {}
    tried: tuple[str, ...] = ()
    for slot in slots:
        given = slot.given
        if given is None:
            error = slot.error or Unavailable(f"{loaded.model} left an instance without an answer")
            filled[slot.place] = _refused(error, slot.place)
            continue
        rungs[slot.place] = CACHE if slot.how in ("hit", "similar") else given.rung
        tried = tried or given.tried
        told = _prediction(given.values)
        filled[slot.place] = replace(told, overruled_by=given.overruled_by, review=told.review or given.review)
    served_by = next(iter(rungs.values()), NONE)
    for place, rung in rungs.items():
        if rung != served_by:
            filled[place] = replace(filled[place], served_by=rung)
    return Predictions(
        model=loaded.model,
        version=loaded.version,
        served_by=served_by,
        items=filled,
        tried=() if served_by == CACHE else tried,
        timings=timings,
        arm=assignment.arm,
        cache=slots[0].how if slots else "",
    )


def _prediction(values: Mapping[str, Json]) -> Prediction:
    if type(values) is Aged:
        return Prediction(values, age_seconds=values.age)
    if type(values) is Waiting:
        return Prediction({}, review=WAITING, review_item=values.item)
    return Prediction(values)


async def _admitted(loaded: Loaded, instances: Sequence[Mapping[str, Json]]) -> tuple[list[Prediction], list[object]]:
    """Refusals in their places and `_PENDING` elsewhere, and what was admitted, in order."""
    if not instances:
        raise InvalidInput("there is no instance", fields=[FieldProblem("$.instances", "Give at least one")])
    if len(instances) > MOST:
        raise PayloadTooLarge(f"{len(instances)} instances are more than {MOST} in one call")
    items: list[Prediction] = []
    admitted: list[object] = []
    for place, instance in enumerate(instances):
        if place % _SLICE == _SLICE - 1:
            # Ten thousand checks take tens of milliseconds: others get their turn in between.
            await asyncio.sleep(0)
        try:
            admitted.append(loaded.admit(instance))
            items.append(_PENDING)
        except InvalidInput as error:
            items.append(_refused(error, place))
    return items, admitted


def _refused(error: StanchionError, place: int) -> Prediction:
    if not isinstance(error, InvalidInput):
        return Prediction({}, cast(Mapping[str, Json], error.problem()))
    fields = [
        FieldProblem(f"$.instances[{place}]" + each.path.removeprefix(ROOT), each.message) for each in error.fields
    ]
    problem = InvalidInput(f"instance {place} is not valid", fields=fields).problem()
    # A problem document holds plain JSON values only; its own type says less.
    return Prediction({}, cast(Mapping[str, Json], problem))
