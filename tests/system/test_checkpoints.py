"""A second place for the audit log's checkpoints: what it lets begin, and what it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.errors import NotTrustworthy
from stanchion.core.security.contract import Audit, Keys
from stanchion.core.settings import HouseSettings
from stanchion.system.house import House

CTX = Context("default", "user:ada", Rights(roles=frozenset({"admin"})))


def settings(place: Path | None) -> HouseSettings:
    backend = {} if place is None else {"checkpoints": {"use": "local", "url": place.as_uri()}}
    return HouseSettings.model_validate({"modules": {"enabled": []}, "backend": backend})


async def opened(folder: Path, place: Path | None) -> House:
    house = await House.open(settings(place), folder, clock=SystemClock(), environment={})
    await house.start()
    return house


async def lived(folder: Path, place: Path | None) -> None:
    """One life of a process, in which something was changed."""
    house = await opened(folder, place)
    await house.door(Keys).create(CTX, roles=["viewer"], name="one")
    await house.close()


async def test_a_machine_without_checkpoints_begins_with_those_of_the_place(tmp_path: Path) -> None:
    folder, place = tmp_path / "data", tmp_path / "place"
    await lived(folder, place)
    (folder / "audit" / "checkpoints.log").unlink()
    await lived(folder, place)
    house = await opened(folder, place)
    report = await house.door(Audit).verify(CTX)
    await house.close()
    assert not report.faults
    assert (folder / "audit" / "checkpoints.log").stat().st_size


async def test_without_such_a_place_it_does_not_begin(tmp_path: Path) -> None:
    await lived(tmp_path / "data", None)
    (tmp_path / "data" / "audit" / "checkpoints.log").unlink()
    with pytest.raises(NotTrustworthy):
        await opened(tmp_path / "data", None)


async def test_a_system_that_runs_already_may_be_given_a_place(tmp_path: Path) -> None:
    folder, place = tmp_path / "data", tmp_path / "place"
    await lived(folder, None)
    await lived(folder, place)
    assert list(place.rglob("*.note"))


async def test_a_past_that_was_taken_back_is_found_by_the_place_alone(tmp_path: Path) -> None:
    folder, place = tmp_path / "data", tmp_path / "place"
    await lived(folder, place)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    await lived(folder, place)
    for path in folder.rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    with pytest.raises(NotTrustworthy, match="a checkpoint is signed for"):
        await opened(folder, place)
