"""Rows of a spine that need pushed rows which are no longer kept: refused, for their features would be wrong."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.clock import moment
from ...core.errors import FieldProblem, InvalidInput
from ..ports import Log, Relation
from .relations import log_name
from .spine import Spine, moments_of

_FAULTS = 100


def earliest(relation: Relation, at: int, *, status: bool) -> int:
    """The earliest event time that matters to a view when it is read at `at`."""
    plan = relation.plan
    first = at - (plan.memory if status else plan.ttl)
    return min(first, plan.reach(at)) if plan.groups else first


async def check_kept(log: Log, tenant: str, spine: Spine, relations: Sequence[Relation], *, status: bool) -> None:
    """Raise InvalidInput for a spine that needs rows which have been forgotten.

    Asked after the rows were read: what was there then had not been forgotten. A source with a table is not asked
    about: its earlier rows are the table's business.
    """
    for relation in relations:
        if relation.table is not None or spine.first is None:
            continue
        horizon = await log.horizon(tenant, log_name(relation.plan.spec))
        if horizon is None or earliest(relation, spine.first, status=status) >= horizon:
            continue
        why = (
            f"is too long ago: rows pushed to {relation.plan.name} are kept from {moment(horizon).isoformat()} on, "
            "and it reads back further"
        )
        faulty = [i for i, at in enumerate(moments_of(spine)) if earliest(relation, at, status=status) < horizon]
        faults = [FieldProblem(f"$.spine[{place}].{spine.time}", why) for place in faulty[:_FAULTS]]
        raise InvalidInput(
            f"{faults[0].path} {why}; nothing was joined",
            fields=faults,
            next_step="Leave these rows out. The setting features.pushed_days says how long rows are kept.",
        )
