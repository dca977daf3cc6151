"""A switch at work: each instance to the model whose case holds, all models asked at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ...core.context import Context
from ...core.values import Json
from ..contract import ServedSpec
from ..contract.graphs import Switch
from ..rungs import Answers, Batch, Call
from .nested import Nested, answered, outcome, plain


def switch_call(spec: ServedSpec, switch: Switch, nested: Nested) -> Call:
    """The switch as a rung. A predicate that raises fails it, as any rung fails."""

    async def call(ctx: Context, items: Batch) -> Answers:
        groups: dict[str, list[int]] = {}
        for row, item in enumerate(items):
            chosen = next((case.model for case in switch.cases if case.when(item)), switch.otherwise)
            groups.setdefault(chosen, []).append(row)
        instances = plain(items)

        async def one(model: str, rows: list[int]) -> list[Mapping[str, Json]]:
            return await answered(nested, ctx, model, [instances[row] for row in rows])

        parts = await asyncio.gather(*(one(model, rows) for model, rows in groups.items()))
        found: dict[int, Mapping[str, Json]] = {}
        for rows, values in zip(groups.values(), parts, strict=True):
            found |= dict(zip(rows, values, strict=True))
        return [outcome(spec, found[row]) for row in range(len(items))]

    return call
