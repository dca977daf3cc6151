"""What needs a person among models, reviewers, runs and events; nothing where the system has no such part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ....core.context import Context
from ..assets import BASE
from ..figures import sentence, span_of
from ..rendering import query
from ..shell import Shell
from .notices import Notice, Probe
from .pipelines.room import address

_MOST = 3


async def _upstreams(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    if shell.doors.gateway is None:
        return ()
    rungs = {rung.model: rung for view in await shell.doors.gateway.routes(ctx) for rung in view.rungs}
    href = f"{BASE}/gateway/providers"
    return [
        Notice(
            "bad" if each.breaker == "open" else "warn", f"Circuit {each.breaker}: {each.model}", each.upstream, href
        )
        for each in rungs.values()
        if each.breaker != "closed"
    ][:_MOST]


async def _reviews(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    if shell.doors.reviews is None:
        return ()
    found = []
    for queue in await shell.doors.reviews.queues(ctx):
        href = f"{BASE}/review{query(queue=queue.name)}"
        age = "" if queue.oldest_at is None else f"The oldest waits for {span_of(now - queue.oldest_at)}."
        if queue.escalated:
            found.append(Notice("warn", f"{queue.escalated} escalated in the review queue {queue.name}", age, href))
        elif queue.warned:
            found.append(Notice("info", f"{queue.warned} near their deadline in {queue.name}", age, href))
    return found[:_MOST]


async def _runs(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    if shell.doors.pipelines is None:
        return ()
    dead = await shell.doors.pipelines.dead(ctx, limit=_MOST)
    return [
        Notice(
            "warn",
            f"A run of {run.pipeline} {'failed' if run.error else 'does not go on'}",
            sentence(run.error.message if run.error else run.blocked),
            address(run.id),
        )
        for run in dead
    ]


async def _events(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    if shell.doors.events is None:
        return ()
    return [
        Notice(
            "warn",
            f"{each.dead:,} dead letter{'' if each.dead == 1 else 's'} of {each.name}",
            "Look at the errors, then redrive them.",
            f"{BASE}/events/dead{query(consumer=each.name)}",
        )
        for each in await shell.doors.events.consumers(ctx)
        if each.dead
    ][:_MOST]


PROBES: tuple[tuple[str, str, Probe], ...] = (
    ("gateway:read", "The gateway", _upstreams),
    ("review:read", "Review", _reviews),
    ("pipelines:read", "Pipelines", _runs),
    ("events:read", "Events", _events),
)
