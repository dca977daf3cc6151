"""The proof of where sensitive data went: audit events that are durable before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.context import Context, Effect, Facts, Sensitivity
from ...core.storage import Database
from .guard import Verdict


async def inspected(database: Database, ctx: Context, verdict: Verdict, *, resource: str = "Upstream::*") -> None:
    """Write what a call held, by kinds and counts and never by what was found, and what was taken out of it."""
    facts = {
        "label": verdict.label,
        "inspected": not verdict.failed,
        "opaque": verdict.opaque,
        **counts("found", verdict.found),
        **counts("treated", verdict.treated),
    }
    await _written(database, ctx, "gateway:inspect", resource, facts)


async def placed(
    database: Database, ctx: Context, label: Sensitivity, *, upstream: str, model: str, on_premises: bool, region: str
) -> None:
    """Write that a call of this class is about to be sent to an upstream."""
    facts = {"label": label, "model": model, "place": "on_premises" if on_premises else region or "unnamed"}
    await _written(database, ctx, "gateway:place", f"Upstream::{upstream}", facts)


async def reached(database: Database, ctx: Context, label: Sensitivity, *, tool: str, place: str) -> None:
    """Write that arguments of this class are about to be sent to the server of a tool."""
    await _written(database, ctx, "gateway:place", f"Tool::{tool}", {"label": label, "place": place})


async def withheld(database: Database, ctx: Context, label: Sensitivity, *, tool: str) -> None:
    """Write that a call of a tool was refused, because its server may not have arguments of this class."""
    await _written(database, ctx, "gateway:keep", f"Tool::{tool}", {"label": label})


async def kept(database: Database, ctx: Context, label: Sensitivity, *, model: str) -> None:
    """Write that a call of this class was refused, because no upstream may have it."""
    await _written(database, ctx, "gateway:keep", "Upstream::*", {"label": label, "model": model})


def counts(name: str, found: Mapping[str, int]) -> Facts:
    """Counts by kind as facts of an event."""
    return {f"{name}_{kind}": number for kind, number in sorted(found.items())}


async def _written(database: Database, ctx: Context, action: str, resource: str, facts: Facts) -> None:
    effect = Effect(
        action=action,
        kind="outward",
        resource=resource,
        tenant=ctx.tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
        facts=dict(facts),
    )
    await database.write(ctx.within(effect), lambda connection: None)
