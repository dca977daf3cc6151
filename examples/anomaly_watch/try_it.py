"""Streams readings and logins through the system and tells what it found: `python try_it.py [--picture FILE]`.

--readings N takes the first N readings only. With STANCHION_TEST_DATA set, the machine is the one of the Numenta
Anomaly Benchmark, and its labelled windows say what should have been found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stanchion.core.declaration import load_declarations
from stanchion.events import Event, Events
from stanchion.features import Features
from stanchion.testing import Offline, offline

AT_ONCE = 500
WARM = timedelta(days=2.6)
"""NAB does not count what is told in the first 750 readings of a series."""


async def main(readings: int | None = None, picture: Path | None = None) -> dict[str, Any]:
    """Run it all; the figures that it prints."""
    app = load_declarations(Path(__file__).with_name("system.py"))
    import series  # beside the system file, importable once that is loaded

    machine = series.temperatures(readings)
    attempts = series.logins(datetime.now(UTC) - timedelta(minutes=5))
    async with offline(app, settings={"events": {"backlog": 1_000_000}}) as running:
        events = running.door(Events)
        began = time.perf_counter()
        rows = [{"machine": "press", "at": at.isoformat(), "celsius": value} for at, value in machine.readings]
        await publish(running, [Event.of("machine.read", "press", row, subject="press") for row in rows])
        given = [
            {"id": f"{n}", "user": a.user, "at": a.at.isoformat(), "address": a.address, "country": a.country}
            | {"failed": a.failed}
            for n, a in enumerate(attempts)
        ]
        for kind, key in (("login.tried", "user"), ("login.from_address", "address")):
            await publish(running, [Event.of(kind, "door", row, subject=str(row[key])) for row in given])
        await settled(events, running)
        seconds = time.perf_counter() - began
        told = await heard(events, running)
        same = await like_training(running, app, given, told)
    found = {
        "machine": machine.name,
        "rows": len(rows) + len(given),
        "rows_per_second": round((len(rows) + len(given)) / seconds),
        "temperature": judged(machine, [each for each in told["incident.opened"] if each["kind"] == "temperature"]),
        "logins": caught(attempts, told["incident.opened"]),
        "hours": len(told["heat.closed"]),
        "late": len(told["heat.late"]) + len(told["users.late"]),
        "features_like_training": same,
    }
    if picture is not None:
        draw(picture, machine, told)
    return found


async def publish(running: Offline, made: Sequence[Event]) -> None:
    """Publish in their order."""
    for start in range(0, len(made), AT_ONCE):
        await running.door(Events).publish(running.ctx, made[start : start + AT_ONCE])


async def settled(events: Events, running: Offline) -> None:
    """Return when everything that was published, and all that came of it, is handled."""
    quiet = 0
    while quiet < 5:
        views = await events.consumers(running.ctx)
        quiet = 0 if any(view.behind or view.running or view.waiting for view in views) else quiet + 1
        await asyncio.sleep(0.05)


async def heard(events: Events, running: Offline) -> dict[str, list[Any]]:
    """The data of everything that the system told, by type."""
    types = ("heat.*", "users.*", "anomaly.*", "incident.*", "watch.end")
    found: dict[str, list[Any]] = {name: [] for name in ("incident.opened", "heat.closed", "heat.late", "users.late")}
    await events.publish(running.ctx, [Event.of("watch.end", "try_it", {})])
    async for each in events.follow(running.ctx, types=types, since="0"):
        if each.event.type == "watch.end":
            return found
        found.setdefault(each.event.type, []).append(each.event.json())
    return found


def judged(machine: Any, incidents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Incidents beside the labelled windows: how many windows were found, and what was a false alarm."""
    counts_from = machine.readings[0][0] + WARM
    windows = [each for each in machine.windows if counts_from <= each[0] <= machine.readings[-1][0]]
    moments = [datetime.fromisoformat(each["at"]) for each in incidents]
    moments = [at for at in moments if at >= counts_from]
    right = [at for at in moments if any(begin <= at <= end for begin, end in windows)]
    found = sum(any(begin <= at <= end for at in moments) for begin, end in windows)
    wrong = len(moments) - len(right)
    return {
        "incidents": len(moments),
        "windows": len(windows),
        "windows_found": found,
        "precision": round(len(right) / len(moments), 2) if moments else None,
        "false_alarms": wrong,
        "false_alarms_per_day": round(wrong / machine.days, 2),
    }


def caught(attempts: Sequence[Any], incidents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Which attacks became an incident of their kind, and how many incidents were about honest logins."""
    about: dict[str, set[str]] = {}
    for each in attempts:
        if each.attack:
            about.setdefault(each.attack, set()).add(each.address if each.attack == "spraying" else each.user)
    mine = [each for each in incidents if each["kind"] != "temperature"]
    right = [each for each in mine if each["about"] in about.get(each["kind"], set())]
    return {
        "attacks": sorted(about),
        "found": sorted({each["kind"] for each in right}),
        "incidents": len(mine),
        "false_alarms": len(mine) - len(right),
    }


async def like_training(
    running: Offline, app: Any, given: Sequence[Mapping[str, Any]], told: Mapping[str, Sequence[Any]]
) -> str:
    """Push the logins as a training set has them, and compare its features with those the stream had."""
    import io

    import pyarrow

    from stanchion.features import Row

    door = running.door(Features)
    rows = [Row(row["user"], row, datetime.fromisoformat(row["at"])) for row in given]
    await door.push(running.ctx, "login_habits", rows)
    scored = [*told.get("users.scored", ()), *told.get("users.anomaly", ())]
    at = pyarrow.array([datetime.fromisoformat(each["at"]) for each in scored], pyarrow.timestamp("us", tz="UTC"))
    spine = pyarrow.table({"user": [each["key"] for each in scored], "asked": at})
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, spine.schema) as writer:
        writer.write_table(spine)
    asked = door.historical(running.ctx, "login_habits_service", sink.getvalue(), time="asked", as_of="event")
    answer = pyarrow.ipc.open_stream(b"".join([piece async for piece in asked])).read_all().to_pylist()
    names = scored[0]["features"]
    same = sum(all(row[n] == each["features"][n] for n in names) for row, each in zip(answer, scored, strict=True))
    return f"{same} of {len(scored)}"


def draw(file: Path, machine: Any, told: Mapping[str, Sequence[Any]]) -> None:
    """The hours of the machine with its labelled windows and the incidents."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    hours = sorted(told["heat.closed"], key=lambda each: each["start"])
    times = [datetime.fromisoformat(each["start"]) for each in hours]
    figure = pyplot.figure(figsize=(10, 3.6), layout="constrained")
    axes: Any = figure.add_subplot()  # its types know no times, which it draws
    for number, (begin, end) in enumerate(machine.windows):
        axes.axvspan(begin, end, color="#f2c14e", alpha=0.45, lw=0, label="labelled as wrong" if number == 0 else None)
    low, high = ([each["values"][name] for each in hours] for name in ("least", "most"))
    axes.fill_between(times, low, high, color="#31708e", alpha=0.35, lw=0)
    axes.plot(times, [each["values"]["mean"] for each in hours], color="#1b4965", lw=0.8, label="mean of each hour")
    opened = [datetime.fromisoformat(each["at"]) for each in told["incident.opened"] if each["kind"] == "temperature"]
    for number, at in enumerate(opened):
        axes.axvline(at, color="#c1121f", lw=1.1, label="incident opened" if number == 0 else None)
    axes.set_ylabel("temperature")
    axes.set_title(machine.name)
    axes.legend(loc="lower left", fontsize=8)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int)
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    print(json.dumps(asyncio.run(main(asked.readings, asked.picture)), indent=2))
