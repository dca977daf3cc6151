"""The reference of a job: the distributions of a given table, or those that training left with the version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...core.context import Context
from ...core.errors import InvalidInput
from ..contract import BatchJob
from .checking import Admitted
from .pieces import Source
from .scoring import Scorer
from .tally import Reference, binned, distributions, reference_from

MOST = 100_000
"""So many rows of a reference table are counted: more change a share by less than half a per cent."""


async def reference_of(
    ctx: Context, scorer: Scorer, table: Callable[[], Source] | None, job: BatchJob
) -> Reference | None:
    """The reference, or None where the version has none. Raises InvalidInput for a table that does not fit."""
    if table is None:
        return reference_from(scorer.reference, f"the training of {job.model.partition('@')[0]} {job.version}")
    admitted = await asyncio.to_thread(_read, scorer, table)
    scored = await scorer.score(ctx, admitted)
    columns = await asyncio.to_thread(distributions, admitted.matrix, scorer.checker.columns)
    prediction = None if scored.probability is None else binned(scored.probability)
    name = job.order.reference.rpartition("/")[2]
    return Reference(len(admitted.sound), columns, prediction, f"{len(admitted.sound):,} rows of {name}")


def _read(scorer: Scorer, table: Callable[[], Source]) -> Admitted:
    source = table()
    plan = scorer.checker.plan(source.describe(), keep=(), extra="ignore", taken=())
    piece = next(iter(source.pieces(MOST, plan.columns)), None)
    if piece is None:
        raise InvalidInput("the reference table holds no rows")
    admitted = scorer.checker.admit(piece, plan.fields)
    if len(admitted.sound) < len(piece.numbers) / 2:
        raise InvalidInput("more than half of the rows of the reference table are not valid for the model")
    return admitted
