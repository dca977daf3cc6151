"""Faults of every kind on the primary, over real HTTP: every call that a fallback can answer is answered, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from stanchion.core.errors import StanchionError, Unavailable
from stanchion.gateway import Ask, Gateway, RungView
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.clock import FakeClock
from stanchion.testing.upstreams import Fault, Reply, ToolCall, Upstream, upstream
from tests.gateway.storm.heard import Heard, streamed, whole

pytestmark = pytest.mark.timeout(300)
SHAPES: dict[str, Any] = {"openai": "chat", "anthropic": "messages", "gemini": "chat", "bedrock": "chat"}
BEFORE = (
    Fault("hang"), Fault("slow_first_byte", seconds=600), Fault("throttled"), Fault("throttled", retry_after=1),
    Fault("failed"), Fault("overloaded"), Fault("reset"), Fault("reset_after_head"), Fault("content_type"),
    Fault("malformed", after=0), Fault("cut", after=0),
)  # fmt: skip
WITHIN = tuple(Fault(kind, after=3) for kind in ("cut", "no_end", "malformed", "garbled", "error_in_stream"))
TIMED = ("hang", "slow")
CALLS = 6  # whole and streamed each, for each fault
PAYS = ToolCall("pay", {"amount": 1}, id="call_1")
FIRST = Reply("One two three four five six.", calls=[PAYS])
SECOND = Reply("Seven eight nine.", calls=[PAYS])


@dataclass
class Storm:
    """A running system with a route for each fault, whose primary has it. All fall back on one sound upstream."""

    gateway: Gateway
    ctx: Any
    shape: Any
    sound: Upstream
    ups: dict[str, Upstream]

    async def call(self, route: str, *, stream: bool) -> Heard | StanchionError:
        asked: dict[str, Any] = {"model": f"route:{route}", "messages": [{"role": "user", "content": "Pay."}]}
        asked["max_tokens"] = 100
        form = {"type": "object", "properties": {"amount": {"type": "integer"}}}
        if self.shape == "chat":
            asked["tools"] = [{"type": "function", "function": {"name": "pay", "parameters": form}}]
        else:
            asked["tools"] = [{"name": "pay", "input_schema": form}]
        body = json.dumps({**asked, "stream": stream}).encode()
        if not stream:
            try:
                return whole(self.shape, (await self.gateway.complete(self.ctx, Ask(self.shape, body))).body)
            except StanchionError as error:
                return error
        told, ended = b"", False
        try:
            async for piece in self.gateway.stream(self.ctx, Ask(self.shape, body)):
                told, ended = told + piece.data, piece.account is not None
        except StanchionError as error:
            if not told:
                return error
        heard = streamed(self.shape, told)
        assert heard.ended is ended is not heard.failed
        return heard


@asynccontextmanager
async def storm(family: Any, faults: dict[str, Any], *, sound: Any = (), clock: Any = None) -> AsyncIterator[Storm]:
    shape = SHAPES[family]
    base = {"openai": "/v1"}.get(family, "")
    async with AsyncExitStack() as stack:
        ups: dict[str, Upstream] = {}
        app = System("storm")
        other = await stack.enter_async_context(upstream("openai", SECOND, faults=sound))
        app.upstream("sound", kind="openai", url=other.url + "/v1")
        last = app.language_model("sound", upstream="sound", input_price="1", output_price="1")
        for name, chances in faults.items():
            up = await stack.enter_async_context(upstream(family, FIRST, faults=chances, seed=7))
            if name.endswith("-later"):
                up.script = replace(FIRST, pace=0.01)
            late = {"seconds": 0.4} if name.startswith(TIMED) else {}
            app.upstream(name, kind=family, url=up.url + base, **late)
            first = app.language_model(name, upstream=name, input_price="1", output_price="1")
            app.route(name, primary=first, fallbacks=[last])
            ups[name] = up
        run = await stack.enter_async_context(offline(app, clock=clock))
        yield Storm(run.door(Gateway), run.ctx, shape, other, ups)


def _name(fault: Fault) -> str:
    return fault.kind.replace("_", "-") + ("-later" if fault.after == 3 else "") + ("-ra" if fault.retry_after else "")


def _sane(heard: Heard) -> str:
    """Whose answer it is, if it is a whole one. No call of a tool may be in it twice, or be left half."""
    said = next(each for each in (FIRST, SECOND) if each.text.startswith(heard.text[:3]))
    if not heard.ended:
        assert said.text.startswith(heard.text)
        assert len(heard.calls) <= 1
        return "broken"
    assert heard.text == said.text
    assert [(name, json.loads(arguments)) for name, arguments in heard.calls] == [("pay", {"amount": 1})]
    return "first" if said is FIRST else "second"


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("family", SHAPES)
async def test_every_call_is_answered_once_whatever_befalls_the_primary(family: str, share: float) -> None:
    faults = {_name(fault): {fault: share} for fault in (*BEFORE, *WITHIN)}
    broken = 0
    async with storm(family, faults) as made:
        for fault in (*BEFORE, *WITHIN):
            name = _name(fault)
            # All at once: the breaker has seen nothing of them when they begin.
            told = await asyncio.gather(*(made.call(name, stream=number < CALLS) for number in range(2 * CALLS)))
            streams, wholes = told[:CALLS], told[CALLS:]
            for heard in told:
                assert isinstance(heard, Heard), f"{name}: {heard}"
            by = [_sane(heard) for heard in wholes if isinstance(heard, Heard)]
            assert set(by) <= {"first", "second"}, name
            by = [_sane(heard) for heard in streams if isinstance(heard, Heard)]
            broken += by.count("broken")
            # Nobody may answer in another's place once a word has gone out. A sound stream may pass a short limit too.
            assert by.count("broken") == 0 or fault in WITHIN or name.startswith(TIMED), name
            if share == 1.0:
                assert "first" not in by, name
        assert made.sound.refused == []
    # The faults within a stream have come behind its first words, and not only before them.
    assert broken or share < 1.0


async def test_the_rate_of_success_is_what_the_fallback_allows() -> None:
    every_third = [Fault("failed") if number % 3 == 0 else None for number in range(200)]
    async with storm("openai", {"task": {Fault("reset"): 1.0}}, sound=every_third) as made:
        told = [await made.call("task", stream=number % 2 == 1) for number in range(30)]
    failures = [each for each in told if isinstance(each, StanchionError)]
    assert len(failures) == 10
    assert {type(each) for each in failures} == {Unavailable}
    assert len(made.sound.calls) == 30


async def view(made: Storm) -> RungView:
    [route] = await made.gateway.routes(made.ctx)
    return route.rungs[0]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_primary_is_left_alone_and_then_given_its_traffic_back_in_steps(stream: bool) -> None:
    clock = FakeClock()
    async with storm("openai", {"task": {Fault("failed"): 1.0}}, clock=clock) as made:
        for _ in range(20):
            await made.call("task", stream=stream)
        up = made.ups["task"]
        assert ((await view(made)).breaker, (await view(made)).share) == ("open", 0)
        assert len(up.calls) == 5
        up.faults = ()
        clock.advance(60)
        shares, asked = [], []
        for _ in range(400):
            before = len(up.calls)
            await made.call("task", stream=stream)
            now = await view(made)
            if not shares or shares[-1] != now.share:
                shares.append(now.share)
                asked.append(0)
            asked[-1] += len(up.calls) - before
            if now.breaker == "closed":
                break
        assert shares == [0, 10, 25, 50, 100]


async def test_a_primary_that_breaks_every_stream_is_not_given_its_traffic_back() -> None:
    clock = FakeClock()
    breaks = {Fault("cut", after=3): 1.0}
    async with storm("openai", {"task": breaks}, clock=clock) as made:
        up = made.ups["task"]
        up.script = Reply("One two three four five six.", pace=0.02)
        for _ in range(40):
            await made.call("task", stream=True)
        assert (await view(made)).breaker == "open"
        clock.advance(30)
        before = len(up.calls)
        for _ in range(60):
            await made.call("task", stream=True)
        assert (await view(made)).share <= 10
        assert len(up.calls) - before < 15
