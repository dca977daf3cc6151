"""What Prometheus sees of a rollout, from its first step to its end."""

from __future__ import annotations

from math import isnan
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as families

from stanchion.core.context import Context
from stanchion.core.telemetry.metrics import Metrics
from stanchion.serving import Guard, RolloutPlan, RolloutStep

from .conftest import process


def told(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample of rollouts by its name and its label values, by name of the label, without the model's."""
    found = {}
    for family in families(metrics.render()[0].decode()):
        for sample in family.samples:
            if sample.name.startswith("stanchion_rollout"):
                labels = dict(sample.labels)
                assert labels.pop("model") == "churn"
                assert labels.keys() <= {"state", "guard", "bound", "arm", "by", "result", "le"}
                found[sample.name, *(labels[name] for name in sorted(labels))] = sample.value
    return found


async def test_a_canary_is_told_with_state_step_share_and_guards(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.ask(ctx, customer, 40)
    await staged.tick(0.5)
    seen = told(bench.metrics)
    assert seen["stanchion_rollouts", "running"] == 1
    assert seen["stanchion_rollouts", "paused"] == 0
    assert (seen["stanchion_rollout_step",], seen["stanchion_rollout_share",]) == (1, 0.2)
    assert seen["stanchion_rollout_guard_tolerance", "errors"] == 0.05
    low = seen["stanchion_rollout_guard_harm", "low", "errors"]
    high = seen["stanchion_rollout_guard_harm", "high", "errors"]
    assert -1 <= low < high <= 1
    assert seen["stanchion_rollout_guard_value", "candidate", "errors"] == 0
    assert seen["stanchion_rollout_decisions_total", "person", "running"] == 1


async def test_an_ended_rollout_leaves_no_share_no_state_and_no_guard(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    for _ in range(4):
        await staged.ask(ctx, customer, 200)
        await staged.tick()
        await staged.tick()
    seen = told(bench.metrics)
    assert (await staged.service.rollout(ctx, "churn")).rollout.state == "promoted"
    assert {value for name, value in seen.items() if name[0] == "stanchion_rollouts"} == {0}
    assert (seen["stanchion_rollout_step",], seen["stanchion_rollout_share",]) == (0, 0)
    assert isnan(seen["stanchion_rollout_guard_harm", "low", "errors"])
    assert isnan(seen["stanchion_rollout_guard_tolerance", "errors"])
    assert seen["stanchion_rollout_decisions_total", "system", "running"] == 1
    assert seen["stanchion_rollout_decisions_total", "system", "promoted"] == 1


async def test_a_pause_takes_the_share_and_the_guards_away(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.tick(0.5)
    await staged.service.pause_rollout(ctx, "churn", reason="lunch")
    await staged.tick(0.5)
    seen = told(bench.metrics)
    assert (seen["stanchion_rollouts", "running"], seen["stanchion_rollouts", "paused"]) == (0, 1)
    assert seen["stanchion_rollout_share",] == 0
    assert isnan(seen["stanchion_rollout_guard_harm", "high", "errors"])


async def test_the_differences_of_a_shadow_are_counted_by_size(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    plan = RolloutPlan("shadow", (RolloutStep(0, 3600, 1000),), guards=(Guard("drift", 0.5),))
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.tick()
    await staged.ask(ctx, customer, 12)
    await staged.mirrored()
    seen = told(bench.metrics)
    assert seen["stanchion_rollout_mirrored_total", "compared"] == 12
    assert seen["stanchion_rollout_difference_count",] == 12
    # One version says .3 and the other .4, each time.
    assert seen["stanchion_rollout_difference_bucket", "0.05"] == 0
    assert seen["stanchion_rollout_difference_bucket", "0.25"] == 12
    bench.runtime.graphs["two"].fault = RuntimeError("broken")
    bench.runtime.graphs["two-simple"].fault = RuntimeError("broken too")
    await staged.ask(ctx, customer, 3)
    await staged.mirrored()
    assert sum(v for k, v in told(bench.metrics).items() if k[0] == "stanchion_rollout_mirrored_total") == 15


async def test_a_call_for_which_there_is_no_room_is_counted_as_dropped(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", RolloutPlan("shadow", (RolloutStep(0, 3600, 1000),)))
    await staged.tick()
    # Nothing works the queue off, so that it fills.
    await staged.releases.mirror.stop()
    await staged.ask(ctx, customer, 70)
    assert told(bench.metrics)["stanchion_rollout_mirrored_total", "dropped"] == 6


async def test_only_the_process_that_leads_tells_guards_and_all_tell_the_share(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    other = Metrics()
    async for second in process(bench, metrics=other):
        await second.service._follower.start()
        await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
        await staged.tick(0.1)
        await second.tick(0.1)
        harm = ("stanchion_rollout_guard_harm", "low", "errors")
        assert told(bench.metrics)[harm] >= -1
        assert harm not in told(other)
        assert told(bench.metrics)["stanchion_rollout_share",] == told(other)["stanchion_rollout_share",] == 0.2
        # The first falls silent until its lease has run out, then looks again and finds itself led.
        await second.tick(10)
        assert told(other)[harm] >= -1
        await staged.tick(0.1)
        assert isnan(told(bench.metrics)[harm])
        await second.service._follower.stop()
