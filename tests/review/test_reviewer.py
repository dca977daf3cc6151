"""The made-up reviewer decides what a system under test asks."""

from __future__ import annotations

import pytest

from stanchion import System
from stanchion.testing import offline
from stanchion.testing.reviewers import reviewer


async def test_a_system_that_asks_people_is_tested_without_any() -> None:
    app = System("refunds")
    desk = app.review("refunds")
    async with offline(app) as running:
        async with reviewer(running, lambda case: {"verdict": "edit", "value": case.shown["input"] / 2}) as settled:
            answer = await desk.ask(running.ctx, key="r1", given=120, proposal=120)
        assert answer.value == 60 and [each.verdict for each in settled] == ["edit"]
        opened = await desk.open(running.ctx, given=1, proposal=1)
        assert opened.item is not None and opened.created
        waiting = await desk.ask(running.ctx, key="r2", given=1, proposal=1, timeout=0)
        assert waiting.state == "pending"


async def test_an_error_of_the_judge_is_not_hidden() -> None:
    app = System("refunds")
    desk = app.review("refunds")
    async with offline(app) as running:
        await desk.open(running.ctx, given=1, proposal=1)
        with pytest.raises(ZeroDivisionError):
            async with reviewer(running, lambda case: {"value": 1 / 0}):
                await desk.ask(running.ctx, key="r", given=2, proposal=2, timeout=1)
