"""A process that releases and takes back for ever, tells what was acknowledged, and is killed meanwhile.

`python crash_worker.py FOLDER`: checks what an earlier one left behind, says `ready`, and goes on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from stanchion.app.commands.office import Options, opened, operator
from stanchion.core.context import new_request_id
from stanchion.core.errors import Conflict
from stanchion.core.security.contract import Audit
from stanchion.registry import Registry
from stanchion.serving import RolloutPlan, RolloutStep, Serving

MODEL = "side"
PLAN = RolloutPlan("canary", steps=(RolloutStep(50, 0, 2), RolloutStep(100, 0, 2)), guards=(), failure_budget=10**6)
LIVE = ("waiting", "running", "paused", "promoting", "pending")


def tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def check(serving: Serving, registry: Registry, audit: Audit, ctx: Any) -> None:
    """Nothing is half-done: every change has its event in the history and in the audit log, once."""
    stored = []
    for rollout in await serving.rollouts(ctx, limit=100):
        report = await serving.rollout(ctx, MODEL, rollout=rollout.id)
        states = [event.state for event in report.history]
        assert len(states) == report.rollout.revision, (states, report.rollout)
        assert states[0] == report.rollout.state
        stored += [(rollout.id, state) for state in states]
    live = [rollout for rollout in await serving.rollouts(ctx, limit=100) if rollout.state in LIVE]
    assert len(live) <= 1
    if len(stored) < 400:
        told = [
            (event.facts["rollout"], event.facts["state"])
            async for event in audit.export(ctx)
            if event.action == "serving:rollout" and event.outcome == "done"
        ]
        known = {rollout.id for rollout in await serving.rollouts(ctx, limit=100)}
        assert sorted(pair for pair in told if pair[0] in known) == sorted(stored)
    assert (await audit.verify(ctx)).ok
    assert (await registry.resolve(ctx, MODEL)).stage == "production"


async def settled(serving: Serving, ctx: Any) -> str:
    """The newest rollout's end, reached by itself under calls."""
    async with asyncio.timeout(60):
        while True:
            for _ in range(5):
                # Calls are split by their ids.
                answer = await serving.predict(replace(ctx, request_id=new_request_id()), MODEL, [{"x": 1.0, "y": 0.0}])
                assert answer.served_by == "primary"
            rollout = (await serving.rollout(ctx, MODEL)).rollout
            if rollout.state not in LIVE:
                return rollout.state
            if rollout.state == "paused":
                await serving.resume_rollout(ctx, MODEL)
            await asyncio.sleep(0.005)


async def run(folder: Path) -> None:
    async with opened(Options(data=folder / "data"), file=folder / "system.py", only=("registry", "serving")) as house:
        serving, registry, audit = house.door(Serving), house.door(Registry), house.door(Audit)
        ctx = operator(house.settings.tenant)
        await check(serving, registry, audit, ctx)
        await house.start()
        if await serving.rollouts(ctx, limit=1):
            # What was under way comes to its end by itself.
            await settled(serving, ctx)
        tell(event="ready")
        while True:
            await cycle(serving, registry, ctx)


async def cycle(serving: Serving, registry: Registry, ctx: Any) -> None:
    present = (await registry.resolve(ctx, MODEL)).version
    other = "1.1.0" if present == "1.0.0" else "1.0.0"
    rollout = await serving.start_rollout(ctx, MODEL, other, PLAN)
    tell(event="acknowledged", rollout=rollout.id, state="running")
    if rollout.id[-1] in "01234567":
        paused = await serving.pause_rollout(ctx, MODEL)
        tell(event="acknowledged", rollout=paused.id, state="paused")
        await serving.resume_rollout(ctx, MODEL)
    assert await settled(serving, ctx) == "promoted"
    tell(event="acknowledged", rollout=rollout.id, state="promoted")
    assert (await registry.resolve(ctx, MODEL)).version == other
    try:
        back = await serving.roll_back_rollout(ctx, MODEL, reason="to begin again")
    except Conflict:
        return
    tell(event="acknowledged", rollout=back.id, state="rolled_back")


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
