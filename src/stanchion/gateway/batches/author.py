"""Who ordered a batch, as it is stored with it: its calls have the rights of the order, and never more."""

from __future__ import annotations

from typing import cast

import msgspec

from ...core.context import Budget, Context, Rights, Sensitivity, Trace


class _Author(msgspec.Struct, frozen=True):
    roles: list[str]
    scopes: list[str]
    limit: list[str] | None
    labels: list[str]
    sampled: bool
    cost: float | None = None
    tokens: int | None = None
    steps: int | None = None


_decode = msgspec.json.Decoder(_Author).decode


def author_of(ctx: Context) -> str:
    """What of the caller is stored."""
    rights, budget = ctx.rights, ctx.budget
    return msgspec.json.encode(
        _Author(
            roles=sorted(rights.roles),
            scopes=sorted(rights.scopes),
            limit=None if rights.limit is None else sorted(rights.limit),
            labels=sorted(ctx.labels),
            sampled=ctx.trace.sampled,
            cost=budget.cost,
            tokens=budget.tokens,
            steps=budget.steps,
        )
    ).decode()


def context_of(tenant: str, principal: str, author: str, *, deadline: float) -> Context:
    """The Context of one call, with a request id and a trace of its own."""
    found = _decode(author)
    limit = None if found.limit is None else frozenset(found.limit)
    return Context(
        tenant=tenant,
        principal=principal,
        rights=Rights(frozenset(found.roles), frozenset(found.scopes), limit),
        deadline=deadline,
        budget=Budget(found.cost, found.tokens, found.steps),
        trace=Trace.new(sampled=found.sampled),
        # Written by `author_of`, so each is one of the classes.
        labels=cast("frozenset[Sensitivity]", frozenset(found.labels)),
    )
