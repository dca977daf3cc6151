"""The whole module keeps its contract where events lie on a broker, and loses nothing while everything is killed.

With each kind its workers and publishers are killed and frozen, and so are the servers that are below it: the broker
where events lie, and the PostgreSQL that holds the module's state.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.errors import Unavailable
from stanchion.core.storage.open import open_database
from stanchion.events import stage
from stanchion.testing.event_contract import EventsSuite, Opens, Seen, event, eventually
from stanchion.testing.events import caller, running, sqlite_url
from stanchion.testing.total_queue import Plan, Verdict, play

from .servers import Kind, Server

SOAK: dict[str, Any] = {
    "events": 100_000, "keys": 200, "workers": 4, "kills": 60, "at_once": 100, "pause": 0.15, "patience": 900.0
}  # fmt: skip
SAMPLE: dict[str, Any] = {
    "events": 600, "keys": 12, "workers": 2, "kills": 5, "at_once": 5, "pause": 0.1, "patience": 200.0
}  # fmt: skip
Starts = Callable[[Kind], Server]


class TestBroker(EventsSuite):
    @pytest.fixture
    def opens(self, kind: str, broker: Server, tmp_path: Path) -> Opens:
        url = sqlite_url(tmp_path)
        return lambda *declared, **more: running(url, *declared, **{"bus": kind, "url": broker.url, **more})


@pytest.mark.timeout(300)
async def test_the_module_starts_without_its_broker_says_so_and_goes_on_when_it_is_back(
    kind: Kind, broker: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.kill()
    seen = Seen()
    url = sqlite_url(tmp_path)
    database = open_database(url)
    async with running(url, seen.spec(), bus=kind, url=broker.url) as events:
        assert "does not answer" in caplog.text
        with pytest.raises(Unavailable):
            await events.publish(caller(), [event(1)])
        # What a change stages meanwhile is handed on to the new consumer, too.
        await database.write(caller(), lambda c: stage(c, caller(), [event(2)]))
        broker.start()

        async def published() -> bool:
            try:
                await events.publish(caller(), [event(1)])
            except Unavailable:
                return False
            return True

        await eventually(published, bool)
        assert sorted(await seen.until(2)) == [("k", 1), ("k", 2)]
    await database.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["nats", "redis", "kafka"])
async def test_the_module_over_a_broker_holds_through_a_few_kills_of_both(
    kind: Kind, server: Starts, tmp_path: Path
) -> None:
    await _over_a_broker(SAMPLE, kind, server, tmp_path)


@pytest.mark.timeout(600)
async def test_the_module_holds_while_its_database_server_is_killed(server: Starts, tmp_path: Path) -> None:
    await _over_postgres(SAMPLE, server, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("kind", ["nats", "redis", "kafka"])
async def test_the_module_over_a_broker_holds_through_sixty_kills_of_both(
    kind: Kind, server: Starts, tmp_path: Path
) -> None:
    await _over_a_broker(SOAK, kind, server, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
async def test_the_module_holds_through_sixty_kills_of_its_workers_and_database(server: Starts, tmp_path: Path) -> None:
    await _over_postgres(SOAK, server, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
async def test_the_module_holds_while_broker_database_and_workers_are_killed(server: Starts, tmp_path: Path) -> None:
    broker, database = server("nats"), server("postgres")
    plan = Plan(url=database.url, settings={"bus": "nats", "url": broker.url}, **SOAK)
    _passed(plan, await play(plan, tmp_path, [broker, database]))


async def _over_a_broker(form: dict[str, Any], kind: Kind, server: Starts, folder: Path) -> None:
    broker = server(kind)
    plan = Plan(url=sqlite_url(folder), settings={"bus": kind, "url": broker.url}, **form)
    _passed(plan, await play(plan, folder, [broker]))


async def _over_postgres(form: dict[str, Any], server: Starts, folder: Path) -> None:
    database = server("postgres")
    plan = Plan(url=database.url, **form)
    _passed(plan, await play(plan, folder, [database]))


def _passed(plan: Plan, verdict: Verdict) -> None:
    print(
        f"{plan.settings.get('bus', 'database')}: {verdict.done} events in {verdict.seconds:.0f} s, {verdict.kills}"
        f" killed, {verdict.freezes} frozen, {verdict.outages} outages of servers"
    )
    assert verdict.passed, verdict
    assert verdict.kills + verdict.freezes + verdict.outages == plan.kills
    assert verdict.outages > 0, "no server was away: this trial would not have noticed what that does"
    assert verdict.attempted == verdict.acknowledged == verdict.done == plan.events
