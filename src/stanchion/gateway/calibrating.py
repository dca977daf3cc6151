"""Cascades on labelled examples, for a service that makes the calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from ..core.context import Context
from .cascade.desk import Cascades
from .contract.calls import Ask, Reply
from .contract.cascade import CalibrationStep, Cascading, Example, KeptReport, Outcome, RouterReport


class Calibrating(Cascading):
    """Hands every question on, with the service's own `complete` for the calls."""

    def __init__(self, cascades: Cascades) -> None:
        self._cascades = cascades

    async def complete(self, ctx: Context, ask: Ask) -> Reply:
        """As the contract of Gateway has it."""
        raise NotImplementedError

    async def calibrate(
        self, ctx: Context, name: str, examples: Sequence[Example], *, floor: float, confidence: float = 0.95
    ) -> AsyncIterator[CalibrationStep]:
        steps = self._cascades.calibrate(ctx, name, examples, self.complete, floor=floor, confidence=confidence)
        async with aclosing(steps):
            async for step in steps:
                yield step

    async def train_router(self, ctx: Context, outcomes: Sequence[Outcome]) -> RouterReport:
        return await self._cascades.train_router(outcomes)

    async def cascade_reports(self, ctx: Context) -> Sequence[KeptReport]:
        return await self._cascades.reports(ctx)
