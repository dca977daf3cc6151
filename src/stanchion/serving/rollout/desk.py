"""What people do with rollouts: start, look, pause, promote, take back. The rules of the registry hold throughout."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from ...core.clock import Clock
from ...core.context import Context, Rights, system_context
from ...core.errors import Conflict, FieldProblem, InvalidInput, NotAllowed, NotFound
from ...registry import ModelVersion, Registry
from ..contract import Rollout, RolloutPlan, RolloutReport, RolloutState
from . import evidence
from .conductor import Conductor, note
from .evidence import NAMES, NOTHING
from .machine import LIVE, Move, completed, share_now, told
from .metrics import RolloutMetrics
from .records import Record
from .store import RolloutStore

_NAME = 128
_TEXT = 2000


class RolloutDesk:
    """The calls of the contract; `alone`: development mode, where one person is enough for production."""

    def __init__(
        self,
        *,
        store: RolloutStore,
        conductor: Conductor,
        registry: Registry,
        clock: Clock,
        alone: bool,
        metrics: RolloutMetrics,
    ) -> None:
        self._store = store
        self._conductor = conductor
        self._registry = registry
        self._clock = clock
        self._alone = alone
        self._metrics = metrics

    async def start(self, ctx: Context, model: str, version: str, plan: RolloutPlan) -> Rollout:
        """Begin, or wait for approval."""
        _check_model(model)
        plan = completed(plan)
        control, candidate = await self._versions(ctx, model, version)
        self._check_pair(control, candidate, plan)
        waits = plan.approval == "before" and not self._alone
        state: RolloutState = "waiting" if waits else "running"
        now = self._clock.now()
        rollout = Rollout(
            id="rollout-" + secrets.token_hex(6),
            model=model,
            kind=plan.kind,
            state=state,
            control=control.version,
            candidate=candidate.version,
            plan=plan,
            step=0,
            percent=share_now(plan.kind, state, 0, plan),
            started_at=now,
            started_by=ctx.principal,
            changed_at=now,
            reason="waits for a second person" if waits else "started",
        )
        record = Record(ctx.tenant, rollout, now, now, ctx.rights, Rights())
        note(ctx, rollout)
        await self._store.begin(ctx, record)
        self._metrics.decided(rollout, ctx.principal)
        await self._conductor.changed()
        return rollout

    async def approve(self, ctx: Context, model: str) -> Rollout:
        """Let a waiting rollout begin."""
        record = await self._present(ctx, model, "waiting")
        if record.rollout.started_by == ctx.principal:
            raise NotAllowed(
                f"{ctx.principal} started this rollout and cannot approve it as well",
                next_step="Another person with the permission serving:rollout must approve it.",
            )
        rollout = replace(record.rollout, approved_by=ctx.principal)
        approved = replace(record, rollout=rollout, approved=ctx.rights)
        move = Move("running", 0, f"approved by {ctx.principal}")
        return await self._move(ctx, approved, move)

    async def pause(self, ctx: Context, model: str, reason: str) -> Rollout:
        """Everything to the present version, for now."""
        return await self._moved(ctx, model, "paused", reason or "paused", "running")

    async def resume(self, ctx: Context, model: str, reason: str) -> Rollout:
        """Go on."""
        return await self._moved(ctx, model, "running", reason or "resumed", "paused")

    async def abort(self, ctx: Context, model: str, reason: str) -> Rollout:
        """End it; the present version stays."""
        return await self._moved(ctx, model, "aborted", _needed(reason), *LIVE)

    async def promote(self, ctx: Context, model: str, text: str) -> Rollout:
        """Put the candidate into production, with the caller's own rights and the figures as evidence."""
        record = await self._present(ctx, model, *(LIVE - {"waiting"}), ended="finished")
        rollout = record.rollout
        figures = await self._figures(record)
        words = f"{_checked(text)}\n\n" if text else ""
        evidence_text = f"{words}Rollout {rollout.id} ({rollout.kind}) beside {rollout.control}: {figures}"
        asked = await self._registry.promote(
            ctx, model, rollout.candidate, to="production", evidence=evidence_text[:9000]
        )
        if asked.status == "done":
            move = Move("promoted", rollout.step, text or f"promoted by {ctx.principal}: {figures}")
        else:
            move = Move("pending", rollout.step, f"{ctx.principal} asked for it; a second person must promote it")
        return await self._move(ctx, record, move)

    async def roll_back(self, ctx: Context, model: str, reason: str) -> Rollout:
        """Take the candidate back from its share, or out of production."""
        record = await self._present(ctx, model, *LIVE, ended="promoted")
        rollout = record.rollout
        if rollout.state in LIVE:
            return await self._moved(ctx, model, "rolled_back", _needed(reason), *LIVE)
        present = await self._registry.resolve(ctx, model)
        if present.version == rollout.control:
            # Taken back in the registry already, perhaps by this very call before a crash: only this is to be told.
            move = Move("rolled_back", rollout.step, f"{present.version} is back: {_needed(reason)}")
            return await self._move(ctx, record, move)
        if present.version != rollout.candidate:
            raise Conflict(
                f"{present.version} is in production, not the {rollout.candidate} of this rollout",
                next_step="Roll that version back: `stanchion models rollback`.",
            )
        back = await self._registry.rollback(ctx, model, reason=_needed(reason))
        move = Move("rolled_back", rollout.step, f"{back.version} is back: {reason}")
        return await self._move(ctx, record, move)

    async def listed(self, ctx: Context, model: str, limit: int) -> Sequence[Rollout]:
        """The tenant's rollouts."""
        if not 1 <= limit <= 100:
            raise InvalidInput("limit must be 1 to 100", fields=[FieldProblem("$.limit", "Give 1 to 100")])
        return [record.rollout for record in await self._store.listed(ctx.tenant, model, limit)]

    async def report(self, ctx: Context, model: str, rollout: str) -> RolloutReport:
        """A rollout with its evidence."""
        record = await self._newest(ctx, model, rollout)
        found = record.rollout
        control, candidate = await self._conductor.totals(record)
        percent = found.plan.steps[found.step].percent
        compared = candidate.compared
        return RolloutReport(
            rollout=found,
            arms=evidence.arms(found, control, candidate),
            guards=evidence.judge(found.plan, control, candidate),
            effects=evidence.effects(found.plan, control, candidate),
            sample_ratio=evidence.sample_ratio(percent, control, candidate),
            compared=compared,
            disagreements=candidate.disagreements,
            mean_difference=candidate.difference / compared if compared else 0.0,
            dropped=candidate.dropped,
            differences=await self._store.differences(record),
            history=await self._store.history(record),
        )

    async def _moved(
        self, ctx: Context, model: str, state: RolloutState, reason: str, *states: RolloutState
    ) -> Rollout:
        record = await self._present(ctx, model, *states)
        move = Move(state, record.rollout.step, _checked(reason))
        if record.rollout.state == "pending":
            # Otherwise a second person could still wave through what was taken back: the step back rejects it.
            await self._registry.promote(ctx, model, record.rollout.candidate, to="dev", evidence=reason)
        return await self._move(ctx, record, move)

    async def _move(self, ctx: Context, record: Record, move: Move) -> Rollout:
        after = await self._conductor.move(ctx, record, move)
        await self._conductor.changed()
        return after.rollout

    async def _present(
        self, ctx: Context, model: str, *states: RolloutState, ended: RolloutState | None = None
    ) -> Record:
        """The newest rollout, which must be in one of these states."""
        record = await self._newest(ctx, model)
        if record.rollout.state not in (*states, ended):
            raise Conflict(f"the rollout of {model} is {record.rollout.state.replace('_', ' ')}")
        return record

    async def _newest(self, ctx: Context, model: str, rollout: str = "") -> Record:
        _check_model(model)
        record = await self._store.newest(ctx.tenant, model, rollout)
        if record is None:
            raise NotFound(f"there is no such rollout of {model}")
        return record

    async def _figures(self, record: Record) -> str:
        names = NAMES[record.rollout.kind]
        found = await self._store.totals(record, record.rollout.step)
        control, candidate = found.get(names.control, NOTHING), found.get(names.candidate, NOTHING)
        return f"{candidate.requests} calls; {told(evidence.judge(record.rollout.plan, control, candidate))}"

    async def _versions(self, ctx: Context, model: str, version: str) -> tuple[ModelVersion, ModelVersion]:
        # As the system: whoever may roll out need not be one that may read the registry.
        system = system_context(ctx.tenant, task="rollout")
        control = await self._registry.resolve(system, model)
        return control, await self._registry.resolve(system, f"{model}@{version}")

    def _check_pair(self, control: ModelVersion, candidate: ModelVersion, plan: RolloutPlan) -> None:
        named = f"{candidate.model} {candidate.version}"
        if candidate.version == control.version:
            raise Conflict(f"{named} is what answers already")
        if candidate.version.partition(".")[0] != control.version.partition(".")[0]:
            raise Conflict(
                f"{named} has another interface than {control.version}: it would refuse calls that are answered now",
                next_step="Give it a name of its own, or promote it once its callers have changed.",
            )
        if candidate.stage == "archived" or (candidate.stage == "dev" and not self._alone and plan.kind != "shadow"):
            raise Conflict(
                f"{named} is in stage {candidate.stage} and could not be promoted at the end",
                next_step="Promote it to staging first.",
            )
        if control.stage != "production" and plan.kind != "shadow":
            raise Conflict(
                f"no version of {candidate.model} is in production, so there is nothing to compare with",
                next_step="Promote a version first.",
            )


def _check_model(model: str) -> None:
    if not 0 < len(model) <= _NAME or "@" in model:
        raise InvalidInput(
            "a model is meant, without version or alias", fields=[FieldProblem("$.model", "Only a name")]
        )


def _needed(reason: str) -> str:
    if not reason.strip():
        raise InvalidInput("say why", fields=[FieldProblem("$.reason", "Required, and empty")])
    return _checked(reason)


def _checked(text: str) -> str:
    if len(text) > _TEXT or "\0" in text:
        raise InvalidInput(f"a reason has at most {_TEXT} characters", fields=[FieldProblem("$.reason", "Too long")])
    return text
