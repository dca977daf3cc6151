"""Each attempt at a model leaves a span, in the words of OpenTelemetry's convention for generative AI."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from stanchion.core.context import Trace
from stanchion.core.errors import StanchionError
from stanchion.core.telemetry.contract import Observatory, Span
from stanchion.gateway import Ask, Gateway, Message
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Fault, upstream


@asynccontextmanager
async def gateway_of(first: Any, fault: Fault | None = None) -> AsyncIterator[Any]:
    """A route over two upstreams, and a caller whose spans are kept."""
    async with AsyncExitStack() as stack:
        app = System("spans")
        for name, kind, script in (("a", "openai", first), ("b", "anthropic", "B.")):
            faults = [fault] if fault is not None and name == "a" else ()
            up = await stack.enter_async_context(upstream(kind, script, faults=faults))
            app.upstream(name, kind=kind, url=up.url + ("/v1" if kind == "openai" else ""))
            app.language_model(name, upstream=name, model=f"{name}-large", input_price="1", output_price="2")
        app.route("task", primary="a", fallbacks=["b"])
        run = await stack.enter_async_context(offline(app))
        yield run, replace(run.ctx, trace=Trace.new(sampled=True))


async def spans_of(run: Any, ctx: Any) -> list[Span]:
    await run.house.foundation.spans.flush()
    return [each for each in await run.door(Observatory).trace(ctx, ctx.trace.trace_id) if "gen_ai" in str(each)]


def ask(**more: Any) -> Ask:
    body = {"model": "route:task", "messages": [{"role": "user", "content": "Hi."}], **more}
    return Ask("chat", json.dumps(body).encode())


async def test_an_answer_tells_who_gave_it_and_what_it_used() -> None:
    async with gateway_of("One two three.") as (run, ctx):
        reply = await run.door(Gateway).complete(ctx, ask())
        [span] = await spans_of(run, ctx)
    usage = reply.account.usage
    assert (span.name, span.status) == ("chat a-large", "ok")
    assert span.attributes == {
        "stanchion.resource": "a",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "a-large",
        "gen_ai.usage.input_tokens": usage.tokens_in,
        "gen_ai.usage.output_tokens": usage.tokens_out,
        "stanchion.cost": reply.account.cost / 10**12,
    }
    assert usage.tokens_out > 0


async def test_an_attempt_that_failed_is_told_beside_the_one_that_answered() -> None:
    async with gateway_of("A.", Fault("failed")) as (run, ctx):
        await run.door(Gateway).complete(ctx, ask())
        spans = await spans_of(run, ctx)
    assert [(each.name, each.status, each.attributes["gen_ai.provider.name"]) for each in spans] == [
        ("chat a-large", "unavailable", "openai"),
        ("chat b-large", "ok", "anthropic"),
    ]


async def test_the_upstream_is_asked_below_the_attempts_span() -> None:
    async with AsyncExitStack() as stack:
        up = await stack.enter_async_context(upstream("openai", "A."))
        app = System("below")
        app.upstream("a", kind="openai", url=up.url + "/v1")
        app.language_model("a", upstream="a", input_price="1", output_price="2")
        run = await stack.enter_async_context(offline(app))
        ctx = replace(run.ctx, trace=Trace.new(sampled=True))
        await run.door(Gateway).complete(ctx, ask(model="a"))
        [span] = await spans_of(run, ctx)
    assert up.calls[0].headers["traceparent"] == f"00-{ctx.trace.trace_id}-{span.span_id}-01"


async def test_a_stream_is_told_when_it_has_ended() -> None:
    async with gateway_of("One two three.") as (run, ctx):
        pieces = [piece async for piece in run.door(Gateway).stream(ctx, ask(stream=True))]
        [span] = await spans_of(run, ctx)
    assert (span.name, span.status) == ("chat a-large", "ok")
    assert span.attributes["gen_ai.usage.output_tokens"] == pieces[-1].account.usage.tokens_out


@pytest.mark.parametrize("cut", ["truncated", "left"])
async def test_a_stream_that_breaks_off_is_told_with_its_end(cut: str) -> None:
    fault = Fault("cut", after=3) if cut == "truncated" else None
    async with gateway_of("one two three four", fault) as (run, ctx):
        stream = run.door(Gateway).stream(ctx, ask(stream=True))
        if cut == "left":
            await anext(aiter(stream))
            await stream.aclose()
        else:
            with pytest.raises(StanchionError):
                [piece async for piece in stream]
        [span] = await spans_of(run, ctx)
    assert span.status == ("unavailable" if cut == "truncated" else "cancelled")


async def test_a_span_names_the_prompt_and_its_version() -> None:
    async with gateway_of("A.") as (run, ctx):
        gateway = run.door(Gateway)
        await gateway.add_prompt(run.ctx, "greeting", [Message("system", "Be kind.")])
        await gateway.complete(ctx, ask(prompt={"id": "greeting", "version": "1"}))
        [span] = await spans_of(run, ctx)
    assert span.attributes["gen_ai.prompt.name"] == "greeting@1"


async def test_a_call_that_keeps_no_spans_leaves_none() -> None:
    async with gateway_of("A.") as (run, ctx):
        quiet = replace(ctx, trace=Trace.new(sampled=False))
        await run.door(Gateway).complete(quiet, ask())
        await run.house.foundation.spans.flush()
        with pytest.raises(StanchionError):
            await run.door(Observatory).trace(quiet, quiet.trace.trace_id)
