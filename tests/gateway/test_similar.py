"""Questions in other words get the kept answer where nothing speaks against it, and never across a border."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from stanchion.core.errors import Misconfigured
from stanchion.gateway import Ask, Gateway, RouteSpec, SimilarSpec
from stanchion.gateway.similar.words import differ, same_words
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.clock import FakeClock
from stanchion.testing.upstreams import Call, Fault, Reply, Upstream, upstream

ASKED = "How long do returns take?"
# The cosine of each with the first question: the script of the embedder gives vectors that have it.
COSINES = {
    ASKED: 1.0,
    "How long does a return take?": 0.98,
    "How many days until my return is done?": 0.93,
    "What is the time for returns to take?": 0.93,
    "How long do returns take in 2025?": 0.99,
    "How long do returns not take?": 0.99,
    "What is the weather?": 0.1,
}


@dataclass
class Bench:
    run: Any
    clock: FakeClock
    model: Upstream
    vectors: Upstream
    judge: Upstream

    async def ask(self, text: str, *, ctx: Any = None, tags: Any = None, **more: Any) -> str:
        messages = [*more.pop("before", []), {"role": "user", "content": text}]
        body = {"model": "route:faq", "messages": messages, **more}
        ask = Ask("chat", json.dumps(body).encode(), tags=tags or {})
        account = (await self.run.door(Gateway).complete(ctx or self.run.ctx, ask)).account
        assert account.cache != "similar" or account.cost == 0
        found: str = account.cache
        return found


def embedded(call: Call) -> Reply:
    cosine = COSINES[call.prompt]
    return Reply(vectors=[[cosine, (1 - cosine**2) ** 0.5]])


@asynccontextmanager
async def bench(*, judge: Any = "Yes.", check: bool = False) -> AsyncIterator[Bench]:
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        scripts: Any = {"model": lambda call: Reply(f"Answer {call.number}."), "vectors": embedded, "judge": judge}
        ups = {name: await stack.enter_async_context(upstream("openai", says)) for name, says in scripts.items()}
        app = System("faq")
        for name, up in ups.items():
            app.upstream(name, kind="openai", url=up.url + "/v1")
            app.language_model(name, upstream=name, input_price="1", output_price="1")
        similar = SimilarSpec(embedder="vectors", sure=0.97, unsure=0.9, check="judge" if check else "")
        app.route("faq", primary="model", cache_seconds=60, similar=similar)
        run = await stack.enter_async_context(offline(app, clock=clock))
        yield Bench(run, clock, **ups)


async def test_a_question_in_other_words_gets_the_kept_answer_until_its_time_is_over() -> None:
    async with bench() as made:
        assert await made.ask(ASKED) == ""
        assert await made.ask(ASKED) == "similar"
        assert await made.ask("How long does a return take?") == "similar"
        assert await made.ask("What is the weather?") == ""
        made.clock.advance(61)
        assert await made.ask("How long does a return take?") == ""
        assert len(made.model.calls) == 3


async def test_in_the_grey_zone_the_words_must_be_the_same_or_a_model_must_agree() -> None:
    async with bench() as made:
        await made.ask(ASKED)
        assert await made.ask("How many days until my return is done?") == ""
    for says, cache in (("Yes.", "similar"), ("No", ""), ("Yes, if they are new", ""), ("", "")):
        async with bench(judge=says, check=True) as made:
            await made.ask(ASKED)
            assert await made.ask("How many days until my return is done?") == cache
            assert ASKED in made.judge.calls[0].prompt


async def test_other_numbers_and_negations_never_match_however_near_they_are() -> None:
    async with bench(check=True) as made:
        await made.ask(ASKED)
        assert await made.ask("How long do returns take in 2025?") == ""
        assert await made.ask("How long do returns not take?") == ""
        assert made.judge.calls == []


async def test_nothing_is_found_across_a_border() -> None:
    async with bench() as made:
        await made.ask(ASKED)
        ctx = made.run.ctx
        limited = ctx.rights.narrowed(frozenset({"gateway:*"}))
        tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
        for more in (
            {"ctx": replace(ctx, tenant="other")},
            {"ctx": replace(ctx, rights=limited)},
            {"ctx": ctx.labelled("internal")},
            {"before": [{"role": "system", "content": "Answer in French."}]},
            {"tools": [tool]},
            {"temperature": 1},
        ):
            assert await made.ask(ASKED, **more) == "", more
        assert await made.ask(ASKED) == "similar"


async def test_without_a_vector_the_question_is_asked_as_ever() -> None:
    async with bench() as made:
        await made.ask(ASKED)
        made.vectors.faults = {Fault("failed"): 1.0}
        assert await made.ask(ASKED) == ""
        assert len(made.model.calls) == 2


async def test_an_answer_that_was_cut_off_is_not_kept() -> None:
    async with bench() as made:
        made.model.script = Reply("Half an", stop="length")
        await made.ask(ASKED)
        assert await made.ask(ASKED) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Refunds in 2024?", "Refunds in 2025?"),
        ("How do I enable it?", "How do I disable it?"),
        ("May I return it?", "May I not return it?"),
        ("What does `git push` do?", "What does `git pull` do?"),
        ("Is there a shop in Oslo?", "Is there a shop in Bergen?"),
        ("Who came first?", "Who came last?"),
        ("Convert 10 miles to kilometres", "Convert 10 kilometres to miles"),
    ],
)
def test_what_vectors_do_not_tell_apart_words_do(one: str, other: str) -> None:
    assert differ(one, other)
    assert differ(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "what is France's capital"),
        ("How do returns work?", "How does a return work?"),
    ],
)
def test_the_same_words_in_another_order_do_not_differ(one: str, other: str) -> None:
    assert not differ(one, one)
    assert same_words(one.replace("France's", "France"), other.replace("France's", "France"))


def test_thresholds_and_times_that_make_no_sense_are_refused() -> None:
    with pytest.raises(Misconfigured, match="thresholds"):
        SimilarSpec(embedder="v", sure=0.8, unsure=0.9)
    with pytest.raises(Misconfigured, match="how long"):
        RouteSpec(name="r", primary="a", similar=SimilarSpec(embedder="v"))
    app = System("faq")
    app.upstream("here", kind="builtin")
    app.language_model("quoter", upstream="here")
    with pytest.raises(Misconfigured, match="did you mean 'quoter'"):
        app.route("r", primary="quoter", cache_seconds=5, similar=SimilarSpec(embedder="quotr"))
