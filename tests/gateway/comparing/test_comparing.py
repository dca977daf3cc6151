"""Versions of a prompt and models of a route, compared over calls that were really made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from stanchion.core.context import Context, new_request_id
from stanchion.core.errors import InvalidInput, NotFound
from stanchion.gateway import Ask, Gateway, Message, Score
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Call, Reply, upstream

CALLS = 48


def says(call: Call) -> Reply:
    """The second version is answered at length."""
    return Reply("Yes. " * (50 if "at length" in json.dumps(call.body) else 1))


@pytest.fixture
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    async with upstream("openai", says) as up:
        app = System("compare")
        hosted = app.upstream("hosted", kind="openai", url=up.url + "/v1")
        small = app.language_model("small", upstream=hosted, model="gpt-4o-mini")
        large = app.language_model("large", upstream=hosted, model="gpt-4o")
        app.price("hosted", "gpt-4o-mini", input_price="1", output_price="2")
        app.price("hosted", "gpt-4o", input_price="10", output_price="20")
        app.route("task", primary=small, fallbacks=[large], weights={"small": 1, "large": 1})
        async with offline(app) as found:
            yield found


async def called(gateway: Gateway, ctx: Context, body: dict[str, Any]) -> str:
    ctx = replace(ctx, request_id=new_request_id())
    messages = [{"role": "user", "content": "Is it so?"}]
    await gateway.complete(ctx, Ask("chat", json.dumps({"messages": messages, **body}).encode()))
    return ctx.request_id


async def prompted(gateway: Gateway, ctx: Context) -> dict[str, list[str]]:
    """Requests by version; a unit makes four of them."""
    for text in ("Answer.", "Answer at length."):
        await gateway.add_prompt(ctx, "reply", [Message("system", text)])
    await gateway.label_prompt(ctx, "reply", "production", {1: 1, 2: 1})
    made: dict[str, list[str]] = {"1": [], "2": []}
    for n in range(CALLS):
        unit = f"person-{n // 4}@example.org"
        version = (await gateway.render_prompt(ctx, "reply", {}, unit=unit)).version
        request = await called(gateway, ctx, {"model": "small", "prompt": {"id": "reply", "unit": unit}})
        made[str(version)].append(request)
    return made


async def test_versions_of_a_prompt_are_compared_by_cost_latency_and_score(running: Any) -> None:
    gateway, ctx = running.door(Gateway), running.ctx
    made = await prompted(gateway, ctx)
    scores = [Score(request, 1.0 if version == "1" else 0.25) for version, ids in made.items() for request in ids]
    assert await gateway.score(ctx, scores) == CALLS
    found = await gateway.compare(ctx, prompt="reply", baseline="reply@1")
    assert (found.subject, found.baseline) == ("prompt:reply", "reply@1")
    one, two = found.variants
    assert (one.name, two.name, one.requests + two.requests) == ("reply@1", "reply@2", CALLS)
    assert (one.units, one.scored) == (len(made["1"]) // 4, len(made["1"]))
    assert one.over_cost is None
    assert two.over_cost is not None
    assert two.over_cost.mean == pytest.approx(two.cost.mean - one.cost.mean)
    assert two.over_cost.mean > 0
    assert one.latency is not None
    assert one.latency.mean > 0
    assert two.over_score is not None
    assert two.over_score.mean == pytest.approx(-0.75)
    # Twelve units at 1:1; with fewer than six on a side there is no interval, and nothing is decided.
    assert two.over_score.decided == two.over_cost.decided == (min(one.units, two.units) >= 6)


async def test_units_lie_in_the_ledger_as_digests(running: Any) -> None:
    gateway, ctx = running.door(Gateway), running.ctx
    made = await prompted(gateway, ctx)
    [row] = await gateway.spent(ctx, made["1"][0] if made["1"] else made["2"][0])
    assert "person" not in json.dumps(dict(row.tags))
    assert len(row.tags["prompt_unit"]) == 16
    assert row.took > 0


async def test_models_of_a_route_are_compared_and_the_busiest_is_the_baseline(running: Any) -> None:
    gateway, ctx = running.door(Gateway), running.ctx
    for n in range(40):
        await called(gateway, replace(ctx, principal=f"key:{n}"), {"model": "route:task"})
    found = await gateway.compare(ctx, route="task")
    names = [each.name for each in found.variants]
    assert names == ["hosted/gpt-4o", "hosted/gpt-4o-mini"]
    other = next(each for each in found.variants if each.name != found.baseline)
    assert other.requests <= CALLS // 2
    assert other.over_cost is not None
    assert other.over_cost.decided
    assert (other.over_cost.mean > 0) == (other.name == "hosted/gpt-4o")
    assert other.score is None


async def test_a_score_is_of_a_known_request_and_the_newest_holds(running: Any) -> None:
    gateway, ctx = running.door(Gateway), running.ctx
    request = await called(gateway, ctx, {"model": "route:task"})
    with pytest.raises(NotFound):
        await gateway.score(ctx, [Score(request, 1.0), Score("unknown", 1.0)])
    with pytest.raises(NotFound):
        await gateway.score(replace(ctx, tenant="other"), [Score(request, 1.0)])
    with pytest.raises(InvalidInput):
        await gateway.score(ctx, [Score(request, float("nan"))])
    assert await gateway.score(ctx, [Score(request, 0.0), Score(request, 9.0, "other")]) == 2
    assert await gateway.score(ctx, [Score(request, 5.0)]) == 1
    [variant] = (await gateway.compare(ctx, route="task")).variants
    assert variant.score is not None
    assert variant.score.mean == 5.0


async def test_what_cannot_be_compared_is_refused(running: Any) -> None:
    gateway, ctx = running.door(Gateway), running.ctx
    for wrong in ({}, {"prompt": "a", "route": "b"}, {"route": "task", "confidence": 1.0}):
        with pytest.raises(InvalidInput):
            await gateway.compare(ctx, **wrong)
    with pytest.raises(NotFound):
        await gateway.compare(ctx, route="task")
    await called(gateway, ctx, {"model": "route:task"})
    with pytest.raises(NotFound, match="variant"):
        await gateway.compare(ctx, route="task", baseline="nobody")
    with pytest.raises(NotFound):
        await gateway.compare(replace(ctx, tenant="other"), route="task")
