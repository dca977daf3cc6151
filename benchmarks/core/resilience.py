"""What resilience, cache and flags add to a call, in microseconds and as a multiple of a bare await.

Run: python benchmarks/core/resilience.py
"""

from __future__ import annotations

import asyncio
import json
import platform
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from stanchion.core.cache import Cache, CacheKey
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.flags import Condition, Flag, FlagSet, Rule, bucket, choose
from stanchion.core.resilience import Breaker, ConcurrencyLimiter, Ladder, Rate, RateLimiter, Retry, RetryBudget, Rung

CALLS = 20_000
ROUNDS = 7
CLOCK = SystemClock()
CTX = Context(tenant="acme", principal="key:1")
FEATURES = {f"feature_{n}": n * 1.5 for n in range(20)}


async def answer(ctx: Context, item: int) -> int:
    return item


async def one() -> int:
    return 1


def cases() -> dict[str, Callable[[], Awaitable[object]]]:
    """Each case by name, as a function that gives a fresh awaitable."""
    breaker = Breaker("b", clock=CLOCK)
    bare = Ladder([Rung(name="a", call=answer)], clock=CLOCK)
    guarded = Ladder([Rung(name="a", call=answer, breaker=breaker)], clock=CLOCK)
    timed = Ladder([Rung(name="a", call=answer, breaker=breaker, timeout=1.0)], clock=CLOCK)
    cache: Cache[int] = Cache(max_entries=1000, ttl=3600.0, clock=CLOCK)
    cache.put("k", 1)
    keys = CacheKey("answers", policy="1")
    retry = Retry(clock=CLOCK, budget=RetryBudget(clock=CLOCK))
    rate = RateLimiter(Rate(10**9, 1.0), Rate(10**9, 60.0), clock=CLOCK)
    slots = ConcurrencyLimiter(10, clock=CLOCK)
    rule = Rule(when=(Condition(attribute="plan", op="equals", value="free"),), serve="on")
    flags = FlagSet([Flag(key="f", variants={"on": True, "off": False}, default="off", rules=(rule,))])
    hurried, now = replace(CTX, deadline=CLOCK.monotonic() + 3600), datetime.now(UTC)

    async def admit() -> None:
        breaker.succeed(breaker.admit())

    async def slot() -> None:
        async with slots.slot(CTX):
            pass

    def plain(function: Callable[[], object]) -> Callable[[], Awaitable[object]]:
        async def call() -> object:
            return function()

        return call

    return {
        "bare await": lambda: answer(CTX, 1),
        "ladder": lambda: bare.run(CTX, 1),
        "ladder, breaker": lambda: guarded.run(CTX, 1),
        "ladder, breaker, caller's deadline": lambda: guarded.run(hurried, 1),
        "ladder, breaker, time limit": lambda: timed.run(CTX, 1),
        "breaker admit and report": admit,
        "retry, no failure": lambda: retry.run(CTX, one, idempotent=True),
        "rate limit, two rates": lambda: rate.take("k"),
        "concurrency slot": slot,
        "cache hit": lambda: cache.get("k", one),
        "cache key, 20 features": plain(lambda: keys.key(CTX, FEATURES)),
        "split point": plain(lambda: bucket("checkout", "user-1")),
        "split choice of two": plain(lambda: choose("checkout", "user-1", {"new": 10, "old": 90})),
        "flag evaluation, one rule": plain(lambda: flags.evaluate("f", {"plan": "free"}, now=now)),
    }


async def measure(case: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of CPU per call, the best of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            await case()
        best = min(best, time.process_time() - started)
    return best / CALLS * 1e6


async def main() -> None:
    figures = {name: await measure(case) for name, case in cases().items()}
    bare = figures["bare await"]
    report = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_us_per_call": {name: round(value, 2) for name, value in figures.items()},
        "times_bare_await": {name: round(value / bare, 1) for name, value in figures.items()},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
