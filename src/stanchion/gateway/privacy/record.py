"""The proof of where sensitive data went: audit events that are durable before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.context import Context, Effect, Facts, Sensitivity
from ...core.storage import Database
from .guard import Verdict


async def inspected(database: Database, ctx: Context, verdict: Verdict) -> None:
    """Write what a call held, by kinds and counts and never by what was found, and what was taken out of it."""
    facts = {
        "label": verdict.label,
        "inspected": not verdict.failed,
        "opaque": verdict.opaque,
        **_counts("found", verdict.found),
        **_counts("treated", verdict.treated),
    }
    await _written(database, ctx, "gateway:inspect", "*", facts)


async def placed(
    database: Database, ctx: Context, label: Sensitivity, *, upstream: str, model: str, on_premises: bool, region: str
) -> None:
    """Write that a call of this class is about to be sent to an upstream."""
    facts = {"label": label, "model": model, "place": "on_premises" if on_premises else region or "unnamed"}
    await _written(database, ctx, "gateway:place", upstream, facts)


async def kept(database: Database, ctx: Context, label: Sensitivity, *, model: str) -> None:
    """Write that a call of this class was refused, because no upstream may have it."""
    await _written(database, ctx, "gateway:keep", "*", {"label": label, "model": model})


async def _written(database: Database, ctx: Context, action: str, upstream: str, facts: Facts) -> None:
    effect = Effect(
        action=action,
        kind="outward",
        resource=f"Upstream::{upstream}",
        tenant=ctx.tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
        facts=dict(facts),
    )
    await database.write(ctx.within(effect), lambda connection: None)


def _counts(name: str, counts: Mapping[str, int]) -> Facts:
    return {f"{name}_{kind}": number for kind, number in sorted(counts.items())}
