from __future__ import annotations

import asyncio
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.cache import Cache
from stanchion.core.errors import DeadlineExceeded, Misconfigured, Unavailable
from stanchion.testing.clock import FakeClock


class Work:
    """A computation that counts its runs and ends when told to."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.runs = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self):
        self.runs += 1
        self.begun.set()
        await self.go.wait()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def at_once(value):
    async def compute():
        return value

    return compute


def cache(clock, **options):
    return Cache(**({"max_entries": 100, "ttl": 60.0, "clock": clock} | options))


async def test_a_value_is_computed_once_and_then_found(clock):
    c = cache(clock)
    assert await c.get("k", at_once(1)) == (1, "miss")
    assert await c.get("k", at_once(2)) == (1, "hit")
    assert (c.stats().hits, c.stats().misses, c.stats().entries) == (1, 1, 1)


async def test_none_is_a_value(clock):
    c = cache(clock)
    await c.get("k", at_once(None))
    assert await c.get("k", at_once(2)) == (None, "hit")


async def test_a_value_dies_at_the_end_of_its_time(clock):
    c = cache(clock, ttl=10.0)
    await c.get("k", at_once(1))
    await c.get("short", at_once(1), ttl=5.0)
    await c.get("long", at_once(1), ttl=99.0)
    clock.advance(5)
    assert (await c.get("short", at_once(2))).how == "miss"
    assert (await c.get("k", at_once(2))).how == "hit"
    clock.advance(5)
    assert await c.get("k", at_once(2)) == (2, "miss")
    assert (await c.get("long", at_once(2))).how == "miss"


async def test_the_least_recently_used_value_goes_first(clock):
    c = cache(clock, max_entries=2)
    for key in ("a", "b", "a", "c"):
        await c.get(key, at_once(key))
    assert (await c.get("a", at_once(0))).how == "hit"
    assert (await c.get("b", at_once(0))).how == "miss"
    assert c.stats().evictions == 2


async def test_bytes_are_bounded_and_a_value_too_large_is_not_kept(clock):
    c = cache(clock, max_bytes=10, size=len)
    for key, value in (("a", b"12345"), ("b", b"12345"), ("c", b"1"), ("huge", b"x" * 11)):
        await c.get(key, at_once(value))
    assert (c.stats().bytes, c.stats().entries) == (6, 2)
    assert (await c.get("huge", at_once(b""))).how == "miss"


async def test_concurrent_callers_share_one_computation(clock):
    c, work = cache(clock), Work("v")
    tasks = [asyncio.create_task(c.get("k", work)) for _ in range(10)]
    await work.begun.wait()
    work.go.set()
    found = await asyncio.gather(*tasks)
    assert work.runs == 1
    assert sorted(f.how for f in found) == ["miss"] + ["shared"] * 9
    assert c.stats().shared == 9


async def test_all_get_the_error_and_it_is_not_kept(clock):
    c, work = cache(clock), Work(Unavailable("down"))
    tasks = [asyncio.create_task(c.get("k", work)) for _ in range(3)]
    await work.begun.wait()
    work.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(f) for f in found] == [Unavailable] * 3
    assert await c.get("k", at_once("v")) == ("v", "miss")


async def test_a_cancelled_leader_hands_over_to_a_waiter(clock):
    c, work = cache(clock), Work("v")
    tasks = [asyncio.create_task(c.get("k", work)) for _ in range(3)]
    await work.begun.wait()
    tasks[0].cancel()
    work.go.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert [await t for t in tasks[1:]] == [("v", "miss"), ("v", "shared")]
    assert work.runs == 2


async def test_one_callers_own_deadline_does_not_fail_the_others(clock):
    c, work = cache(clock), Work(DeadlineExceeded(), "v")
    tasks = [asyncio.create_task(c.get("k", work)) for _ in range(3)]
    await work.begun.wait()
    work.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], DeadlineExceeded)
    assert found[1:] == [("v", "miss"), ("v", "shared")]


async def test_a_waiter_cancelled_just_as_it_is_to_compute_passes_the_task_on(clock):
    c, work = cache(clock), Work("v")
    tasks = [asyncio.create_task(c.get("k", work)) for _ in range(3)]
    await work.begun.wait()
    for task in tasks[:2]:
        task.cancel()
    # The first is cancelled and names the second; the second is cancelled before it can begin.
    work.go.set()
    assert await tasks[2] == ("v", "miss")
    await asyncio.wait(tasks)


async def test_a_cancelled_waiter_harms_nobody(clock):
    c, work = cache(clock), Work("v")
    tasks = [asyncio.create_task(c.get("k", work)) for _ in range(3)]
    await work.begun.wait()
    tasks[1].cancel()
    work.go.set()
    assert (await tasks[0], await tasks[2]) == (("v", "miss"), ("v", "shared"))


async def test_a_key_is_free_again_when_all_its_callers_are_cancelled(clock):
    c, work = cache(clock), Work("v")
    tasks = [asyncio.create_task(c.get("k", work)) for _ in range(3)]
    await work.begun.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert await c.get("k", at_once("w")) == ("w", "miss")


async def test_invalidating_a_tag_drops_its_values_only(clock):
    c = cache(clock)
    await c.get("a", at_once(1), tags=["x", "y"])
    await c.get("b", at_once(1), tags=["y"])
    assert await c.invalidate("x") == 1
    assert await c.invalidate("x") == 0
    assert [(await c.get(k, at_once(2))).how for k in "ab"] == ["miss", "hit"]


@pytest.mark.parametrize("drop", ["invalidate", "forget", "put"])
async def test_a_result_computed_from_before_a_change_is_not_kept(clock, drop):
    c, old = cache(clock), Work("old")
    task = asyncio.create_task(c.get("k", old, tags=["t"]))
    await old.begun.wait()
    match drop:
        case "invalidate":
            await c.invalidate("t")
        case "forget":
            await c.forget("k")
        case _:
            c.put("k", "new")
    later = asyncio.create_task(c.get("k", at_once("new"), tags=["t"]))
    assert (await later).value == "new"
    old.go.set()
    assert (await task).value == "old"
    assert await c.get("k", at_once("newer")) == ("new", "hit")


@pytest.mark.parametrize("wrong", [{"max_entries": 0}, {"ttl": 0.0}, {"max_bytes": 5}, {"size": len}])
def test_a_cache_that_makes_no_sense_is_refused(clock, wrong):
    with pytest.raises(Misconfigured):
        cache(clock, **wrong)


KEYS = st.sampled_from("abcdef")
TAGS = st.frozensets(st.sampled_from("xyz"), max_size=2)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("get"), KEYS, TAGS),
            st.tuples(st.just("forget"), KEYS, TAGS),
            st.tuples(st.just("invalidate"), st.sampled_from("xyz"), TAGS),
            st.tuples(st.just("advance"), st.sampled_from([1, 4, 10]), TAGS),
        ),
        max_size=120,
    ),
    st.integers(1, 4),
)
def test_the_cache_behaves_as_its_model(events, limit):
    async def scenario():
        clock = FakeClock()
        c = cache(clock, max_entries=limit, ttl=10.0)
        model: OrderedDict[str, tuple[int, float, frozenset[str]]] = OrderedDict()
        for number, (event, subject, tags) in enumerate(events):
            if event == "advance":
                clock.advance(subject)
            elif event == "forget":
                await c.forget(subject)
                model.pop(subject, None)
            elif event == "invalidate":
                await c.invalidate(subject)
                for key in [k for k, (_, _, held) in model.items() if subject in held]:
                    del model[key]
            else:
                found = await c.get(subject, at_once(number), tags=tags)
                known = model.get(subject)
                if known and known[1] > clock.monotonic():
                    assert found == (known[0], "hit")
                else:
                    assert found == (number, "miss")
                    model.pop(subject, None)
                    model[subject] = (number, clock.monotonic() + 10.0, tags)
                model.move_to_end(subject)
                while len(model) > limit:
                    model.popitem(last=False)
            assert c.stats().entries == len(model) <= limit

    asyncio.run(scenario())


@given(st.lists(st.tuples(st.sampled_from(["get", "go", "cancel", "invalidate"]), st.integers(0, 2)), max_size=40))
def test_one_key_is_never_computed_twice_at_once_and_nobody_waits_for_ever(events):
    async def scenario():
        c = cache(FakeClock())
        running, tasks, gates = [0, 0, 0], [], [asyncio.Event() for _ in range(3)]
        epoch = [0, 0, 0]

        def compute(key):
            async def work():
                begun = epoch[key]
                running[key] += 1
                # After an invalidation a second, newer computation may run beside the old one.
                assert running[key] <= 1 + epoch[key]
                try:
                    await gates[key].wait()
                finally:
                    running[key] -= 1
                return begun

            return work

        for event, key in events:
            if event == "get":
                tasks.append(asyncio.create_task(c.get(str(key), compute(key), tags=[str(key)])))
            elif event == "go":
                gates[key].set()
                gates[key] = asyncio.Event()
            elif event == "cancel" and tasks:
                tasks[key % len(tasks)].cancel()
            elif event == "invalidate":
                epoch[key] += 1
                await c.invalidate(str(key))
            for _ in range(4):
                await asyncio.sleep(0)
        for _ in range(len(tasks) + 1):
            for gate in gates:
                gate.set()
        if tasks:
            _, waiting = await asyncio.wait(tasks, timeout=60)
            assert not waiting
        assert running == [0, 0, 0]

    asyncio.run(scenario())
