"""The watch over a machine and over logins: what it finds, and that its features are those of a training set."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "anomaly_watch"


@pytest.fixture
def try_it(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("try_it", "series", "incidents"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("try_it")


async def test_made_up_faults_and_attacks_become_incidents(
    try_it: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STANCHION_TEST_DATA", raising=False)
    found = await try_it.main(readings=2_600, picture=tmp_path / "watch.svg")
    assert found["machine"] == "a made-up machine"
    assert found["temperature"]["windows"] == found["temperature"]["windows_found"] == 1
    assert found["temperature"]["false_alarms"] <= 2
    assert found["logins"]["found"] == found["logins"]["attacks"] == ["guessing", "spraying", "two_places"]
    assert found["logins"]["false_alarms"] == 0
    assert found["late"] == 0
    same, _, whole = found["features_like_training"].partition(" of ")
    assert same == whole and int(whole) > 900
    assert (tmp_path / "watch.svg").read_text().startswith("<?xml")
