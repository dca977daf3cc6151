"""The contract of Training as tests: subclass `TrainingSuite` and give it a door over a declared model `suite`.

The door's system must belong to the tenant `t1`; `suite` must train within the suite's patience, and everybody must
be permitted all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.training import Training, TrainingEvent

STAGES = ("data", "split", "fitted", "measured", "exported")


def caller(tenant: str = "t1") -> Context:
    """A caller with every right."""
    return Context(tenant=tenant, principal="ada", rights=Rights(frozenset({"admin"}), frozenset({"*"})))


async def every(events: Any) -> list[TrainingEvent]:
    """All events of a training."""
    return [event async for event in events]


class TrainingSuite:
    """What every implementation of Training does."""

    @pytest.fixture
    def training(self) -> Training:
        raise NotImplementedError("give the suite a door over the declared model `suite`")

    async def test_the_last_event_carries_the_report(self, training: Training) -> None:
        events = await every(training.train(caller(), "suite"))
        assert [each.stage for each in events] == ["started", *STAGES, "registered"]
        assert [each.report is not None for each in events] == [False] * 6 + [True]
        report = events[-1].report
        assert report is not None
        assert (report.model, report.version) == ("suite", "1.0.0")
        assert 0.5 < report.roc_auc <= 1
        assert sum(each.rows for each in report.reliability) == report.test_rows

    async def test_fractions_rise_from_nothing_to_all(self, training: Training) -> None:
        fractions = [each.fraction for each in await every(training.train(caller(), "suite"))]
        assert (fractions[0], fractions[-1]) == (0.0, 1.0)
        assert fractions == sorted(fractions)

    async def test_declared_models_are_named(self, training: Training) -> None:
        assert "suite" in await training.declared(caller())
        assert list(await training.declared(caller())) == sorted(await training.declared(caller()))

    async def test_what_is_not_declared_is_not_found(self, training: Training) -> None:
        with pytest.raises(NotFound):
            await every(training.train(caller(), "nowhere"))

    async def test_another_tenant_finds_nothing_to_train(self, training: Training) -> None:
        assert list(await training.declared(caller("t2"))) == []
        with pytest.raises(NotFound):
            await every(training.train(caller("t2"), "suite"))

    async def test_a_source_must_be_a_file(self, training: Training, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput):
            await every(training.train(caller(), "suite", source=str(tmp_path / "absent.csv")))

    async def test_a_model_is_trained_once_at_a_time_and_leaving_makes_room(self, training: Training) -> None:
        async with aclosing(_closable(training.train(caller(), "suite"))) as events:
            assert (await anext(events)).stage == "started"
            with pytest.raises(Conflict):
                await every(training.train(caller(), "suite"))
        async with asyncio.timeout(240):
            while True:
                try:
                    assert (await every(training.train(caller(), "suite")))[-1].stage == "registered"
                    return
                except Conflict:
                    # A far door hears of the leaving a moment later.
                    await asyncio.sleep(0.01)


def _closable(events: Any) -> AsyncGenerator[TrainingEvent, None]:
    # A door's streams are generators, near or far; the contract promises an iterator only.
    found: AsyncGenerator[TrainingEvent, None] = events
    return found
