"""How a graph asks a member: through serving, within the caller's time, one answer or failure for each instance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from ...core.context import Context
from ...core.errors import StanchionError, Unavailable
from ...core.values import Json
from ..contract import Predictions, ServedSpec

Instances = Sequence[Mapping[str, Json]]
Nested = Callable[[Context, str, Instances], Awaitable[Predictions]]
_FIRST = ("primary", "cache")


@dataclass(frozen=True, slots=True)
class Reply:
    """A member's answers in the order of the instances, None where it refused one; `code` if it gave none at all."""

    values: Sequence[Mapping[str, Json] | None]
    code: str = ""


async def replied(
    nested: Nested,
    ctx: Context,
    model: str,
    instances: Instances,
    *,
    seconds: float | None = None,
    strict: bool = False,
) -> Reply:
    """What the member answers. Its failures are answers too, but a cancellation is not."""
    nothing = [None] * len(instances)
    try:
        async with asyncio.timeout(seconds):
            answer = await nested(ctx, model, instances)
    except TimeoutError:
        return Reply(nothing, "deadline_exceeded")
    except StanchionError as error:
        return Reply(nothing, error.code)
    if strict and answer.served_by not in (*_FIRST, "none"):
        return Reply(nothing, f"served_by_{answer.served_by}")
    # Where people were asked there are no values yet, which to a member's caller is no answer.
    return Reply([None if item.error is not None or item.review_item else item.values for item in answer.items])


async def answered(nested: Nested, ctx: Context, model: str, instances: Instances) -> list[Mapping[str, Json]]:
    """What the member answers for all instances. Raises Unavailable if it does not answer all of them."""
    reply = await replied(nested, ctx, model, instances)
    values = [each for each in reply.values if each is not None]
    if len(values) < len(instances):
        raise Unavailable(f"the member {model} gave no answer ({reply.code or 'refused'})")
    return values


def plain(items: Sequence[Any], fields: Sequence[str] = ()) -> list[dict[str, Json]]:
    """Typed instances as plain data, of these fields or of all."""
    wanted = set(fields) or None
    return [item.model_dump(mode="json", include=wanted) for item in items]


def outcome(spec: ServedSpec, values: Mapping[str, Json]) -> Mapping[str, Json]:
    """Values as the declared output type has them: fields that it lacks are left out. Raises Unavailable."""
    known = {name: value for name, value in values.items() if name in spec.output.model_fields}
    try:
        dumped: Mapping[str, Json] = spec.output.model_validate(known).model_dump(mode="json")
    except pydantic.ValidationError as error:
        raise Unavailable(f"the members of {spec.name} did not give a {spec.output.__name__}") from error
    return dumped
