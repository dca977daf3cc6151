"""Who answers, in what order, within what: limits, budgets of retries, faults of upstreams, and what is told of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import (
    BudgetExceeded,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    Misconfigured,
    NotFound,
    StanchionError,
    Throttled,
    Unavailable,
)
from stanchion.gateway import Ask, Gateway, Piece, RouteSpec
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Fault, Reply, ToolCall, Upstream, Usage, upstream

HELLO = [{"role": "user", "content": "Hello."}]


@dataclass
class Bench:
    """A running system with a primary of one provider and a fallback of another."""

    ctx: Context
    gateway: Gateway
    first: Upstream
    second: Upstream
    run: Any

    def ask(self, model: str = "route:task", **more: Any) -> Ask:
        tags = more.pop("tags", {})
        return Ask("chat", json.dumps({"model": model, "messages": HELLO, **more}).encode(), tags=tags)

    async def text(self, ctx: Context | None = None, **more: Any) -> str:
        reply = await self.gateway.complete(ctx or self.ctx, self.ask(**more))
        words: str = json.loads(reply.body)["choices"][0]["message"]["content"]
        return words

    async def pieces(self, **more: Any) -> tuple[list[Piece], StanchionError | None]:
        found: list[Piece] = []
        try:
            async for piece in self.gateway.stream(self.ctx, self.ask(stream=True, **more)):
                found.append(piece)
        except StanchionError as error:
            return found, error
        return found, None


@asynccontextmanager
async def bench(*, faults: Any = (), second: Any = (), script: Any = "First.", **route: Any) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(upstream("openai", script, faults=faults))
        two = await stack.enter_async_context(upstream("anthropic", "Second.", faults=second))
        app = System("gateway")
        hosted = app.upstream("hosted", kind="openai", url=one.url + "/v1")
        other = app.upstream("other", kind="anthropic", url=two.url)
        small = app.language_model("small", upstream=hosted, input_price="1", output_price="2")
        large = app.language_model("large", upstream=other, input_price="0.1", output_price="0.2")
        app.route("task", primary=small, fallbacks=[large], **route)
        run = await stack.enter_async_context(offline(app))
        yield Bench(run.ctx, run.door(Gateway), one, two, run)


@pytest.fixture
async def plain() -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


FAULTS = [
    Fault("failed"), Fault("overloaded"), Fault("throttled"), Fault("throttled", retry_after=30), Fault("reset"),
    Fault("reset_after_head"), Fault("cut", after=0), Fault("content_type"), Fault("malformed", after=0),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}-{fault.retry_after or ''}")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_before_the_answer_sends_the_call_to_the_fallback(fault: Fault, stream: bool) -> None:
    async with bench(faults=[fault]) as made:
        if not stream:
            assert await made.text() == "Second."
            return
        pieces, error = await made.pieces()
        assert error is None
        text = b"".join(piece.data for piece in pieces)
        assert b"Second" in text
        assert text.endswith(b"data: [DONE]\n\n")
        assert pieces[0].opening is not None
        assert pieces[0].opening.rung == "fallback-1"
        assert [model for model, _ in pieces[0].opening.tried] == ["small"]


@pytest.mark.parametrize("kind", ["cut", "no_end", "error_in_stream", "malformed"])
async def test_a_stream_that_breaks_after_its_first_event_never_looks_whole(kind: Any) -> None:
    words = Reply("one two three four five six seven eight", pace=0.05)
    async with bench(faults=[Fault(kind, after=3)], script=words) as made:
        pieces, error = await made.pieces()
    text = b"".join(piece.data for piece in pieces)
    if error is None:
        # On a slow machine all may come at once, break included: then nothing has been sent, and the next is asked.
        assert b"Second" in text
        assert b"one" not in text
        return
    assert b"[DONE]" not in text
    last = json.loads(text.strip().rpartition(b"data: ")[2])
    assert last["error"]["code"] == error.code
    assert not any(piece.account for piece in pieces)
    assert made.second.calls == []


async def test_a_tool_is_never_called_twice_because_an_attempt_failed() -> None:
    calls = Reply(calls=[ToolCall("pay", {"amount": 1}, id="call_1")])
    storm = [Fault("failed"), Fault("reset"), Fault("cut", after=0), None] * 3
    async with bench(faults=storm, script=calls, attempts=5) as made:
        for _ in range(3):
            reply = await made.gateway.complete(made.ctx, made.ask())
            assert len(json.loads(reply.body)["choices"][0]["message"]["tool_calls"]) == 1


async def test_under_a_storm_every_call_is_answered_that_a_fallback_can_answer() -> None:
    storm = {Fault("failed"): 0.2, Fault("reset"): 0.2, Fault("throttled"): 0.2, Fault("cut", after=0): 0.2}
    async with bench(faults=storm) as made:
        answers = await asyncio.gather(*(made.text() for _ in range(60)))
    assert set(answers) <= {"First.", "Second."}
    assert len(answers) == 60


async def test_a_storm_on_every_model_tells_of_each_and_opens_the_breaker() -> None:
    async with bench(faults={Fault("failed"): 1.0}, second={Fault("failed"): 1.0}) as made:
        for _ in range(6):
            with pytest.raises(Unavailable, match=r"small: .*large: "):
                await made.text()
        [view] = await made.gateway.routes(made.ctx)
        assert [rung.breaker for rung in view.rungs] == ["open", "open"]
        assert len(made.first.calls) == 5


async def test_a_model_that_asked_to_be_left_alone_is_passed_over_until_then() -> None:
    async with bench(faults=[Fault("throttled", retry_after=600)]) as made:
        assert await made.text() == "Second."
        assert await made.text() == "Second."
        assert len(made.first.calls) == 1
        with pytest.raises(Throttled) as told:
            await made.text(model="small")
        assert told.value.retry_after is not None
        assert 0 < told.value.retry_after <= 600


async def test_a_slow_model_leaves_time_for_the_next() -> None:
    async with bench(faults=[Fault("hang")], max_latency_ms=1_500) as made:
        assert await made.text() == "Second."


async def test_a_route_whose_time_is_up_says_so() -> None:
    async with bench(faults=[Fault("hang")], second=[Fault("hang")], max_latency_ms=300) as made:
        with pytest.raises(DeadlineExceeded):
            await made.text()


async def test_a_hedge_asks_the_next_model_as_well() -> None:
    async with bench(faults=[Fault("hang")], hedge_ms=50) as made:
        assert await made.text() == "Second."
        assert len(made.first.calls) == len(made.second.calls) == 1


async def test_what_the_client_did_wrong_is_told_and_not_tried_elsewhere(plain: Bench) -> None:
    with pytest.raises(InvalidInput):
        await plain.text(temperature="hot")
    assert plain.second.calls == []


async def test_a_call_that_could_cost_too_much_goes_to_the_cheaper_model() -> None:
    async with bench(max_cost="0.0003") as made:
        assert await made.text(max_tokens=1_000) == "Second."
        assert await made.text(max_tokens=10) == "First."
        with pytest.raises(BudgetExceeded, match=r"small: .*max_cost.*large: .*max_cost"):
            await made.text(max_tokens=100_000)
        plan = await made.gateway.plan(made.ctx, made.ask(max_tokens=1_000))
        assert [bool(rung.refused) for rung in plan.rungs] == [True, False]
        assert [rung.passed_through for rung in plan.rungs] == [False, False]


async def test_a_client_without_a_limit_gets_the_one_that_the_route_can_pay() -> None:
    async with bench(max_cost="0.0003") as made:
        await made.text()
        assert made.first.calls[0].body["max_completion_tokens"] < 150


async def test_cost_is_what_the_upstream_counted_streamed_or_not() -> None:
    reply = Reply("Hello there.", usage=Usage(tokens_in=1_000, tokens_out=500))
    async with bench(script=reply) as made:
        whole = (await made.gateway.complete(made.ctx, made.ask())).account
        pieces, _ = await made.pieces()
        streamed = pieces[-1].account
        assert streamed is not None
        assert whole.cost == streamed.cost == (1_000 * 1 + 500 * 2) * 10**6
        assert (whole.usage.tokens_in, whole.usage.tokens_out) == (1_000, 500)


async def test_a_declared_price_holds_for_ones_own_machines_too() -> None:
    async with upstream("openai", Reply("Hi.", usage=Usage(tokens_in=1_000, tokens_out=500))) as one:
        app = System("own")
        app.price("rack", "dear-*", input_price="1", output_price="2")
        app.price("vllm", "*", input_price="3", output_price="3")
        app.upstream("rack", kind="vllm", url=one.url + "/v1")
        app.upstream("other", kind="vllm", url=one.url + "/v1")
        app.upstream("free", kind="compatible", url=one.url + "/v1", on_premises=True)
        for name, server in (("dear-1", "rack"), ("plain", "other"), ("free", "free")):
            app.language_model(name, upstream=server)
        async with offline(app) as run:
            costs = {}
            for name in ("dear-1", "plain", "free"):
                body = json.dumps({"model": name, "messages": HELLO}).encode()
                costs[name] = (await run.door(Gateway).complete(run.ctx, Ask("chat", body))).account.cost
    assert costs == {"dear-1": 2_000 * 10**6, "plain": 4_500 * 10**6, "free": 0}


async def test_an_unknown_field_reaches_the_upstream_byte_for_byte(plain: Bench) -> None:
    own = b'"metadata":{"b" :  1e2, "a":"\\u00e9"}'
    body = b'{"model": "small", "messages":[{"role":"user","content":"Hello."}], ' + own + b"}"
    await plain.gateway.complete(plain.ctx, Ask("chat", body))
    assert own in plain.first.calls[0].raw


async def test_conditions_look_at_tags_and_weights_draw_the_first() -> None:
    conditions = {"small": "tags.team == 'legal' && tokens < 1000"}
    async with bench(conditions=conditions) as made:
        assert await made.text(tags={"team": "legal"}) == "First."
        assert await made.text(tags={"team": "sales"}) == "Second."
    async with bench(weights={"small": 0, "large": 1}) as made:
        assert await made.text() == "Second."


async def test_a_caller_who_leaves_ends_the_upstream_call_and_is_billed_for_it() -> None:
    async with bench(script=Reply("a b c d e f", pace=0.02)) as made:
        stream: Any = made.gateway.stream(made.ctx, made.ask("small", stream=True))
        async for _ in stream:
            break
        await stream.aclose()
        while not made.first.served:
            await asyncio.sleep(0.01)
        while not (lines := await made.gateway.usage(made.ctx, by=("outcome",))):
            await asyncio.sleep(0.05)
        assert [(line.group["outcome"], line.usage.estimated or line.usage.tokens_in > 0) for line in lines] == [
            ("cancelled", True)
        ]


async def test_a_budget_that_is_used_up_refuses_and_a_cheaper_model_may_still_fit(plain: Bench) -> None:
    from stanchion.gateway import BudgetSpec, Limit

    await plain.gateway.put_budget(plain.ctx, BudgetSpec("day", limits=(Limit("day", cost="0.0005"),)))
    assert await plain.text(max_tokens=1_000) == "Second."
    with pytest.raises(BudgetExceeded, match="day"):
        await plain.text(max_tokens=100_000)


async def test_a_route_is_put_and_dropped_by_version(plain: Bench) -> None:
    gateway, ctx = plain.gateway, plain.ctx
    turned = RouteSpec(name="task", primary="large", fallbacks=("small",))
    put = await gateway.put_route(ctx, "task", turned, version=0)
    assert put.version == 1
    assert await plain.text() == "Second."
    with pytest.raises(Conflict, match="version 1, not 0"):
        await gateway.put_route(ctx, "task", turned, version=0)
    with pytest.raises(InvalidInput, match="did you mean 'small'"):
        await gateway.put_route(ctx, "new", RouteSpec(name="new", primary="smal"), version=0)
    other = plain.run.caller("admin", tenant="other")
    assert (await gateway.routes(other))[0].version == 0
    await gateway.drop_route(ctx, "task", version=1)
    assert await plain.text() == "First."
    assert (await gateway.put_route(ctx, "task", turned, version=0)).version == 3
    with pytest.raises(NotFound):
        await gateway.drop_route(ctx, "nothing", version=0)


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda app: app.upstream("x", kind="opena1"), "did you mean 'openai'"),
        (lambda app: app.upstream("x", kind="openai", credential="sk-secret"), "never the secret itself"),
        (lambda app: app.upstream("x", kind="compatible", url="http://models.example/v1"), "plain http"),
        (lambda app: app.language_model("m", upstream="buildin"), "did you mean 'builtin'"),
        (lambda app: app.route("r", primary="quotr"), "did you mean 'quoter'"),
        (lambda app: app.route("r", primary="quoter", max_cost=0.1), "write it as text"),
        (lambda app: app.route("r", primary="quoter", max_cost="cheap"), "decimal text"),
        (lambda app: app.route("r", primary="quoter", weights={"quote": 1}), "did you mean 'quoter'"),
    ],
)
def test_a_wrong_declaration_names_the_nearest_word(declare: Any, words: str) -> None:
    app = System("wrong")
    app.upstream("builtin", kind="builtin")
    app.language_model("quoter", upstream="builtin")
    with pytest.raises(Misconfigured, match=words):
        declare(app)


async def test_the_built_in_model_quotes_what_it_was_given_and_makes_nothing_up() -> None:
    app = System("builtin")
    app.upstream("here", kind="builtin")
    quoter = app.language_model("quoter", upstream="here")

    def said(answer: Any) -> str:
        words: str = answer["choices"][0]["message"]["content"]
        return words

    async with offline(app) as run:
        context: Sequence[Any] = [
            {"role": "system", "content": "Returns take 30 days. Shipping is free above 50 euros."}
        ]
        asked = {"role": "user", "content": "How long do returns take?"}
        began = int(time.time())
        answer = await quoter.chat(run.ctx, [*context, asked])
        words = said(answer)
        assert began <= answer["created"] <= time.time()
        assert words == "Extractive answer, quoted from the given context:\n\u201cReturns take 30 days.\u201d"
        assert "nothing in the given context" in said(await quoter.chat(run.ctx, [asked]))
        with pytest.raises(Unavailable, match="no embedding model is installed"):
            body = b'{"model": "quoter", "input": "Hello."}'
            await run.door(Gateway).complete(run.ctx, Ask("embeddings", body))
