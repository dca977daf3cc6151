"""The contract of Gateway as tests: subclass `GatewaySuite` and give it a door to a system that declares `SPECS`.

The system must belong to the tenant `t1`, hold no other route, and permit everybody all. No network is needed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import BudgetExceeded, Conflict, InvalidInput, NotFound, Unavailable
from stanchion.gateway import (
    Ask,
    BudgetSpec,
    Gateway,
    Limit,
    ModelSpec,
    PriceSpec,
    RouteSpec,
    UpstreamSpec,
)

SPECS = (
    UpstreamSpec(name="here", kind="builtin"),
    ModelSpec(name="quoter", upstream="here"),
    ModelSpec(name="dear", upstream="here", price=PriceSpec("here", "dear", input="1000", output="1000")),
    RouteSpec(name="task", primary="quoter"),
    RouteSpec(name="cheap", primary="dear", fallbacks=("quoter",), max_cost="0.000001"),
)
CONTEXT = "Grass is green. The sky is blue."
QUOTED = "\u201cGrass is green.\u201d"


def caller(tenant: str = "t1") -> Context:
    """A caller with every right."""
    return Context(tenant=tenant, principal="ada", rights=Rights(frozenset({"admin"}), frozenset({"*"})))


def ask(model: str = "route:task", **more: Any) -> Ask:
    """A chat about grass."""
    messages = [{"role": "system", "content": CONTEXT}, {"role": "user", "content": "Which colour is grass?"}]
    return Ask("chat", json.dumps({"model": model, "messages": messages, **more}).encode())


class GatewaySuite:
    """What every implementation of Gateway does."""

    @pytest.fixture
    def gateway(self) -> Gateway:
        """The gateway under test."""
        raise NotImplementedError

    async def test_a_whole_answer_has_the_shape_of_the_call_and_its_account(self, gateway: Gateway) -> None:
        reply = await gateway.complete(caller(), ask())
        document = json.loads(reply.body)
        assert QUOTED in document["choices"][0]["message"]["content"]
        account = reply.account
        assert (account.upstream, account.model, account.rung, account.route) == ("here", "quoter", "primary", "task")
        assert account.usage.tokens_in == document["usage"]["prompt_tokens"] > 0
        assert account.finish == "stop"

    async def test_a_stream_tells_first_who_answers_and_last_what_it_took(self, gateway: Gateway) -> None:
        pieces = [piece async for piece in gateway.stream(caller(), ask(stream=True))]
        assert pieces[0].opening is not None
        assert pieces[0].opening.model == "quoter"
        assert [piece.account is not None for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        text = b"".join(piece.data for piece in pieces)
        assert text.endswith(b"data: [DONE]\n\n")
        assert b'"usage":{' not in text
        whole = await gateway.complete(caller(), ask())
        assert pieces[-1].account is not None
        assert pieces[-1].account.usage == whole.account.usage

    async def test_a_model_is_asked_by_its_own_name_too(self, gateway: Gateway) -> None:
        reply = await gateway.complete(caller(), ask("quoter"))
        assert (reply.account.route, reply.account.rung) == ("", "primary")

    async def test_the_shapes_of_other_clients_are_translated(self, gateway: Gateway) -> None:
        text = f"{CONTEXT}\nWhich colour is grass?"
        body = {"model": "quoter", "max_tokens": 100, "messages": [{"role": "user", "content": text}]}
        reply = await gateway.complete(caller(), Ask("messages", json.dumps(body).encode()))
        assert QUOTED in json.loads(reply.body)["content"][0]["text"]

    @pytest.mark.parametrize(
        ("model", "body", "error"),
        [
            ("nobody", {}, NotFound),
            ("route:nothing", {}, NotFound),
            ("route:task", {"max_tokens": "many"}, InvalidInput),
            ("route:task", {"stream": True}, InvalidInput),
            ("quoter", {"response_format": {"type": "json_object"}}, InvalidInput),
        ],
    )
    async def test_what_cannot_be_answered_is_refused(
        self, gateway: Gateway, model: str, body: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            await gateway.complete(caller(), ask(model, **body))

    async def test_there_are_no_made_up_vectors(self, gateway: Gateway) -> None:
        with pytest.raises(Unavailable, match="no embedding model is installed"):
            await gateway.complete(caller(), Ask("embeddings", b'{"model": "quoter", "input": "Hello."}'))

    async def test_a_plan_calls_nobody_and_says_why_a_model_is_passed_over(self, gateway: Gateway) -> None:
        plan = await gateway.plan(caller(), ask("route:cheap"))
        assert [(rung.model, bool(rung.refused)) for rung in plan.rungs] == [("dear", True), ("quoter", False)]
        reply = await gateway.complete(caller(), ask("route:cheap"))
        assert (reply.account.model, reply.account.rung) == ("quoter", "fallback-1")

    async def test_models_and_routes_are_listed_for_every_tenant(self, gateway: Gateway) -> None:
        for tenant in ("t1", "t2"):
            names = [model.name for model in await gateway.models(caller(tenant))]
            assert names == ["dear", "quoter", "route:cheap", "route:task"]
            views = await gateway.routes(caller(tenant))
            assert [(view.spec.name, view.version) for view in views] == [("cheap", 0), ("task", 0)]
            assert [rung.breaker for rung in views[1].rungs] == ["closed"]

    async def test_a_route_is_changed_for_its_own_tenant_by_version(self, gateway: Gateway) -> None:
        spec = RouteSpec(name="task", primary="dear", fallbacks=("quoter",))
        view = await gateway.put_route(caller(), "task", spec, version=0)
        assert (view.spec, view.version) == (spec, 1)
        assert (await gateway.complete(caller(), ask())).account.model == "dear"
        assert (await gateway.complete(caller("t2"), ask())).account.model == "quoter"
        with pytest.raises(Conflict):
            await gateway.put_route(caller(), "task", spec, version=0)
        with pytest.raises(InvalidInput):
            await gateway.put_route(caller(), "new", RouteSpec(name="new", primary="nobody"), version=0)
        await gateway.drop_route(caller(), "task", version=1)
        assert (await gateway.complete(caller(), ask())).account.model == "quoter"
        with pytest.raises(NotFound):
            await gateway.drop_route(caller(), "task", version=0)

    async def test_a_call_is_held_to_its_budgets_and_counted(self, gateway: Gateway) -> None:
        ctx = caller("t3")
        reply = await gateway.complete(ctx, ask("dear", max_tokens=200))
        assert reply.account.cost == reply.account.usage.tokens_in * 10**9 + reply.account.usage.tokens_out * 10**9
        await gateway.put_budget(ctx, BudgetSpec("all", limits=(Limit("day", cost="0.0001"),)))
        with pytest.raises(BudgetExceeded, match="all"):
            await gateway.complete(ctx, ask("dear", max_tokens=200))
        [line] = await gateway.usage(ctx, by=("model",))
        assert (line.group["model"], line.requests, line.cost) == ("dear", 1, reply.account.cost)
