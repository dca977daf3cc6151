"""A chain at work: preparing functions, models and finishing functions, one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, get_type_hints

import pydantic

from ...core.context import Context
from ...core.errors import Misconfigured, Unavailable
from ...core.values import Json
from ..contract import ServedSpec
from ..contract.graphs import Chain
from ..pool import Pool
from ..rungs import Answers, Batch, Call
from .nested import Nested, answered, outcome, plain

Values = Sequence[Mapping[str, Json]]
Step = Callable[[Context, Values], Awaitable[Values]]


def chain_call(spec: ServedSpec, chain: Chain, nested: Nested, pool: Pool) -> Call:
    """The chain as a rung. Raises Misconfigured for a function without the annotations it needs."""
    steps = [_model(each, nested) if isinstance(each, str) else _function(each, pool) for each in chain.steps]

    async def call(ctx: Context, items: Batch) -> Answers:
        values: Values = plain(items)
        for step in steps:
            values = await step(ctx, values)
        return [outcome(spec, each) for each in values]

    return call


def _model(reference: str, nested: Nested) -> Step:
    async def step(ctx: Context, values: Values) -> Values:
        return await answered(nested, ctx, reference, values)

    return step


def _function(function: Callable[[Any], Any], pool: Pool) -> Step:
    taken, given = step_types(function)
    waits = inspect.iscoroutinefunction(function)

    def typed(values: Values) -> list[pydantic.BaseModel]:
        try:
            return [taken.model_validate(each) for each in values]
        except pydantic.ValidationError as error:
            raise Unavailable(f"the step {_name(function)} was not given a {taken.__name__}") from error

    def dumped(made: object) -> Mapping[str, Json]:
        if not isinstance(made, given):
            raise Unavailable(f"the step {_name(function)} gave a {type(made).__name__}, not a {given.__name__}")
        values: Mapping[str, Json] = made.model_dump(mode="json")
        return values

    def work(items: Sequence[pydantic.BaseModel]) -> list[Any]:
        return [function(item) for item in items]

    async def step(ctx: Context, values: Values) -> Values:
        items = typed(values)
        made = [await function(item) for item in items] if waits else await pool.run(work, items)
        return [dumped(each) for each in made]

    return step


def step_types(function: Callable[[Any], Any]) -> tuple[type[pydantic.BaseModel], type[pydantic.BaseModel]]:
    """What a step takes and gives, by its annotations. Raises Misconfigured."""
    hints = get_type_hints(function)
    return _typed(function, next((t for n, t in hints.items() if n != "return"), None)), _typed(
        function, hints.get("return")
    )


def _typed(function: Callable[[Any], Any], annotation: object) -> type[pydantic.BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    raise Misconfigured(
        f"the step {_name(function)} must be annotated as `def step(item: In) -> Out` with pydantic types"
    )


def _name(function: Callable[[Any], Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
