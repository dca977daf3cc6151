"""The judge of every bus: what was attempted, acknowledged and done, while processes are killed and frozen.

Publishers and workers are processes of their own. A publisher writes down what it is about to publish and what was
acknowledged; a worker's handler inserts a row in the transaction of its commit. The broker and the database may be
killed, frozen and started again among them, where they are servers of the trial's own. At the end the rows are
compared: acknowledged and not done is lost, done twice is duplicated, never attempted is unexpected, and within a key
the order of the rows is the order of publication. After Jepsen's checker `total-queue` (Kyle Kingsbury).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, text

from stanchion.core.context import Context, system_context
from stanchion.core.errors import StanchionError
from stanchion.core.storage.open import open_database
from stanchion.events import Commit, Event, HandlerSpec

from .events import caller, running
from .trial import Plan, Server, Staff, Verdict, judge

__all__ = ["Plan", "Server", "Verdict", "judge", "play"]

CONSUMER = "judged"
_CTX = system_context("acme", task="judge")


async def play(plan: Plan, folder: Path, servers: Sequence[Server] = ()) -> Verdict:
    """Publish, kill, freeze and start again until all is done, or the patience after the last kill is over.

    `servers` run; they are the brokers and databases of the plan that are killed and frozen with the others.
    """
    began = time.monotonic()
    database = open_database(plan.url)
    await database.write(_CTX, _make_table)
    order = folder / "plan.json"
    order.write_text(json.dumps({name: getattr(plan, name) for name in Plan.__slots__}))
    staff = Staff(plan, order, folder, servers)
    try:
        await staff.begin()
        disturbed = await staff.torment()
        async with asyncio.timeout(plan.patience):
            await staff.finish_publishing()
        wanted = staff.acknowledged()
        until = time.monotonic() + plan.patience
        while (await database.read(_count)) < len(wanted) and time.monotonic() < until:
            await asyncio.sleep(0.2)
            staff.replace_dead()
        # Whoever would do something twice gets the time for it: more than a lease, with all of them awake.
        await asyncio.sleep(2 * plan.lease_seconds)
        verdict = judge(staff.attempted(), staff.acknowledged(), await database.read(_rows))
        verdict.kills, verdict.freezes, verdict.outages = disturbed.kills, disturbed.freezes, disturbed.outages
        verdict.seconds = time.monotonic() - began
        return verdict
    finally:
        await staff.end()
        await database.close()


def _make_table(connection: Connection) -> None:
    number = "BIGSERIAL" if connection.dialect.name == "postgresql" else "INTEGER"
    connection.execute(text(f"CREATE TABLE effects (number {number} PRIMARY KEY, name TEXT NOT NULL)"))


def _count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM effects")).scalar_one())


def _rows(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute(text("SELECT name FROM effects ORDER BY number"))]


async def work(plan: Plan, folder: Path) -> None:
    """A worker: one row for each event, in the transaction of its commit."""

    async def handle(ctx: Context, event: Event, commit: Commit) -> None:
        commit.write(lambda c: _insert(c, event.id))

    spec = HandlerSpec(name=CONSUMER, types=("judged.*",), function=handle, attempts=50, base=0.05, maximum=0.5)
    async with running(plan.url, spec, durable=True, lease_seconds=plan.lease_seconds, **plan.settings):
        (folder / "ready").touch()
        for _ in count():
            await asyncio.sleep(1)
            if os.getppid() == 1:
                return  # whoever plays has ended, and nobody would end this worker


def _insert(connection: Connection, name: str) -> None:
    connection.execute(text("INSERT INTO effects (name) VALUES (:name)"), {"name": name})


async def publish(plan: Plan, folder: Path, number: int) -> None:
    """A publisher: its keys in turn; what is not acknowledged is published again under the same ids, and in order."""
    attempted = _told(folder / f"attempted-{number}.txt")
    acknowledged = _told(folder / f"acknowledged-{number}.txt")
    keys = [key for key in range(plan.keys) if key % plan.publishers == number]
    mine = [f"{keys[n % len(keys)]}:{n // len(keys)}" for n in range(plan.events // plan.publishers)]
    left = [name for name in mine if name not in acknowledged]
    ctx = caller()
    with (
        (folder / f"attempted-{number}.txt").open("a") as tries,
        (folder / f"acknowledged-{number}.txt").open("a") as receipts,
    ):
        async with running(plan.url, durable=True, workers=False, **plan.settings) as bus:
            for start in range(0, len(left), plan.at_once):
                names = left[start : start + plan.at_once]
                _note(tries, [name for name in names if name not in attempted])
                events = [
                    Event(type="judged.sent", source="/judge", id=name, subject=name.split(":")[0]) for name in names
                ]  # fmt: skip
                while True:
                    try:
                        await bus.publish(ctx, events)
                        break
                    except StanchionError:
                        await asyncio.sleep(0.2)
                _note(receipts, names)
                await asyncio.sleep(plan.pause)


def _told(path: Path) -> set[str]:
    if not path.exists():
        return set()
    whole = path.read_text()
    if whole and not whole.endswith("\n"):
        # Cut by a kill in the middle of a line: what follows must not be written behind it.
        whole = whole[: whole.rfind("\n") + 1]
        path.write_text(whole)
    return set(whole.split("\n")) - {""}


def _note(file: IO[str], names: Sequence[str]) -> None:
    file.write("".join(f"{name}\n" for name in names))
    file.flush()


def main() -> None:
    """Run as one of the staff: `work` or `publish`, the plan's file, and which one it is."""
    role, order, number = sys.argv[1:4]
    path = Path(order)
    plan = Plan(**json.loads(path.read_text()))
    if os.getppid() == 1:
        return  # whoever plays has ended
    asyncio.run(work(plan, path.parent) if role == "work" else publish(plan, path.parent, int(number)))


if __name__ == "__main__":
    main()
