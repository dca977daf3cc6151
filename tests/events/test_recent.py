"""What the bus still holds is listed from its end, and each event is found again at its place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput, NotFound
from stanchion.events import Event, Selection
from stanchion.testing.events import caller, running, sqlite_url

ME, OTHER = caller(), caller("other", "eve")


def event(number: int, kind: str = "order.placed", **more: Any) -> Event:
    return Event.of(kind, "/shop", {"number": number}, subject=f"order-{number}", **more)


async def published(bus: Any, events: Sequence[Event], *, who: Any = ME) -> None:
    for each in events:
        await bus.publish(who, [each])


@pytest.fixture(params=["memory", "database", "postgres", "kafka"])
def opens(request: Any, tmp_path: Path) -> Any:
    if request.param == "postgres":
        return lambda: running(request.getfixturevalue("postgres_url"))
    if request.param == "kafka":
        return lambda: running(sqlite_url(tmp_path), bus="kafka", url=request.getfixturevalue("kafka_url"))
    return lambda: running(sqlite_url(tmp_path), bus=request.param)


async def test_the_newest_come_first_without_their_data_and_of_the_callers_tenant_alone(opens: Any) -> None:
    async with opens() as bus:
        assert await bus.recent(ME) == []
        await published(bus, [event(n) for n in range(12)])
        await published(bus, [event(99)], who=OTHER)
        found = await bus.recent(ME, limit=5)
        assert [each.subject for each in found] == [f"order-{n}" for n in (11, 10, 9, 8, 7)]
        first = found[0]
        assert (first.type, first.source, first.principal) == ("order.placed", "/shop", "ada")
        assert (first.size, first.correlation, first.causation) == (len(b'{"number":11}'), first.id, "")
        assert not hasattr(first, "data")
        assert [each.subject for each in await bus.recent(OTHER)] == ["order-99"]


async def test_events_are_chosen_by_type_source_subject_and_time(opens: Any) -> None:
    async with opens() as bus:
        await published(bus, [event(0), event(1, "order.paid"), event(2, "user.made")])
        await published(bus, [Event(type="order.paid", source="/till")])

        async def found(**selection: Any) -> list[str]:
            return [each.subject for each in await bus.recent(ME, selection=Selection(**selection))]

        assert await found(types=("order.*",)) == ["", "order-1", "order-0"]
        assert await found(types=("order.paid",), source="/shop") == ["order-1"]
        assert await found(subject="order-2") == ["order-2"]
        later = datetime.now(UTC) + timedelta(hours=1)
        assert await found(since=later) == [] and len(await found(until=later)) == 4
        assert len(await found(since=later - timedelta(hours=2))) == 4
        for wrong in ({"ids": ("x",)}, {"types": ("no spaces",)}):
            with pytest.raises(InvalidInput):
                await found(**wrong)
        with pytest.raises(InvalidInput):
            await bus.recent(ME, limit=201)


async def test_old_events_are_found_behind_many_newer_ones(opens: Any) -> None:
    async with opens() as bus:
        await published(bus, [event(7, "rare")])
        for start in range(0, 1_500, 500):
            await bus.publish(ME, [event(n) for n in range(start, start + 500)])
        [rare] = await bus.recent(ME, selection=Selection(types=("rare",)))
        assert rare.subject == "order-7"
        many = await bus.recent(ME, limit=200)
        assert len({each.id for each in many}) == 200
        assert [each.published for each in many] == sorted((each.published for each in many), reverse=True)


async def test_none_of_the_newest_is_left_out_however_much_is_read_for_them(opens: Any) -> None:
    async with opens() as bus:
        for _ in range(8):
            await bus.publish(
                ME, [Event.of("order.placed", "/shop", "x" * 2_000, subject=f"o-{n % 97}") for n in range(500)]
            )
        await published(bus, [event(n) for n in range(60)])
        for _ in range(3):
            found = await bus.recent(ME, limit=60)
            assert [each.subject for each in found] == [f"order-{n}" for n in reversed(range(60))]
        assert len(await bus.recent(ME, selection=Selection(subject="o-5"), limit=200)) == 48


async def test_an_event_is_read_again_with_its_data_at_its_place_by_its_tenant(opens: Any) -> None:
    async with opens() as bus:
        await published(bus, [event(3, partitionkey="k")])
        [seen] = await bus.recent(ME)
        found = await bus.recall(ME, seen.place)
        assert found.envelope == seen
        assert list(await bus.recent(ME, place=seen.place)) == [seen]
        assert not await bus.recent(OTHER, place=seen.place) and not await bus.recent(ME, place="x")
        assert found.event.json() == {"number": 3} and found.event.extensions == {"partitionkey": "k"}
        with pytest.raises(NotFound):
            await bus.recall(OTHER, seen.place)
        for wrong in ("0.999999", "99.1", "0.0", "x", "", "1.-1", f"1.{2**64}", "²."):
            with pytest.raises(NotFound):
                await bus.recall(ME, wrong)
