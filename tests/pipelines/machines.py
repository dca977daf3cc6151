"""A system for workers on several machines: the stage tells where it runs, and holds until the test lets it go."""

from __future__ import annotations

import os
import time
from pathlib import Path

from sqlalchemy import Connection, text

from stanchion import System
from stanchion.pipelines import Step

PLACE = Path(os.environ.get("STANCHION_TEST_PLACE", "."))
LONGEST = 120.0
app = System("machines")


@app.stage()
def begin(sql: Connection, number: int) -> int:
    """An effect whose line in the journal is in its own commit."""
    sql.execute(text("INSERT INTO effects (number) VALUES (:number)"), {"number": number})
    return number


@app.stage()
def work(step: Step, number: int) -> int:
    """Tells which worker has it, and waits."""
    (PLACE / f"began-{os.environ['STANCHION_TEST_NAME']}-{number}-{time.monotonic_ns()}").touch()
    until = time.monotonic() + LONGEST
    while not (PLACE / "go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return number * 2


@app.pipeline("heavy", queue="heavy")
def heavy(number: int) -> int:
    """An effect, and a long stage."""
    return work(begin(number))


@app.pipeline("light", queue="light")
def light(number: int) -> int:
    """A stage of a queue that no worker takes."""
    return begin(number)
