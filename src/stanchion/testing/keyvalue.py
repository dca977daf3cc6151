"""The contract of KeyValue as tests: subclass `KeyValueSuite` and give it a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar, Literal

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanchion.core.errors import Conflict, InvalidInput
from stanchion.core.storage import KeyValue

from .clock import FakeClock

Step = tuple[Literal["set", "delete", "increment", "swap", "pass"], str, bytes | None, bytes | None, bool]

# One test for many subclasses, whose store empties itself before each example.
_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
_keys = st.sampled_from(["a", "b", "ab", "é*", "[x]", ""])
_values = st.sampled_from([b"", b"0", b"7", b"-3", b"x\x00\xff", b"007"])
_steps = st.tuples(
    st.sampled_from(["set", "delete", "increment", "swap", "pass"]),
    _keys,
    st.none() | _values,
    st.none() | _values,
    st.booleans(),
)


class KeyValueSuite:
    """Override the fixture `store`; take `clock` as an argument if the store tells time by it.

    A store whose server keeps its own time says so by `real_time`: then the tests wait for `tick` seconds to pass,
    which must be longer than a few calls may take.
    """

    pytestmark = pytest.mark.asyncio
    real_time: ClassVar[bool] = False
    tick: ClassVar[float] = 0.5

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> KeyValue:
        raise NotImplementedError("override the fixture `store`")

    @pytest_asyncio.fixture(autouse=True)
    async def closed_afterwards(self, store: KeyValue) -> AsyncIterator[None]:
        yield
        await store.close()

    async def elapse(self, store: KeyValue, clock: FakeClock) -> None:
        """Let every lifetime of `tick` seconds that has begun pass."""
        if self.real_time:
            await store.set({"last to expire": b""}, ttl=self.tick)
            while await store.get(["last to expire"]) != [None]:  # noqa: ASYNC110  # no server tells when a key expires
                await asyncio.sleep(0.02)
        else:
            clock.advance(self.tick)

    async def test_values_come_back_in_the_order_of_the_keys(self, store: KeyValue) -> None:
        await store.set({"one": b"1", "two": b"\x00\xff", "empty": b""})
        assert await store.get(["two", "none", "one", "two", "empty"]) == [b"\x00\xff", None, b"1", b"\x00\xff", b""]

    async def test_nothing_asked_is_nothing_done(self, store: KeyValue) -> None:
        await store.set({})
        assert await store.get([]) == []
        assert await store.delete([]) == 0

    async def test_many_keys_go_in_one_call(self, store: KeyValue) -> None:
        many = {f"key/{number}": b"%d" % number for number in range(2_000)}
        await store.set(many)
        assert await store.get(list(many)) == list(many.values())
        assert sorted([key async for key in store.scan("key/")]) == sorted(many)
        assert await store.delete(list(many)) == 2_000

    async def test_a_later_value_replaces_value_and_expiry(self, store: KeyValue, clock: FakeClock) -> None:
        await store.set({"k": b"old"}, ttl=self.tick)
        await store.set({"k": b"new"})
        await self.elapse(store, clock)
        assert await store.get(["k"]) == [b"new"]

    async def test_an_expired_key_is_absent_for_every_method(self, store: KeyValue, clock: FakeClock) -> None:
        await store.set({"k": b"5", "gone": b"5", "swapped": b"5"}, ttl=self.tick)
        await self.elapse(store, clock)
        assert await store.get(["k"]) == [None]
        assert [key async for key in store.scan("")] == []
        assert await store.delete(["gone"]) == 0
        assert not await store.swap("swapped", b"5", b"6")
        assert await store.swap("swapped", None, b"6")
        assert await store.increment("k") == 1

    async def test_delete_tells_how_many_were_there(self, store: KeyValue) -> None:
        await store.set({"a": b"", "b": b""})
        assert await store.delete(["a", "none", "b", "a"]) == 2
        assert await store.get(["a", "b"]) == [None, None]

    async def test_a_counter_starts_at_zero_and_is_a_decimal_value(self, store: KeyValue) -> None:
        assert await store.increment("n") == 1
        assert await store.increment("n", 41) == 42
        assert await store.increment("n", -50) == -8
        assert await store.get(["n"]) == [b"-8"]
        await store.set({"given": b"10"})
        assert await store.increment("given", 5) == 15

    async def test_a_lifetime_counts_only_when_the_counter_is_made(self, store: KeyValue, clock: FakeClock) -> None:
        await store.increment("window", ttl=self.tick)
        await store.increment("window", ttl=self.tick * 1_000)
        await store.increment("lasting")
        await store.increment("lasting", ttl=self.tick)
        await self.elapse(store, clock)
        assert await store.get(["window", "lasting"]) == [None, b"2"]

    @pytest.mark.parametrize("value", [b"", b"x", b"1.5", b" 1", b"007", b"+1", b"9223372036854775808"])
    async def test_what_is_no_counter_is_not_incremented(self, store: KeyValue, value: bytes) -> None:
        await store.set({"k": value})
        with pytest.raises(Conflict):
            await store.increment("k")
        assert await store.get(["k"]) == [value]

    async def test_a_counter_does_not_pass_64_bits(self, store: KeyValue) -> None:
        most = 2**63 - 1
        assert await store.increment("n", most) == most
        with pytest.raises(Conflict):
            await store.increment("n")
        assert await store.get(["n"]) == [b"%d" % most]
        assert await store.increment("low", -most - 1) == -most - 1
        with pytest.raises(Conflict):
            await store.increment("low", -1)
        with pytest.raises(InvalidInput):
            await store.increment("n", 2**63)

    async def test_concurrent_increments_all_count(self, store: KeyValue) -> None:
        sums = await asyncio.gather(*(store.increment("n") for _ in range(100)))
        assert sorted(sums) == list(range(1, 101))

    async def test_a_swap_happens_only_from_the_expected_value(self, store: KeyValue) -> None:
        assert not await store.swap("k", b"x", b"y")
        assert await store.swap("k", None, b"")
        assert not await store.swap("k", None, b"y")
        assert await store.swap("k", b"", b"z")
        assert await store.get(["k"]) == [b"z"]
        assert await store.swap("k", b"z", None)
        assert await store.swap("k", None, None)
        assert await store.get(["k"]) == [None]

    async def test_a_swap_sets_the_expiry_anew(self, store: KeyValue, clock: FakeClock) -> None:
        await store.set({"short": b"a"})
        await store.set({"long": b"a"}, ttl=self.tick)
        assert await store.swap("short", b"a", b"b", ttl=self.tick)
        assert await store.swap("long", b"a", b"b")
        await self.elapse(store, clock)
        assert await store.get(["short", "long"]) == [None, b"b"]

    async def test_one_of_many_concurrent_swaps_wins(self, store: KeyValue) -> None:
        won = await asyncio.gather(*(store.swap("lock", None, b"%d" % owner) for owner in range(20)))
        assert won.count(True) == 1
        assert await store.get(["lock"]) == [b"%d" % won.index(True)]

    async def test_a_scan_takes_its_prefix_literally(self, store: KeyValue) -> None:
        await store.set(dict.fromkeys(["a*", "a*b", "ab", "a?", "[a]", "\\a", "é1", "é2", "a*\nb"], b""))
        for prefix, found in {
            "a*": {"a*", "a*b", "a*\nb"},
            "a?": {"a?"},
            "[a]": {"[a]"},
            "\\": {"\\a"},
            "é": {"é1", "é2"},
            "none": set(),
        }.items():
            assert {key async for key in store.scan(prefix)} == found

    async def test_a_key_has_at_most_512_bytes(self, store: KeyValue) -> None:
        await store.set({"é" * 256: b"fits", "": b"empty", "nul\x00": b"nul"})
        assert await store.get(["é" * 256, "", "nul\x00", "nul"]) == [b"fits", b"empty", b"nul", None]
        for key in ["k" * 513, "é" * 257, "\ud800"]:
            with pytest.raises(InvalidInput):
                await store.get([key])
            with pytest.raises(InvalidInput):
                await store.set({key: b""})
            with pytest.raises(InvalidInput):
                await store.delete([key])
            with pytest.raises(InvalidInput):
                await store.increment(key)
            with pytest.raises(InvalidInput):
                await store.swap(key, None, b"")

    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
    async def test_a_lifetime_is_more_than_nothing_and_ends(self, store: KeyValue, ttl: float) -> None:
        with pytest.raises(InvalidInput):
            await store.set({"k": b""}, ttl=ttl)
        with pytest.raises(InvalidInput):
            await store.increment("k", ttl=ttl)
        with pytest.raises(InvalidInput):
            await store.swap("k", None, b"", ttl=ttl)
        assert await store.get(["k"]) == [None]

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(steps=st.lists(_steps, max_size=25))
    async def test_any_sequence_of_calls_does_what_a_dictionary_does(
        self, store: KeyValue, clock: FakeClock, steps: list[Step]
    ) -> None:
        await store.delete([key async for key in store.scan("")])
        model: dict[str, tuple[bytes, bool]] = {}
        for step in steps:
            if step[0] == "pass":
                if not self.real_time:
                    await self.elapse(store, clock)
                    model = {key: entry for key, entry in model.items() if not entry[1]}
            else:
                await self._apply(store, model, step)
            assert await store.get(list(model)) == [value for value, _ in model.values()]
            assert {key async for key in store.scan("")} == model.keys()

    async def _apply(self, store: KeyValue, model: dict[str, tuple[bytes, bool]], step: Step) -> None:
        verb, key, value, new, mortal = step
        # Where time passes for real no key may expire during the test.
        ttl = None if not mortal else 1_000.0 if self.real_time else self.tick
        there = model[key][0] if key in model else None
        if verb == "set":
            await store.set({key: value or b""}, ttl=ttl)
            model[key] = (value or b"", mortal)
        elif verb == "delete":
            assert await store.delete([key]) == (there is not None)
            model.pop(key, None)
        elif verb == "increment" and there in (None, b"0", b"7", b"-3"):
            total = await store.increment(key, 3, ttl=ttl)
            assert total == int(there or b"0") + 3
            model[key] = (b"%d" % total, mortal if there is None else model[key][1])
        elif verb == "swap":
            assert await store.swap(key, value, new, ttl=ttl) == (there == value)
            if there == value:
                model.pop(key, None)
                if new is not None:
                    model[key] = (new, mortal)
