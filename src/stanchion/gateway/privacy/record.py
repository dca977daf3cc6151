"""The proof of where sensitive data went: one audit event for each decision, durable before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ...core.context import Context, Effect, Facts
from ...core.storage import Database
from .guard import Verdict

Decision = Literal["sent", "kept"]


async def record(
    database: Database, ctx: Context, verdict: Verdict, *, decision: Decision, upstream: str, model: str, place: str
) -> None:
    """Write that a call of this class was sent to an upstream, or kept from all that had no right to it.

    `place` is the upstream's region, or `on_premises`. The event tells classes and counts, never what was found.
    """
    facts: dict[str, str | int | float | bool | None] = {
        "decision": decision,
        "label": verdict.label,
        "model": model,
        "place": place,
        "inspected": not verdict.failed,
        "opaque": verdict.opaque,
        **_counts("found", verdict.found),
        **_counts("treated", verdict.treated),
    }
    effect = Effect(
        action="gateway:place",
        kind="outward",
        resource=f"Upstream::{upstream or '*'}",
        tenant=ctx.tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
        facts=facts,
    )
    await database.write(ctx.within(effect), lambda connection: None)


def _counts(name: str, counts: Mapping[str, int]) -> Facts:
    return {f"{name}_{kind}": number for kind, number in sorted(counts.items())}
