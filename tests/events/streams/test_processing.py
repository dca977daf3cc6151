"""A stream over the bus: results come once, whatever is delivered twice, restarted or killed in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion.core.clock import micros
from stanchion.core.errors import Misconfigured
from stanchion.events import (
    Delivered,
    Event,
    Events,
    HandlerSpec,
    Measure,
    Progress,
    RobustZ,
    Rolling,
    Stream,
    StreamSpec,
    Tumbling,
    Windowed,
)
from stanchion.events.packing import lane_of
from stanchion.testing.events import caller, running, sqlite_url

BASE = datetime(2026, 3, 1, tzinfo=UTC)
PATIENCE = 60.0
CTX = caller()


class Reading(BaseModel):
    """A row of the stream."""

    at: datetime
    value: float


def spec(**given: Any) -> StreamSpec:
    windows = {
        "minute": Windowed(Tumbling(timedelta(minutes=1)), {"n": Measure("count"), "sum": Measure("sum", "value")})
    }
    return StreamSpec(**{"name": "heat", "row": Reading, "time": "at", "windows": windows, **given})


def handler(spec: StreamSpec, batch: int = 20) -> HandlerSpec:
    return HandlerSpec(name=spec.name, types=("sensor.read",), function=Stream(spec).handle, batch=batch, concurrency=1)


def reading(number: int, seconds: float, value: float = 1.0, key: str = "a") -> Event:
    data = Reading(at=BASE + timedelta(seconds=seconds), value=value)
    return Event.of("sensor.read", "test", data, subject=key)


async def heard(events: Events, types: Sequence[str], number: int, since: str | None = None) -> list[Delivered]:
    """The first so many events of these types."""
    found: list[Delivered] = []
    async with asyncio.timeout(PATIENCE):
        async for each in events.follow(CTX, types=types, since=since):
            found.append(each)
            if len(found) == number:
                break
    return found


async def settled(events: Events) -> None:
    async with asyncio.timeout(PATIENCE):
        while any(view.behind or view.running or view.waiting for view in await events.consumers(CTX)):
            await asyncio.sleep(0.02)


async def test_windows_are_told_when_the_watermark_passes_their_end(tmp_path: Path) -> None:
    async with running(sqlite_url(tmp_path), handler(spec(progress=Progress(timedelta(seconds=5))))) as events:
        await events.publish(CTX, [reading(n, n * 10, value=n) for n in range(7)])
        await settled(events)
        since = (await heard(events, ["sensor.read"], 1, since="0"))[0].position
        await events.publish(CTX, [reading(9, 65)])
        (closed,) = await heard(events, ["heat.closed"], 1, since=since)
    told = closed.event.json()
    assert told["key"] == "a" and told["window"] == "minute" and told["revision"] == 1
    assert told["start"] == BASE.isoformat() and told["end"] == (BASE + timedelta(minutes=1)).isoformat()
    assert told["values"] == {"n": 6, "sum": 15.0}
    assert closed.inner, "the house tells it, and no caller could have made it up"


async def test_a_row_behind_the_watermark_is_told_as_late_and_is_caused_by_its_event(tmp_path: Path) -> None:
    async with running(sqlite_url(tmp_path), handler(spec())) as events:
        await events.publish(CTX, [reading(1, 100), reading(2, 130)])
        await settled(events)
        late = reading(3, 61)
        await events.publish(CTX, [late])
        (told,) = await heard(events, ["heat.late"], 1, since="0")
    assert told.event.json()["row"]["value"] == 1.0
    assert told.event.extensions["causationid"] == late.id


async def test_state_outlives_the_process_and_nothing_is_told_twice(tmp_path: Path) -> None:
    rows = [reading(n, n * 7.0, value=n % 5, key=f"k{n % 3}") for n in range(200)]
    random.Random(4).shuffle(rows)
    stream = spec(progress=Progress(timedelta(hours=1)))
    for start in range(0, len(rows), 50):
        async with running(sqlite_url(tmp_path), handler(stream)) as events:
            part = rows[start : start + 50]
            await events.publish(CTX, part)
            await events.publish(CTX, part)  # the same events again: they are handled no second time
            await settled(events)
    async with running(sqlite_url(tmp_path), handler(stream)) as events:
        ends = [reading(1000 + n, 200 * 7 + 4000, key=f"k{n}") for n in range(3)]
        await events.publish(CTX, ends)
        await settled(events)
        want: dict[tuple[str, int], list[float]] = {}
        for row in rows:
            data = row.json()
            at = micros(datetime.fromisoformat(data["at"]))
            want.setdefault((row.subject, at // 60_000_000), []).append(data["value"])
        found = await heard(events, ["heat.closed"], len(want), since="0")
    told = [each.event.json() for each in found]
    assert len({(each["key"], each["start"]) for each in told}) == len(want)
    for each in told:
        values = want[each["key"], micros(datetime.fromisoformat(each["start"])) // 60_000_000]
        assert each["values"] == {"n": len(values), "sum": sum(values)} and each["revision"] == 1


async def test_a_key_that_falls_silent_goes_on_with_the_others_of_its_slot(tmp_path: Path) -> None:
    slot = lane_of(CTX.tenant, "a", "normal")
    other = next(f"k{n}" for n in range(1000) if lane_of(CTX.tenant, f"k{n}", "normal") == slot)
    stream = spec(progress=Progress(timedelta(seconds=5), timedelta(seconds=1)))
    async with running(sqlite_url(tmp_path), handler(stream)) as events:
        await events.publish(CTX, [reading(1, 10)])
        await settled(events)
        number = 2
        async with asyncio.timeout(PATIENCE):
            while not (await rows_of(events, "heat.closed")):
                await events.publish(CTX, [reading(number, 100 + number / 1000, key=other)])
                number += 1
                await settled(events)
        await events.publish(CTX, [reading(number, 11)])
        (late,) = await heard(events, ["heat.late"], 1, since="0")
        (closed,) = await rows_of(events, "heat.closed")
    assert closed["key"] == "a" and closed["values"]["n"] == 1
    assert late.event.subject == "a"


async def rows_of(events: Events, kind: str) -> list[Any]:
    """The data of all events of a type so far."""
    end = Event.of("end", "test", {})
    await events.publish(CTX, [end])
    found = []
    async with asyncio.timeout(PATIENCE):
        async for each in events.follow(CTX, types=[kind, "end"], since="0"):
            if each.event.id == end.id:
                break
            found += [each.event.json()] if each.event.type == kind else []
    return found


async def test_rows_are_scored_in_the_order_of_event_time_with_features_as_of_each(tmp_path: Path) -> None:
    stream = spec(
        windows={},
        features={"last_minute": Rolling(Measure("count"), timedelta(minutes=1))},
        detectors={"jump": RobustZ("value", memory=50, warm=10)},
        progress=Progress(timedelta(seconds=120)),
        tells="all",
    )
    rows = [reading(n, n * 10, value=100.0 if n == 40 else float(n % 3)) for n in range(60)]
    mixed = [rows[i ^ 1] for i in range(60)]  # each pair comes the wrong way round
    async with running(sqlite_url(tmp_path), handler(stream, batch=7)) as events:
        await events.publish(CTX, mixed)
        await events.publish(CTX, [reading(99, 3600)])
        found = [each.event.json() for each in await heard(events, ["heat.scored", "heat.anomaly"], 60, since="0")]
    assert [each["at"] for each in found] == [(BASE + timedelta(seconds=10 * n)).isoformat() for n in range(60)]
    assert [each["features"]["last_minute"] for each in found] == [min(n, 6) + 1 for n in range(60)]
    assert [n for n, each in enumerate(found) if each["anomalies"]] == [40]


async def test_a_row_that_is_none_goes_to_the_dead_letters_and_the_others_count(tmp_path: Path) -> None:
    bad = Event.of("sensor.read", "test", {"at": "soon", "value": 1}, subject="b")
    made = HandlerSpec(
        name="heat", types=("sensor.read",), function=Stream(spec()).handle, batch=20, concurrency=1, attempts=1
    )
    async with running(sqlite_url(tmp_path), made) as events:
        await events.publish(CTX, [reading(1, 1), bad, reading(2, 2), reading(3, 90)])
        (closed,) = await heard(events, ["heat.closed"], 1, since="0")
        async with asyncio.timeout(PATIENCE):
            while not (dead := await events.dead(CTX)):
                await asyncio.sleep(0.02)
    assert closed.event.json()["values"]["n"] == 2
    assert dead[0].event.id == bad.id and "no row of heat" in dead[0].error


@pytest.mark.parametrize(
    "given",
    [
        {"time": "when"},
        {"windows": {}},
        {"detectors": {"x": RobustZ("heat")}},
        {"features": {"x": Rolling(Measure("sum", "nothing"), timedelta(1))}},
    ],
)
def test_a_stream_over_columns_that_rows_do_not_have_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        spec(**given)
