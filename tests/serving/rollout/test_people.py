"""Outside development a version reaches production by two persons, whether a person or a rollout puts it there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, NotAllowed
from stanchion.serving import RolloutPlan

from .conftest import process


def person(name: str, *scopes: str) -> Context:
    return Context(tenant="t1", principal=name, rights=Rights(scopes=frozenset(scopes or {"*"})))


ADA, BOB = person("ada"), person("bob")


@pytest.fixture
async def strict(bench: Any) -> AsyncIterator[Any]:
    """As `staged`, outside development: 1.0.0 in production, 1.1.0 in staging."""
    bench.registry._development = False
    async for stage in process(bench, development=False):
        for number, name in enumerate(("one", "two")):
            version = (await bench.register(name, 0.3 + number / 10)).version
            await bench.registry.promote(ADA, "churn", version, to="staging")
        await bench.registry.promote(ADA, "churn", "1.0.0", to="production", evidence="the first")
        await bench.registry.promote(BOB, "churn", "1.0.0", to="production")
        await stage.service._follower.start()
        yield stage
        await stage.service._follower.stop()


async def passed(stage: Any, customer: dict[str, Any]) -> str:
    """The state after all steps have passed."""
    for _ in range(4):
        await stage.ask(ADA, customer, 150)
        await stage.tick()
        await stage.tick()
    return str((await stage.service.rollout(ADA, "churn")).rollout.state)


async def test_a_passed_canary_waits_for_a_second_person(
    strict: Any, bench: Any, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await strict.service.start_rollout(ADA, "churn", "1.1.0", plan)
    await strict.tick()
    assert await passed(strict, customer) == "pending"
    [asked, *_] = await bench.registry.promotions(ADA, "churn")
    assert (asked.status, asked.requested_by) == ("pending", "ada")
    assert {each.arm for each in await strict.ask(ADA, customer, 100)} == {"control", "canary"}
    with pytest.raises(NotAllowed):
        await strict.service.promote_rollout(ADA, "churn")
    done = await strict.service.promote_rollout(BOB, "churn", evidence="I read the figures")
    assert done.state == "promoted"
    [decided, *_] = await bench.registry.promotions(ADA, "churn")
    assert (decided.status, decided.requested_by, decided.decided_by) == ("done", "ada", "bob")


async def test_a_pending_promotion_may_be_decided_in_the_registry(
    strict: Any, bench: Any, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await strict.service.start_rollout(ADA, "churn", "1.1.0", plan)
    await strict.tick()
    assert await passed(strict, customer) == "pending"
    await bench.registry.promote(BOB, "churn", "1.1.0", to="production")
    await strict.tick()
    assert (await strict.service.rollout(ADA, "churn")).rollout.state == "promoted"


async def test_a_plan_approved_before_promotes_by_itself_in_the_name_of_both(
    strict: Any, bench: Any, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    before = replace(plan, approval="before")
    started = await strict.service.start_rollout(ADA, "churn", "1.1.0", before)
    assert (started.state, started.percent) == ("waiting", 0.0)
    await strict.tick()
    assert {each.version for each in await strict.ask(ADA, customer, 60)} == {"1.0.0"}
    with pytest.raises(NotAllowed):
        await strict.service.approve_rollout(ADA, "churn")
    approved = await strict.service.approve_rollout(BOB, "churn")
    assert (approved.state, approved.approved_by) == ("running", "bob")
    with pytest.raises(Conflict):
        await strict.service.approve_rollout(BOB, "churn")
    await strict.tick()
    assert await passed(strict, customer) == "promoted"
    [decided, *_] = await bench.registry.promotions(ADA, "churn")
    assert (decided.requested_by, decided.decided_by) == ("ada", "bob")


async def test_a_version_that_could_not_be_promoted_at_the_end_is_not_begun_with(
    strict: Any, bench: Any, plan: RolloutPlan
) -> None:
    await bench.register("three")
    with pytest.raises(Conflict, match="stage dev"):
        await strict.service.start_rollout(ADA, "churn", "1.2.0", plan)


async def test_taking_back_needs_one_person_only(
    strict: Any, bench: Any, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await strict.service.start_rollout(ADA, "churn", "1.1.0", plan)
    await strict.service.promote_rollout(ADA, "churn")
    await strict.service.promote_rollout(BOB, "churn")
    await strict.service.roll_back_rollout(ADA, "churn", reason="complaints")
    assert (await bench.registry.resolve(ADA, "churn")).version == "1.0.0"


async def test_what_is_taken_back_while_it_waits_can_no_longer_be_waved_through(
    strict: Any, bench: Any, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await strict.service.start_rollout(ADA, "churn", "1.1.0", plan)
    await strict.service.promote_rollout(ADA, "churn")
    back = await strict.service.roll_back_rollout(ADA, "churn", reason="complaints")
    assert back.state == "rolled_back"
    with pytest.raises(Conflict):
        await bench.registry.promote(BOB, "churn", "1.1.0", to="production")
    assert [each.status for each in await bench.registry.promotions(ADA, "churn", limit=2)] == ["done", "rejected"]
