"""The shared count under every order of steps of several processes, killed between any two of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.core.clock import micros
from stanchion.core.storage import KeyValue
from stanchion.core.storage.open import open_keyvalue
from stanchion.gateway.contract.money import Window
from stanchion.gateway.money import counting_keyvalue
from stanchion.gateway.money.counters import Counter, Demand
from stanchion.gateway.money.counting_keyvalue import KeyValueCounters
from stanchion.gateway.money.windows import SECOND, span
from stanchion.testing.clock import FakeClock

from .conftest import NOON

LIMIT = 100
WINDOWS: list[Window] = ["minute", "day"]
Work = Coroutine[Any, Any, Any]


@coroutine
def pause() -> Generator[None]:
    """Here another process may go on, or this one be killed."""
    yield


@pytest.fixture(autouse=True, scope="module")
def no_clock_is_waited_for() -> Iterator[None]:
    async def at_once(tries: int) -> None:
        pass

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counting_keyvalue, "_back_off", at_once)
        yield


class Stepwise(KeyValue):
    """A store in memory whose callers stop before and after each of its commands, until they are told to go on."""

    def __init__(self, inner: KeyValue) -> None:
        self._inner = inner

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        await pause()
        found = await self._inner.get(keys)
        await pause()
        return found

    async def set(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        raise NotImplementedError

    async def delete(self, keys: Sequence[str]) -> int:
        raise NotImplementedError

    async def increment(self, key: str, by: int = 1, *, ttl: float | None = None) -> int:
        await pause()
        result = await self._inner.increment(key, by, ttl=ttl)
        await pause()
        return result

    async def swap(self, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        await pause()
        done = await self._inner.swap(key, expected, new, ttl=ttl)
        await pause()
        return done

    def scan(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError

    async def close(self) -> None:
        await self._inner.close()


@dataclass
class Process:
    """Takes what it is told to, one demand after another, and may give some of each back."""

    counters: KeyValueCounters
    demands: list[Demand]
    back: int = 0
    held: int = 0
    """What it may spend: what it was given, less what it has begun to give back."""
    over: bool = False
    work: Work | None = None

    def step(self) -> None:
        """Go on to the next stop, if there is one."""
        if self.over:
            return
        if self.work is None:
            self.work = self._run()
        try:
            self.work.send(None)
        except StopIteration:
            self.over = True

    def kill(self) -> None:
        if self.work is not None:
            self.work.close()
        self.over = True

    async def _run(self) -> None:
        for demand in self.demands:
            [grant] = await self.counters.take([demand])
            self.held += grant.amount
            back = min(self.back, self.held)
            if back:
                self.held -= back
                await self.counters.give([(demand.counter, demand.span, back)])


class World:
    """Processes over one store, which count against one limit."""

    def __init__(self, window: Window) -> None:
        self.clock = FakeClock(NOON)
        self.store = open_keyvalue("memory:", clock=self.clock)
        self.counter = Counter("t1", "all", "tenant", "cost", window)
        self.now = micros(self.clock.now())
        self.processes: list[Process] = []

    def process(self, *asked: tuple[int, int], back: int = 0, late: bool = False) -> Process:
        """One that asks for those (need, want); `late`: when the next slice of a minute has begun."""
        at = span(self.counter.window, self.now + late * 5 * SECOND)
        counters = KeyValueCounters(Stepwise(self.store), holder=f"p{len(self.processes)}", clock=self.clock)
        made = Process(counters, [Demand(self.counter, at, need, want, LIMIT) for need, want in asked], back)
        self.processes.append(made)
        return made

    def level(self) -> int:
        """What is counted."""
        reader = KeyValueCounters(self.store, holder="reader", clock=self.clock)
        work: Work = reader.levels([(self.counter, span(self.counter.window, self.now))])
        try:
            work.send(None)
        except StopIteration as ended:
            [found] = ended.value
            return int(found)
        raise AssertionError("a store in memory does not wait")

    def finish(self) -> None:
        for process in self.processes:
            while not process.over:
                process.step()
                self.check()

    def check(self) -> None:
        assert sum(each.held for each in self.processes) <= self.level() <= LIMIT


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("steps", range(9))
def test_a_process_killed_at_any_step_leaves_no_more_counted_than_it_was_given(window: Window, steps: int) -> None:
    world = World(window)
    world.process((90, 0))
    world.finish()
    killed = world.process((4, 1_000))
    for _ in range(steps):
        killed.step()
        world.check()
    killed.kill()
    # It needs 4, and gets a quarter of the 6 that are left beyond that.
    assert world.level() in (90, 95)
    other = world.process((5, 0))
    world.finish()
    assert other.held == 5


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("steps", range(9))
def test_what_a_killed_process_asked_for_in_vain_is_not_counted(window: Window, steps: int) -> None:
    world = World(window)
    world.process((90, 0))
    world.finish()
    killed = world.process((11, 1_000))
    for _ in range(steps):
        killed.step()
        assert world.level() == 90
    killed.kill()
    other = world.process((10, 0))
    world.finish()
    assert other.held == 10


@pytest.mark.parametrize("window", WINDOWS)
def test_of_two_processes_one_gets_what_is_left_in_any_order_of_their_steps(window: Window) -> None:
    for order in product((0, 1), repeat=10):
        world = World(window)
        world.process((60, 0))
        world.process((60, 0), late=True)
        for which in order:
            world.processes[which].step()
            world.check()
        world.finish()
        assert sorted(each.held for each in world.processes) == [0, 60]


ASKED = st.tuples(st.integers(0, LIMIT + 10), st.integers(0, 2 * LIMIT))
PROCESS = st.tuples(st.lists(ASKED, min_size=1, max_size=4), st.integers(0, 30), st.booleans())
STEP = st.tuples(st.integers(0, 3), st.sampled_from(["step"] * 15 + ["kill"]))


@settings(max_examples=200, deadline=None)
@given(window=st.sampled_from(WINDOWS), processes=st.lists(PROCESS, min_size=2, max_size=4), order=st.lists(STEP))
def test_the_count_is_never_above_the_limit_nor_below_what_may_be_spent(
    window: Window, processes: list[tuple[list[tuple[int, int]], int, bool]], order: list[tuple[int, str]]
) -> None:
    world = World(window)
    for asked, back, late in processes:
        world.process(*asked, back=back, late=late)
    for which, what in order:
        process = world.processes[which % len(world.processes)]
        process.step() if what == "step" else process.kill()
        world.check()
    world.finish()


def test_a_slice_that_was_given_back_late_frees_nothing_anew() -> None:
    world = World("minute")
    first = world.process((60, 0))
    world.finish()
    old = first.demands[0]
    first.held = 0
    world.now += 3_600 * SECOND
    world.process((LIMIT, 0))
    world.finish()
    assert world.level() == LIMIT
    giving: Work = KeyValueCounters(world.store, holder="p0", clock=world.clock).give([(old.counter, old.span, 60)])
    with pytest.raises(StopIteration):
        giving.send(None)
    assert world.level() == LIMIT
