"""Several processes on one database: one decides, all follow, and what each of them saw counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.serving import RolloutPlan
from stanchion.serving.rollout.conductor import LEASE

from .conftest import Stage, process


@pytest.fixture
async def second(bench: Any, staged: Stage) -> AsyncIterator[Stage]:
    async for stage in process(bench):
        await stage.service._follower.start()
        yield stage
        await stage.service._follower.stop()


async def test_a_rollout_started_in_one_is_followed_by_the_other(
    staged: Stage, second: Stage, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await second.tick()
    assert {each.version for each in await second.ask(ctx, customer, 100)} == {"1.0.0", "1.1.0"}
    await second.service.abort_rollout(ctx, "churn", reason="not today")
    await staged.tick()
    assert {each.version for each in await staged.ask(ctx, customer, 100)} == {"1.0.0"}


async def test_only_the_holder_of_the_lease_decides_until_it_dies(
    staged: Stage, second: Stage, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.tick()
    await second.tick()
    await second.ask(ctx, customer, 300)
    await second.tick()
    # Enough was seen, but the first process leads, and it is dead from here on.
    assert (await second.service.rollout(ctx, "churn")).rollout.step == 0
    await second.tick(10)
    assert (await second.service.rollout(ctx, "churn")).rollout.step == 1


async def test_what_both_saw_is_added_up_and_written_twice_counts_once(
    staged: Stage, second: Stage, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.tick(0)
    await second.tick(0)
    await staged.ask(ctx, customer, 60)
    await second.ask(ctx, customer, 40)
    for stage in (staged, second):
        await stage.releases.conductor._flush()
        for split in stage.releases.board.splits():
            for tally in split.tallies.values():
                tally.changed = True
        await stage.releases.conductor._flush()
    report = await staged.service.rollout(ctx, "churn")
    assert sum(arm.requests for arm in report.arms) == 100
    assert report.arms[1].requests > 0


async def test_failures_seen_by_the_other_use_up_the_same_budget(
    staged: Stage, second: Stage, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    from dataclasses import replace

    await staged.service.start_rollout(ctx, "churn", "1.1.0", replace(plan, failure_budget=20, guards=()))
    for stage in (staged, second):
        await stage.tick()
        # Each process loads graphs of its own.
        for name in ("two", "two-simple"):
            bench.runtime.graphs[name].fault = RuntimeError("broken")
    first = [each.version for each in await staged.ask(ctx, customer, 40)].count("1.1.0")
    assert 0 < first < 20
    await staged.releases.conductor._flush()
    # The second process does not lead; it looks and knows of the first one's failures.
    await second.releases.conductor.follow(await second.releases.conductor._store.present(bench.clock.now()))
    rest = [each.version for each in await second.ask(ctx, customer, 400)].count("1.1.0")
    assert first + rest == 20


async def test_a_change_made_from_an_old_revision_is_refused(
    staged: Stage, second: Stage, ctx: Context, plan: RolloutPlan
) -> None:
    from stanchion.core.errors import Conflict
    from stanchion.serving.rollout.machine import Move

    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    conductor = staged.releases.conductor
    [record] = await conductor._store.present(staged.clock.now())
    await second.service.pause_rollout(ctx, "churn")
    with pytest.raises(Conflict):
        await conductor.move(ctx, record, Move("promoting", 0, "late"))
    assert (await staged.service.rollout(ctx, "churn")).rollout.state == "paused"


async def test_a_lease_given_back_is_taken_at_once(staged: Stage, second: Stage) -> None:
    one, other = staged.releases.conductor._store, second.releases.conductor._store
    now = staged.clock.now()
    assert await one.lead(LEASE, now, 5)
    assert await one.lead(LEASE, now, 5)
    assert not await other.lead(LEASE, now, 5)
    await one.release(LEASE)
    assert await other.lead(LEASE, now, 5)


async def test_a_restarted_process_takes_over_what_was_stored(
    staged: Stage, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.tick()
    await staged.ask(ctx, customer, 60)
    await staged.releases.conductor._flush()
    async for again in process(bench):
        await again.service._follower.start()
        await again.tick(0)
        assert {each.version for each in await again.ask(ctx, customer, 100)} == {"1.0.0", "1.1.0"}
        await again.releases.conductor._flush()
        report = await again.service.rollout(ctx, "churn")
        assert sum(arm.requests for arm in report.arms) == 160
        await again.service._follower.stop()
