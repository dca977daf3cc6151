"""The port of a bus as tests: subclass `BusSuite` and give it a way to open one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
import pytest_asyncio

from stanchion.events import LANES, SLOTS, Bus, Entry, Stored

OpensBus = Callable[[], Awaitable[Bus]]
ALL = dict.fromkeys(range(LANES), 0)
PATIENCE = 60.0


def entry(number: int, lane: int = SLOTS, *, tenant: str = "acme", kind: str = "a.b") -> Entry:
    """An entry whose body tells its lane and number."""
    return Entry(lane, tenant, kind, f"{lane}:{number}".encode())


async def drain(bus: Bus, after: Mapping[int, int], *, number: int, limit: int = 100) -> list[Stored]:
    """Everything behind the positions until so many entries came."""
    found: list[Stored] = []
    positions = dict(after)
    async with asyncio.timeout(PATIENCE):
        while len(found) < number:
            page = await bus.read(positions, limit=limit, wait=1.0)
            assert len(page.entries) <= limit
            positions.update(page.reached)
            found += page.entries
    return found


def by_lane(entries: Sequence[Stored]) -> dict[int, list[bytes]]:
    """The bodies of each lane, in the order read; positions must grow."""
    found: dict[int, list[bytes]] = defaultdict(list)
    last: dict[int, int] = {}
    for each in entries:
        assert 0 < each.position < 1 << 63
        assert each.position > last.get(each.lane, 0), "positions of a lane grow"
        last[each.lane] = each.position
        found[each.lane].append(each.body)
    return found


class BusSuite:
    """Override the fixture `opens`, which gives a started bus over the same, at first empty, log at each call.

    `shared` is False where a bus is seen by the process that made it only; `keeps_time` where `before` and `trim` go by
    the moment of appending more finely than not at all.
    """

    pytestmark = pytest.mark.asyncio
    shared: ClassVar[bool] = True
    keeps_time: ClassVar[bool] = True

    @pytest.fixture
    def opens(self) -> OpensBus:
        raise NotImplementedError("override the fixture `opens`")

    @pytest_asyncio.fixture
    async def bus(self, opens: OpensBus) -> AsyncIterator[Bus]:
        bus = await opens()
        yield bus
        await bus.stop()

    async def test_entries_come_back_byte_for_byte_in_the_order_of_their_lane(self, bus: Bus) -> None:
        sent = [entry(number, number % LANES) for number in range(3 * LANES)]
        sent.append(Entry(1, "ä", "x", bytes(range(256)) * 4_096))
        positions = await bus.append(sent)
        found = await drain(bus, ALL, number=len(sent), limit=10)
        want: dict[int, list[bytes]] = defaultdict(list)
        for each in sent:
            want[each.lane].append(each.body)
        assert by_lane(found) == want
        assert {(each.lane, p) for each, p in zip(sent, positions, strict=True)} == {
            (each.lane, each.position) for each in found
        }

    async def test_reading_goes_on_behind_a_position(self, bus: Bus) -> None:
        positions = await bus.append([entry(number) for number in range(10)])
        page = await bus.read({SLOTS: positions[3]}, limit=100, wait=PATIENCE)
        assert [each.body for each in page.entries] == [entry(number).body for number in range(4, 10)]
        assert page.reached[SLOTS] >= positions[9]
        again = await bus.read({SLOTS: positions[3]}, limit=2, wait=PATIENCE)
        assert [each.position for each in again.entries] == list(positions[4:6])
        assert again.reached[SLOTS] == positions[5]

    async def test_only_the_lanes_asked_for_are_read_each_from_its_own_position(self, bus: Bus) -> None:
        first = await bus.append([entry(0, 1), entry(0, 2), entry(0, 3)])
        await bus.append([entry(1, 1), entry(1, 2), entry(1, 3)])
        found = await drain(bus, {1: first[0], 2: 0}, number=3)
        assert by_lane(found) == {1: [b"1:1"], 2: [b"2:0", b"2:1"]}

    async def test_a_reader_who_waits_is_woken_by_an_append(self, bus: Bus) -> None:
        heads = await bus.heads()
        waiting = asyncio.create_task(bus.read({SLOTS: heads[SLOTS]}, limit=10, wait=PATIENCE))
        await asyncio.sleep(0)
        await bus.append([entry(1)])
        async with asyncio.timeout(PATIENCE):
            assert [each.body for each in (await waiting).entries] == [entry(1).body]

    async def test_a_reader_gets_an_empty_page_where_nothing_comes(self, bus: Bus) -> None:
        await bus.append([entry(1, 5)])
        page = await bus.read({7: 0}, limit=10, wait=0.05)
        assert not page.entries
        assert page.reached.keys() == {7}

    async def test_what_is_wanted_is_never_left_out_for_tenant_and_type(self, bus: Bus) -> None:
        kinds = ["a", "a.b", "a.c", "ab", "b", "a.b.c"]
        await bus.append([entry(0, tenant=tenant, kind=kind) for kind in kinds for tenant in ("acme", "other")])
        last = await bus.append([Entry(SLOTS, "acme", "a.z", b"end")])
        found: list[Stored] = []
        positions = {SLOTS: 0}
        async with asyncio.timeout(PATIENCE):
            while positions[SLOTS] < last[0]:
                page = await bus.read(positions, limit=3, wait=1.0, tenant="acme", types=("a.*", "b"))
                positions.update(page.reached)
                found += page.entries
        assert len(found) >= 5
        assert found[-1].body == b"end"

    async def test_heads_lie_before_all_that_comes(self, bus: Bus) -> None:
        await bus.append([entry(number, number % LANES) for number in range(LANES)])
        heads = await bus.heads()
        assert heads.keys() == set(range(LANES))
        positions = await bus.append([entry(9, lane) for lane in range(LANES)])
        assert all(position > heads[lane] for lane, position in enumerate(positions))
        assert sorted(each.body for each in await drain(bus, heads, number=LANES)) == sorted(
            entry(9, lane).body for lane in range(LANES)
        )

    async def test_how_many_are_behind_is_never_too_few(self, bus: Bus) -> None:
        positions = await bus.append([entry(number) for number in range(50)])
        assert 30 <= await bus.behind({SLOTS: positions[19]}, most=1_000) <= 50
        assert await bus.behind({SLOTS: 0}, most=20) == 20
        assert await bus.behind(dict(await bus.heads()), most=20) == 0

    async def test_no_entry_is_passed_over_while_several_append(self, bus: Bus, opens: OpensBus) -> None:
        others = [await opens() for _ in range(2)] if self.shared else [bus, bus]

        async def write(writer: Bus, name: int) -> None:
            for number in range(30):
                await writer.append([Entry(lane, "t", "x", f"{name}:{number}:{lane}".encode()) for lane in (3, 20)])

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(drain(bus, {3: 0, 20: 0}, number=120, limit=7))
            for name, writer in enumerate(others):
                group.create_task(write(writer, name))
        lanes = by_lane(reading.result())
        for lane in (3, 20):
            for name in range(2):
                mine = [body for body in lanes[lane] if body.startswith(b"%d:" % name)]
                assert mine == [b"%d:%d:%d" % (name, number, lane) for number in range(30)]
        for other in others if self.shared else ():
            await other.stop()

    async def test_what_was_appended_outlives_its_bus(self, bus: Bus, opens: OpensBus) -> None:
        if not self.shared:
            pytest.skip("this bus ends with its process")
        await bus.append([entry(1), entry(2)])
        another = await opens()
        try:
            assert [each.body for each in await drain(another, {SLOTS: 0}, number=2)] == [b"16:1", b"16:2"]
        finally:
            await another.stop()

    async def test_trimming_takes_what_is_old_and_read_and_nothing_else(self, bus: Bus) -> None:
        positions = await bus.append([entry(number) for number in range(10)])
        long_ago = datetime.now(UTC) - timedelta(days=2)
        if self.keeps_time:
            assert await bus.trim({SLOTS: positions[4]}, older=long_ago) == 0
        await bus.trim({SLOTS: positions[4]}, older=datetime.now(UTC) + timedelta(hours=1))
        page = await bus.read({SLOTS: 0}, limit=100, wait=PATIENCE)
        kept = [each.body for each in page.entries]
        assert kept[-5:] == [entry(number).body for number in range(5, 10)]
        new = await bus.append([entry(99)])
        assert new[0] > positions[-1], "a position is never given twice"

    async def test_all_since_a_moment_lies_behind_its_positions(self, bus: Bus) -> None:
        await bus.append([entry(1)])
        positions = await bus.before(datetime.now(UTC) - timedelta(hours=1))
        assert [each.body for each in await drain(bus, {SLOTS: positions[SLOTS]}, number=1)] == [entry(1).body]
        later = await bus.before(datetime.now(UTC) + timedelta(hours=1))
        await bus.append([entry(2)])
        found = await drain(bus, {SLOTS: later[SLOTS]}, number=1)
        assert found[-1].body == entry(2).body
