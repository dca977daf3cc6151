"""Drills: a rung is made to fail on purpose, for a while, so that the ladder below it is seen to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action

DrillMode = Literal["error", "slow", "hang"]


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill: `share` of the calls of a rung fail, take `delay` seconds longer, or hang until their limit.

    It ends by itself at `ends`, in every process, whether or not the database can be reached by then.
    """

    id: str
    model: str
    rung: str
    mode: DrillMode
    share: float
    delay: float
    begins: datetime
    ends: datetime
    begun_by: str


class Drills(Protocol):
    """Faults on purpose, for the caller's tenant. Of the built-in roles only `admin` may."""

    @action("serving:drill", effect="write", resource="Model", by="model")
    async def begin_drill(
        self,
        ctx: Context,
        model: str,
        rung: str,
        *,
        mode: DrillMode = "error",
        share: float = 1.0,
        seconds: float = 30.0,
        delay: float = 1.0,
    ) -> Drill:
        """Begin, for 1 to 600 seconds; all processes follow within the poll interval.

        A rung may have one drill at a time: a new one replaces it. Raises InvalidInput.
        """
        ...

    @action("serving:drill", effect="write", resource="Model", by="model")
    async def end_drills(self, ctx: Context, model: str) -> int:
        """End the model's drills now; how many there were."""
        ...

    @action("serving:read", effect="read", resource="Model")
    async def drills(self, ctx: Context, *, limit: int = 50) -> Sequence[Drill]:
        """Drills, those still running first, then the newest first, at most 100."""
        ...
