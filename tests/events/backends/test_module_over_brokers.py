"""The whole module keeps its contract where events lie on a broker, and loses nothing while its workers are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion.testing.event_contract import EventsSuite, Opens
from stanchion.testing.events import running, sqlite_url
from stanchion.testing.total_queue import Plan, play


class TestBroker(EventsSuite):
    @pytest.fixture
    def opens(self, kind: str, broker, tmp_path: Path) -> Opens:
        url = sqlite_url(tmp_path)
        return lambda *declared, **more: running(url, *declared, **{"bus": kind, "url": broker.url, **more})


@pytest.mark.soak
@pytest.mark.timeout(3_000)
async def test_the_module_over_a_broker_holds_through_sixty_kills(kind: str, broker, tmp_path: Path) -> None:
    settings = {"bus": kind, "url": broker.url}
    plan = Plan(
        url=sqlite_url(tmp_path), events=100_000, keys=200, workers=4, kills=60, at_once=100, patience=900.0,
        settings=settings,
    )  # fmt: skip
    verdict = await play(plan, tmp_path)
    assert verdict.passed, verdict
    assert verdict.acknowledged == verdict.done == 100_000
