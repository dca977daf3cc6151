"""An event over which processes end is given up at last; those around it are handled."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stanchion.core.context import Context
from stanchion.events import Commit, Event, HandlerSpec
from stanchion.testing.event_contract import event, eventually
from stanchion.testing.events import caller, running, sqlite_url

POISON, NUMBER = 7, 60
KILLED, MOST = 9, 20


def spec(folder: Path, attempts: int = 3) -> HandlerSpec:
    """A handler that notes each number in a file, and by one of them ends its process."""

    async def handle(ctx: Context, given: Event, commit: Commit) -> None:
        number = given.json()["n"]
        if number == POISON:
            await asyncio.sleep(0)  # the others begin, too
            os._exit(KILLED)
        with (folder / "handled").open("a") as file:
            file.write(f"{number}\n")

    return HandlerSpec(name="fragile", types=("test.*",), function=handle, attempts=attempts)


def handled(folder: Path) -> set[int]:
    """The numbers that have been handled; one may be handled twice if its process ended before that was stored."""
    return {int(each) for each in (folder / "handled").read_text().split()}


async def work(folder: Path, attempts: int) -> None:
    """Handle events until one is given up and no other is left."""
    async with running(sqlite_url(folder), spec(folder, attempts), lease_seconds=0.5) as events:
        await eventually(lambda: events.dead(caller()), lambda found: len(found) == 1)
        await eventually(lambda: asyncio.to_thread(handled, folder), lambda found: len(found) == NUMBER - 1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("attempts", [1, 4])
async def test_one_event_ends_processes_and_the_others_are_handled_all_the_same(attempts: int, tmp_path: Path) -> None:
    async with running(sqlite_url(tmp_path), spec(tmp_path), workers=False) as events:
        await events.publish(caller(), [event(number, key=f"k{number}") for number in range(NUMBER)])
    ends: list[int] = []
    while not ends or ends[-1] == KILLED:
        assert len(ends) <= MOST, "it is never given up"
        command = [sys.executable, __file__, str(tmp_path), str(attempts)]
        ended = await asyncio.to_thread(subprocess.run, command, check=False)
        ends.append(ended.returncode)
    assert ends[-1] == 0 and len(ends) > attempts
    async with running(sqlite_url(tmp_path), spec(tmp_path), workers=False) as events:
        [letter] = await events.dead(caller())
    assert letter.event.json() == {"n": POISON}
    assert "processes ended" in letter.error
    assert handled(tmp_path) == {number for number in range(NUMBER) if number != POISON}


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2])))
