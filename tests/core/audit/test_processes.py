"""Several processes, and processes that are killed: the log stays whole, and nothing acknowledged is lost."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from stanchion.core.context import Context
from stanchion.core.security.signing import Signer

Rig = Any  # the fixture's type lives in conftest.py, which tests cannot import
KILLS = [
    pytest.param(20, marks=pytest.mark.timeout(260)),
    pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(2060)]),
]


def start(url: str, folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("writer.py")), url, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run_at_once(url: str, folder: Path, count: int, names: Sequence[str]) -> None:
    children = [start(url, folder, name, count) for name in names]
    for child in children:
        said = child.communicate(timeout=100)[0].split()
        assert child.returncode == 0
        assert len(said) == count + 2


def kill_after(url: str, folder: Path, name: str, lines: int, spins: int) -> set[str]:
    """What a child had acknowledged when it was killed, some time after its so-many-th line."""
    child = start(url, folder, name, 100_000)
    assert child.stdout is not None
    said = [child.stdout.readline().strip() for _ in range(lines)]
    for _ in range(spins):  # a moment shorter than any sleep
        pass
    child.kill()
    said += child.stdout.read().split()
    child.stdout.close()
    assert child.wait() == -9
    return {line for line in said if line.startswith(name)}


def resources(connection: Connection) -> tuple[set[str], set[str]]:
    things = connection.execute(text("SELECT id FROM things")).scalars()
    bodies = connection.execute(text("SELECT body FROM audit_events")).scalars()
    return set(things), {bytes(body).split(b'"resource":"')[1].split(b'"')[0].decode() for body in bodies}


async def whole(rig: Rig, ctx: Context) -> set[str]:
    """The things there are, each with its event, in a log without a fault."""
    report = await rig.log.verify(ctx)
    assert report.faults == ()
    things, told = await rig.db.read(resources)
    assert things == told
    assert report.events == len(things)
    return set(things)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_two_processes_append_to_one_log(
    request: pytest.FixtureRequest, tmp_path: Path, open_rig: Any, ctx: Context, engine: str
) -> None:
    url = f"sqlite://{tmp_path}/audit.db" if engine == "sqlite" else request.getfixturevalue("postgres_url")
    run_at_once(url, tmp_path, 300, ["one", "two"])
    rig = await open_rig(url, signer=Signer.load_or_create(tmp_path / "audit.key"), heal=False)
    assert len(await whole(rig, ctx)) == 600
    assert (await rig.log.verify(ctx)).covered == 600


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("seed", [20_261_121])
async def test_a_killed_process_leaves_a_whole_log(
    tmp_path: Path, open_rig: Any, ctx: Context, seed: int, kills: int
) -> None:
    url = f"sqlite://{tmp_path}/audit.db"
    moments = random.Random(seed)
    acknowledged: set[str] = set()
    for number in range(kills):
        lines = moments.choice([1, 2, 3, moments.randrange(4, 50), moments.randrange(50, 500)])
        acknowledged |= kill_after(url, tmp_path, f"n{number}", lines, moments.randrange(100_000))
        if number == 0 and not acknowledged:
            run_at_once(url, tmp_path, 1, ["first"])  # the tables are there from now on
            acknowledged.add("first-0")
        signer = Signer.load_or_create(tmp_path / "audit.key")
        rig = await open_rig(url, signer=signer, heal=False)
        assert acknowledged <= await whole(rig, ctx)  # before anything is repaired
        await rig.log.heal()
        report = await rig.log.verify(ctx)
        assert (report.ok, report.covered) == (True, report.events)
        await rig.close()
    assert len(acknowledged) > kills
