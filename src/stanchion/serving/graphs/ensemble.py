"""An ensemble at work: members asked at the same time, their answers made one."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import assert_never

from ...core.context import Context
from ...core.errors import Unavailable
from ...core.values import Json
from ..contract import ServedSpec
from ..contract.graphs import Drop, Ensemble, Fail, Member, Stack, Substitute, Vote, WeightedMean, bare
from ..rungs import Answers, Batch, Call
from .nested import Nested, Reply, answered, outcome, plain, replied

Values = Mapping[str, Json]
Voice = tuple[Member, Values]


def ensemble_call(spec: ServedSpec, ensemble: Ensemble, nested: Nested) -> Call:
    """The ensemble as a rung. Its failures are Unavailable, so that the next rung answers."""

    async def call(ctx: Context, items: Batch) -> Answers:
        replies = await asyncio.gather(*(_asked(nested, ctx, ensemble, each, items) for each in ensemble.members))
        voices = [_voices(ensemble, replies, row) for row in range(len(items))]
        made: Sequence[Values]
        match ensemble.by:
            case Vote():
                made = [_voted(ensemble.by, each) for each in voices]
            case WeightedMean():
                made = [_mean(ensemble.by, each) for each in voices]
            case Stack():
                given = [_stacked(ensemble.by, each, row) for each, row in zip(voices, plain(items), strict=True)]
                made = await answered(nested, ctx, ensemble.by.model, given)
            case _:
                assert_never(ensemble.by)
        return [outcome(spec, each) for each in made]

    return call


async def _asked(nested: Nested, ctx: Context, ensemble: Ensemble, member: Member, items: Batch) -> Reply:
    instances = plain(items, member.fields)
    return await replied(nested, ctx, member.model, instances, seconds=member.seconds, strict=ensemble.strict)


def _voices(ensemble: Ensemble, replies: Sequence[Reply], row: int) -> list[Voice]:
    """Who has something to say of one instance, after failed members were treated as declared."""
    heard: list[Voice] = []
    for member, reply in zip(ensemble.members, replies, strict=True):
        values = reply.values[row]
        if values is None:
            values = _instead(ensemble, member, reply)
        if values is not None:
            heard.append((member, values))
    if isinstance(ensemble.on_failure, Drop) and len(heard) < ensemble.on_failure.least:
        raise Unavailable(f"{len(heard)} members answered, fewer than {ensemble.on_failure.least}")
    return heard


def _instead(ensemble: Ensemble, member: Member, reply: Reply) -> Values | None:
    match ensemble.on_failure:
        case Substitute(values) if bare(member.model) in values:
            return values[bare(member.model)]
        case Drop():
            return None
        case Fail() | Substitute():
            raise Unavailable(f"the member {member.model} gave no answer ({reply.code or 'refused'})")
        case _:
            assert_never(ensemble.on_failure)


def _voted(by: Vote, voices: Sequence[Voice]) -> dict[str, Json]:
    weights: dict[str | int | float | bool | None, float] = {}
    for member, values in voices:
        value = values.get(by.field)
        if isinstance(value, list | dict) or by.field not in values:
            raise Unavailable(f"the member {member.model} gave no value to vote with in {by.field}")
        weights[value] = weights.get(value, 0.0) + member.weight
    # Of equals the first wins: `max` keeps it, and dictionaries keep the order of the members.
    best = max(weights, key=lambda value: weights[value])
    share = weights[best] / sum(weights.values())
    made: dict[str, Json] = {by.field: best}
    if by.share:
        made[by.share] = share
    return made


def _mean(by: WeightedMean, voices: Sequence[Voice]) -> dict[str, Json]:
    total = sum(member.weight for member, _ in voices)
    made: dict[str, Json] = {}
    for name in by.fields:
        made[name] = sum(member.weight * _number(member, values, name) for member, values in voices) / total
    if by.label:
        first = made[by.fields[0]]
        names, bounds = list(by.bands), list(by.bands.values())
        place = bisect_right(bounds, first) - 1 if isinstance(first, float) else 0
        made[by.label] = names[max(place, 0)]
    return made


def _number(member: Member, values: Values, name: str) -> float:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unavailable(f"the member {member.model} gave no number in {name}")
    return float(value)


def _stacked(by: Stack, voices: Sequence[Voice], instance: Values) -> dict[str, Json]:
    """The instance of the model on top."""
    given = {"input": instance} | {bare(member.model): values for member, values in voices}
    made: dict[str, Json] = {}
    for name, place in by.fields.items():
        source, _, field = place.rpartition(".")
        if source not in given or field not in given[source]:
            raise Unavailable(f"no member gave {place}, which {by.model} needs as {name}")
        made[name] = given[source][field]
    return made
