"""Rollouts that the system declares: one begins when a newer version reaches staging."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ...core.context import Context, Effect, system_context
from ...core.errors import Conflict, NotFound, StanchionError
from ...registry import Registry
from ..contract import RolloutPlan
from .desk import RolloutDesk
from .store import RolloutStore

log = logging.getLogger(__name__)


class DeclaredRollouts:
    """`plans` by model of the tenant that declared them. A version is begun with once, whatever came of it."""

    def __init__(
        self,
        plans: Mapping[str, RolloutPlan],
        *,
        tenant: str,
        store: RolloutStore,
        desk: RolloutDesk,
        registry: Registry,
    ) -> None:
        self._plans = plans
        self._tenant = tenant
        self._store = store
        self._desk = desk
        self._registry = registry
        self._settled: dict[str, str] = {}

    async def look(self) -> None:
        """Begin what is due."""
        for model, plan in self._plans.items():
            try:
                await self._one(model, plan)
            except (NotFound, Conflict):
                # Nothing is in staging or in production yet, or another rollout is under way: later.
                continue
            except StanchionError as error:
                log.warning("the declared rollout of %s does not begin: %s", model, error.detail)

    async def _one(self, model: str, plan: RolloutPlan) -> None:
        ctx = system_context(self._tenant, task="rollout")
        staged = await self._registry.resolve(ctx, f"{model}@staging")
        if self._settled.get(model) == staged.version:
            return
        present = await self._registry.resolve(ctx, f"{model}@production")
        # A version that was replaced goes back to staging: it is no new one.
        if _number(staged.version) > _number(present.version) and not await self._store.tried(
            self._tenant, model, staged.version
        ):
            await self._desk.start(_begun(ctx, model), model, staged.version, plan)
            log.info("the declared %s of %s %s begins", plan.kind, model, staged.version)
        self._settled[model] = staged.version


def _begun(ctx: Context, model: str) -> Context:
    effect = Effect(
        action="serving:rollout",
        kind="write",
        resource=f"Model::{model}",
        tenant=ctx.tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
    )
    return ctx.within(effect)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
