"""A serving service with a database of its own, two versions of a model, and rollouts driven by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.serving import Guard, RolloutPlan, RolloutStep
from stanchion.serving.module import MODULE
from stanchion.serving.releases import ReleaseLimits, Releases
from stanchion.serving.service import ServingService
from stanchion.testing.clock import FakeClock


class Stage:
    """One process: its service, and its conductor, which looks only when it is told to."""

    def __init__(self, service: ServingService, clock: FakeClock) -> None:
        found = service._releases
        assert found is not None
        self.service = service
        self.clock = clock
        self.releases: Releases = found

    async def tick(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        await self.releases.conductor.tick()

    async def ask(self, ctx: Context, customer: dict[str, Any], calls: int = 1) -> list[Any]:
        from dataclasses import replace

        from stanchion.core.context import new_request_id

        return [
            await self.service.predict(replace(ctx, request_id=new_request_id()), "churn", [customer])
            for _ in range(calls)
        ]

    async def mirrored(self) -> None:
        await self.releases.mirror.idle()


@pytest.fixture
def plan() -> RolloutPlan:
    """A canary of two quick steps."""
    return RolloutPlan(
        "canary",
        steps=(RolloutStep(20, 1, 20), RolloutStep(50, 1, 20)),
        guards=(Guard("errors", 0.05),),
        failure_budget=30,
    )


@pytest.fixture
async def staged(bench: Any) -> AsyncIterator[Stage]:
    """Version 1.0.0 in production, 1.1.0 beside it; the follower of rollouts does not run by itself."""
    async for stage in process(bench):
        await bench.register("one", 0.3, promote=True)
        await bench.register("two", 0.4)
        await stage.service._follower.start()
        stage.releases.mirror.start()
        yield stage
        await stage.releases.mirror.stop()
        await stage.service._follower.stop()


async def process(bench: Any, **changes: Any) -> AsyncIterator[Stage]:
    await bench.database.prepare(MODULE.schema())
    service = bench.serving(
        **{
            "database": bench.database,
            "releases": ReleaseLimits(poll=3600),
            **changes,
        }
    )
    yield Stage(service, bench.clock)
