"""Business outcomes for rollouts: what was fed back since a rollout began, by arm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..rollout.records import Record
from ..rollout.sequences import Moments
from .journal import Journal


def fed_back(journal: Journal) -> Callable[[Record], Awaitable[Mapping[str, Moments]]]:
    """Reads the metric `outcome` of a rollout's predictions."""

    async def read(record: Record) -> Mapping[str, Moments]:
        rollout = record.rollout
        found: dict[str, Moments] = {}
        for each in await journal.outcomes(record.tenant, rollout.model, since=rollout.started_at):
            found[each.arm] = found.get(each.arm, Moments()) + Moments(each.count, each.total, each.squares)
        return found

    return read
