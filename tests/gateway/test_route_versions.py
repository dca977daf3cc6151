"""Versions of routes: who changed what, and a former one brought back, by contract, over HTTP and by command."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from stanchion.core.security.contract import Audit, Keys
from stanchion.gateway import Ask, Gateway, RouteSpec
from stanchion.system import System
from stanchion.testing import offline

pytestmark = pytest.mark.timeout(300)
TURNED = RouteSpec(name="task", primary="large", fallbacks=("small",), weights={"large": 2.0}, max_latency_ms=900)
ALONE = RouteSpec(name="task", primary="large", conditions={"large": "tokens > 1"})


def declare(app: System, ups: Any = None) -> None:
    here = app.upstream("here", kind="builtin")
    for name in ("small", "large"):
        app.language_model(name, upstream=here)
    app.route("task", primary="small", fallbacks=["large"])


@pytest.fixture
async def run() -> AsyncIterator[Any]:
    app = System("versions")
    declare(app)
    async with offline(app) as running:
        yield running


def body(model: str = "route:task") -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello."}]}).encode()


async def test_each_version_tells_who_made_it_and_what_differs(run: Any) -> None:
    gateway = run.door(Gateway)
    await gateway.put_route(run.ctx, "task", TURNED, version=0)
    ben = run.caller("admin")
    await gateway.put_route(ben, "task", ALONE, version=1)
    second, first, declared = await gateway.route_versions(run.ctx, "task")
    assert [each.version for each in (second, first, declared)] == [2, 1, 0]
    assert [each.holds for each in (second, first, declared)] == [True, False, False]
    assert (first.changed_by, second.changed_by) == (run.ctx.principal, ben.principal)
    assert first.changed_at is not None
    assert second.changed_at is not None
    assert first.changed_at <= second.changed_at
    told = {change.field: (change.before, change.after) for change in first.changes}
    assert told == {
        "primary": ("small", "large"),
        "fallbacks": ("large", "small"),
        "max_latency_ms": ("", "900"),
        "weights": ("", "large: 2"),
    }
    assert {change.field for change in second.changes} == {"fallbacks", "max_latency_ms", "weights", "conditions"}
    assert {change.field for change in declared.restoring} == {"primary", "fallbacks", "conditions"}
    assert second.restoring == ()
    assert [each.version for each in await gateway.route_versions(run.ctx, "task", limit=1)] == [2]
    assert [each.version for each in await gateway.route_versions(run.ctx, "task", before=2)] == [1, 0]
    assert [v.version for v in await gateway.route_versions(run.caller("admin", tenant="other"), "task")] == [0]
    with pytest.raises(NotFound):
        await gateway.route_versions(run.ctx, "nothing")
    with pytest.raises(InvalidInput):
        await gateway.route_versions(run.ctx, "task", limit=1_001)


async def test_a_former_version_is_brought_back_as_a_new_one_and_the_audit_log_says_so(run: Any) -> None:
    gateway = run.door(Gateway)
    await gateway.put_route(run.ctx, "task", TURNED, version=0)
    await gateway.put_route(run.ctx, "task", ALONE, version=1)
    with pytest.raises(Conflict):
        await gateway.restore_route(run.ctx, "task", 1, version=1)
    view = await gateway.restore_route(run.ctx, "task", 1, version=2)
    assert (view.spec, view.version) == (TURNED, 3)
    assert (await gateway.complete(run.ctx, Ask("chat", body()))).account.rung in ("primary", "fallback-1")
    declared = await gateway.restore_route(run.ctx, "task", 0, version=3)
    assert (declared.spec.primary, declared.version) == ("small", 0)
    fourth = (await gateway.route_versions(run.ctx, "task"))[0]
    assert (fourth.version, fourth.spec, fourth.holds) == (4, None, False)
    assert (await gateway.restore_route(run.ctx, "task", 2, version=0)).version == 5
    events = await run.door(Audit).events(run.ctx, action="gateway:route")
    done = [dict(each.facts) for each in events if each.outcome == "done"]
    assert [(each["version"], each.get("restored")) for each in done] == [(5, 2), (4, 0), (3, 1), (2, None), (1, None)]
    assert {each.resource for each in events} == {"Route::task"}


async def test_what_cannot_be_brought_back_is_refused_with_the_reason(run: Any) -> None:
    gateway = run.door(Gateway)
    await gateway.put_route(run.ctx, "task", ALONE, version=0)
    await gateway.drop_route(run.ctx, "task", version=1)
    with pytest.raises(InvalidInput, match="took the route"):
        await gateway.restore_route(run.ctx, "task", 2, version=0)
    with pytest.raises(NotFound, match="no version 7"):
        await gateway.restore_route(run.ctx, "task", 7, version=0)
    with pytest.raises(NotFound):
        await gateway.restore_route(run.ctx, "task", 0, version=0)
    other = run.caller("admin", tenant="other")
    with pytest.raises(NotFound):
        await gateway.restore_route(other, "task", 1, version=0)
    with pytest.raises(NotAllowed):
        await gateway.restore_route(run.caller("predictor"), "task", 1, version=0)
    assert "took the route back" in (await gateway.route_versions(run.ctx, "task"))[0].unfit


async def test_a_call_is_planned_under_a_former_version_without_bringing_it_back(run: Any) -> None:
    gateway = run.door(Gateway)
    await gateway.put_route(run.ctx, "task", ALONE, version=0)
    plan = await gateway.plan(run.ctx, Ask("chat", body()), version=0)
    assert (plan.version, [rung.model for rung in plan.rungs]) == (0, ["small", "large"])
    plan = await gateway.plan(run.ctx, Ask("chat", body()), version=1)
    assert (plan.version, [rung.model for rung in plan.rungs]) == (1, ["large"])
    with pytest.raises(NotFound):
        await gateway.plan(run.ctx, Ask("chat", body()), version=2)
    with pytest.raises(InvalidInput, match="has no versions"):
        await gateway.plan(run.ctx, Ask("chat", body("small")), version=1)


async def test_versions_are_listed_and_brought_back_over_http(served: Callable[..., Any]) -> None:
    async with served(declare) as servers, ClientSession() as http:
        key = await servers.run.door(Keys).create(servers.run.ctx, name="operator", roles=["admin"])
        headers = {"authorization": f"Bearer {key.secret}"}
        at = f"{servers.url}/v1/gateway/routes/task"
        async with http.put(at, json={"primary": "large"}, headers=headers) as answer:
            assert answer.status == 200
        async with http.get(f"{at}/versions", headers=headers) as answer:
            told = (await answer.json())["data"]
        assert [(each["version"], each["route"]["primary"]) for each in told] == [(1, "large"), (0, "small")]
        assert told[0]["changes"][0] == {"field": "primary", "before": "small", "after": "large"}
        plan = {"request": json.loads(body()), "version": 0}
        async with http.post(f"{servers.url}/v1/gateway/plan", json=plan, headers=headers) as answer:
            assert [rung["model"] for rung in (await answer.json())["rungs"]] == ["small", "large"]
        async with http.post(f"{at}/restore", json={"restored": 0}, headers=headers) as answer:
            assert answer.status == 409
        async with http.post(f"{at}/restore?version=1", json={"restored": 0}, headers=headers) as answer:
            assert ((await answer.json())["primary"], answer.status) == ("small", 200)
        async with http.get(f"{at}/versions?limit=0", headers=headers) as answer:
            assert answer.status == 422
