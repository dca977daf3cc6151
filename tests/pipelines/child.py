"""A worker process over a given database, to be killed: a line of twelve stages whose effects can be counted."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from sqlalchemy import Connection, text

from stanchion.core.clock import SystemClock
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.pipelines import Step
from stanchion.pipelines.backends.tables import SCHEMA
from stanchion.testing.pipelines import Declared, pipeline_service

app = Declared()
FOLDER = Path(sys.argv[2]) if __name__ == "__main__" else Path()


@app.stage()
def even(sql: Connection, number: int, at: int) -> int:
    """An effect in the house's database, in the transaction of the journal."""
    sql.execute(text("INSERT INTO effects (at, number) VALUES (:at, :number)"), {"at": at, "number": number})
    return number * 3 + at


@app.stage()
def odd(step: Step, number: int, at: int) -> int:
    """An effect outside: a file under the step's key, which is the same at each attempt."""
    time.sleep(0.01)
    (FOLDER / step.key.replace("/", "-")).write_text(str(number))
    return number + at


@app.stage()
def slow(step: Step, seconds: float) -> int:
    """Tells that it began, waits, and answers."""
    (FOLDER / f"began-{step.attempt}-{time.time_ns()}").write_text(step.key)
    time.sleep(seconds)
    return 1


@app.stage()
def again(sql: Connection, number: int) -> int:
    """An effect after the slow stage."""
    sql.execute(text("INSERT INTO effects (at, number) VALUES (100, :number)"), {"number": number})
    return number + 1


@app.pipeline("line")
def line(start: int) -> int:
    """Twelve stages, one after the other."""
    found = start
    for at in range(6):
        found = even(odd(found, at), at)
    return found


@app.pipeline("held")
def held(seconds: float) -> int:
    """A stage that takes a while, and one after it."""
    return again(slow(seconds))


async def main(url: str, lease: float) -> None:
    database = open_database(url, durable=False)
    await database.prepare(SCHEMA)
    service = await pipeline_service(
        database, open_blobs((FOLDER / "blobs").as_uri()), app, clock=SystemClock(), lease=lease, poll=0.05
    )
    await service.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.sleep(3_600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[3])))
