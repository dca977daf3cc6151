"""Rollouts and drills of one process, put together: what the front desk of serving holds of them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.clock import Clock
from ..core.storage import Database
from ..core.telemetry.metrics import Metrics
from ..registry import Registry
from .contract import RolloutPlan
from .drill.desk import DrillDesk
from .drill.faults import Faults
from .rollout.board import Board
from .rollout.conductor import Conductor, Holder, Outcomes, Pace
from .rollout.declared import DeclaredRollouts
from .rollout.desk import RolloutDesk
from .rollout.metrics import RolloutMetrics
from .rollout.mirror import Ask, Mirror
from .rollout.store import RolloutStore


@dataclass(frozen=True, slots=True)
class ReleaseLimits:
    """Seconds between two looks at the stored rollouts and drills, and for which one process leads; how many mirrored
    calls may wait, and the seconds that one may take."""

    poll: float = 0.5
    lease: float = 5.0
    mirrored: int = 64
    mirror_seconds: float = 5.0


class Releases:
    """`rollouts` and `drills` answer the contract's calls; `board` splits the traffic; `faults` strike the rungs."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        holder: Holder,
        board: Board,
        faults: Faults,
        ask: Ask,
        clock: Clock,
        development: bool,
        limits: ReleaseLimits,
        tenant: str,
        plans: Mapping[str, RolloutPlan],
        metrics: Metrics,
        outcomes: Outcomes | None = None,
    ) -> None:
        told = RolloutMetrics(metrics)
        store = RolloutStore(database, holder=secrets.token_hex(8))
        self.board = board
        self.drills = DrillDesk(database, faults, clock=clock)
        self.conductor = Conductor(
            store=store,
            board=board,
            holder=holder,
            registry=registry,
            clock=clock,
            pace=Pace(limits.poll, limits.lease),
            alone=development,
            refresh=self.drills.refresh,
            outcomes=outcomes,
            metrics=told,
        )
        self.mirror = Mirror(
            board, ask, clock=clock, waiting=limits.mirrored, seconds=limits.mirror_seconds, metrics=told
        )
        self.rollouts = RolloutDesk(
            store=store,
            conductor=self.conductor,
            registry=registry,
            clock=clock,
            alone=development,
            metrics=told,
        )
        if plans:
            declared = DeclaredRollouts(plans, tenant=tenant, store=store, desk=self.rollouts, registry=registry)
            self.conductor.begin_with(declared.look)

    async def start(self) -> None:
        """Take over what is stored, then follow it."""
        self.mirror.start()
        await self.conductor.start()

    async def stop(self) -> None:
        """Write what was counted, and end."""
        await asyncio.gather(self.mirror.stop(), self.conductor.stop())
