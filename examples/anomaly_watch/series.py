"""The temperatures: of a real machine where its file is given, else of a made-up one; and a day of made-up logins."""

from __future__ import annotations

import csv
import json
import math
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAB = "machine_temperature_system_failure.csv"


@dataclass(frozen=True)
class Series:
    """Readings in order, and the stretches in which something was wrong with the machine."""

    name: str
    readings: list[tuple[datetime, float]]
    windows: list[tuple[datetime, datetime]]

    @property
    def days(self) -> float:
        """How long it lasts."""
        return (self.readings[-1][0] - self.readings[0][0]) / timedelta(days=1)


def temperatures(number: int | None = None) -> Series:
    """The Numenta Anomaly Benchmark's machine from the folder $STANCHION_TEST_DATA/nab, or a made-up one."""
    folder = Path(os.environ.get("STANCHION_TEST_DATA", "")) / "nab"
    found = _read(folder) if "STANCHION_TEST_DATA" in os.environ and (folder / NAB).is_file() else _made()
    return Series(found.name, found.readings[:number], found.windows)


def _read(folder: Path) -> Series:
    with (folder / NAB).open() as file:
        readings = [(_moment(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    windows = json.loads((folder / "combined_windows.json").read_text())[f"realKnownCause/{NAB}"]
    return Series("a real machine (NAB)", readings, [(_moment(begin), _moment(end)) for begin, end in windows])


def _made() -> Series:
    chance, start = random.Random(11), datetime(2026, 1, 1, tzinfo=UTC)
    bad = {8: (-35.0, 6), 21: (22.0, 4)}
    readings, drift = [], 0.0
    for step in range(30 * 288):
        at = start + timedelta(minutes=5 * step)
        drift = 0.999 * drift + chance.gauss(0, 0.12)
        value = 80 + 4 * math.sin(2 * math.pi * step / 288) + drift + chance.gauss(0, 0.8)
        off, hours = bad.get(step // 288, (0.0, 0))
        if off and step % 288 < hours * 12:
            value += off
        readings.append((at, value))
    windows = [(start + timedelta(days=day), start + timedelta(days=day, hours=h + 12)) for day, (_, h) in bad.items()]
    return Series("a made-up machine", readings, windows)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Attempt:
    """One login; `attack` is what it is part of, empty for an honest one."""

    user: str
    at: datetime
    address: str
    country: str
    failed: int
    attack: str = ""


def logins(until: datetime, *, people: int = 40, each: int = 25) -> list[Attempt]:
    """Six hours of logins up to a moment, in the order of time: people who err now and then, and three attacks."""
    chance = random.Random(23)
    start = until - timedelta(hours=6)
    found, homes = [], []
    for person in range(people):
        country, address = chance.choice(["DE", "FR", "PL"]), f"10.0.{person}.1"
        homes.append(country)
        for _ in range(each):
            at = start + timedelta(seconds=chance.uniform(0, 6 * 3600))
            found.append(Attempt(f"user{person:02}", at, address, country, int(chance.random() < 0.08)))
    for number in range(30):  # one password after another
        at = start + timedelta(hours=4, seconds=10 * number)
        found.append(Attempt("user07", at, "10.0.7.1", homes[7], 1, "guessing"))
    for number in range(3):  # the same user, a continent away
        at = start + timedelta(hours=5, seconds=40 * number)
        found.append(Attempt("user21", at, "10.9.9.9", "BR", 0, "two_places"))
    for number in range(people):  # one password, one user after another, each from its own country
        at = start + timedelta(hours=5, minutes=20, seconds=6 * number)
        found.append(Attempt(f"user{number:02}", at, "10.66.6.6", homes[number], 1, "spraying"))
    return sorted(found, key=lambda attempt: attempt.at)
