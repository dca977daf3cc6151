"""The rules of a sidecar: the flag, then the model within its time, then the guard; if in doubt, the base value."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from ...core.clock import Clock
from ...core.context import Context, system_context
from ...core.errors import FieldProblem, InvalidInput, Misconfigured, NotFound, StanchionError, Unavailable
from ...core.flags import Flags
from ...core.telemetry.metrics import Metrics
from ...core.values import Json
from ..contract import Advice, AdviceReason, Predictions, Settled, SidecarReport, SidecarSpec
from .guard import as_float, is_number, judged
from .journal import AdviceJournal

Predict = Callable[[Context, str, Sequence[Mapping[str, Json]]], Awaitable[Predictions]]
_MOST_HANGING = 64
_MOST_SETTLED = 1_000
_RESERVE = 0.005


@dataclass(frozen=True, slots=True)
class _Found:
    """What asking the model came to."""

    reason: AdviceReason
    detail: str = ""
    candidate: Json = None
    confidence: float | None = None
    version: str = ""


class SidecarService:
    """The sidecars of one system, for its tenant."""

    def __init__(
        self,
        *,
        specs: Sequence[SidecarSpec],
        models: Sequence[str],
        predict: Predict,
        flags: Flags,
        journal: AdviceJournal,
        metrics: Metrics,
        clock: Clock,
        owner: str,
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        if len(self._specs) < len(specs):
            raise Misconfigured("a sidecar is declared twice")
        for spec in specs:
            if spec.model.partition("@")[0] not in models:
                raise Misconfigured(f"the sidecar {spec.name} asks the model {spec.model}, which is not declared")
            if not 0 < spec.limit <= 30:
                raise Misconfigured(f"the limit of the sidecar {spec.name} must be up to 30 seconds")
        self._predict = predict
        self._flags = flags
        self._journal = journal
        self._clock = clock
        self._owner = owner
        self._count = metrics.counter("stanchion_sidecar_total", "Advices of sidecars", ("sidecar", "reason"))
        self._seconds = metrics.histogram("stanchion_sidecar_seconds", "Time to an advice", ("sidecar",))
        self._hanging: set[asyncio.Task[_Found]] = set()

    async def start(self) -> None:
        """Begin to keep advices."""
        await self._journal.start()

    async def stop(self) -> None:
        """Let go of models that hang, and store what waits."""
        for task in tuple(self._hanging):
            task.cancel()
        await self._journal.stop()

    async def advise(
        self,
        ctx: Context,
        sidecar: str,
        features: Mapping[str, Json],
        base: Json,
        unit: str,
        attributes: Mapping[str, Json] | None,
    ) -> Advice:
        """See `Sidecars.advise`."""
        spec = self._find(ctx, sidecar)
        started = self._clock.monotonic()
        found = await self._in_time(ctx, spec, self._asked(ctx, spec, features, base, unit, attributes))
        seconds = self._clock.monotonic() - started
        ai = found.reason == "ai"
        advice = Advice(
            request_id=ctx.request_id,
            sidecar=sidecar,
            source="ai" if ai else "base",
            reason=found.reason,
            value=found.candidate if ai else base,
            base=base,
            candidate=found.candidate,
            confidence=found.confidence,
            version=found.version,
            milliseconds=round(seconds * 1000, 3),
            detail=found.detail,
        )
        self._count.inc(sidecar, found.reason)
        self._seconds.observe(seconds, sidecar)
        self._journal.note(ctx.tenant, advice)
        return advice

    async def settle(self, ctx: Context, sidecar: str, outcomes: Sequence[Settled]) -> int:
        """See `Sidecars.settle`."""
        self._find(ctx, sidecar)
        if not 1 <= len(outcomes) <= _MOST_SETTLED:
            raise InvalidInput(f"give 1 to {_MOST_SETTLED} outcomes", fields=[FieldProblem("$.outcomes", "Too many")])
        strange = [
            FieldProblem(f"$.outcomes[{place}].outcome", "Not a finite number")
            for place, each in enumerate(outcomes)
            if not math.isfinite(each.outcome)
        ]
        if strange:
            raise InvalidInput("an outcome is no finite number", fields=strange[:50])
        known = await self._journal.settle(ctx, sidecar, outcomes)
        if ctx.effect is not None:
            ctx.effect.note(sidecar=sidecar, outcomes=known)
        return known

    async def reports(self, ctx: Context) -> Sequence[SidecarReport]:
        """See `Sidecars.sidecars`."""
        if ctx.tenant != self._owner:
            return ()
        return [await self._journal.report(ctx.tenant, self._specs[name], 7.0) for name in sorted(self._specs)]

    async def report(self, ctx: Context, sidecar: str, days: float) -> SidecarReport:
        """See `Sidecars.sidecar`."""
        spec = self._find(ctx, sidecar)
        if not 0 < days <= 3650:
            raise InvalidInput("days must be up to 3650", fields=[FieldProblem("$.days", "Expected 0 to 3650")])
        return await self._journal.report(ctx.tenant, spec, days)

    def _find(self, ctx: Context, sidecar: str) -> SidecarSpec:
        spec = self._specs.get(sidecar) if ctx.tenant == self._owner else None
        if spec is None:
            raise NotFound(f"there is no sidecar {sidecar[:64]}")
        return spec

    async def _in_time(self, ctx: Context, spec: SidecarSpec, asking: Awaitable[_Found]) -> _Found:
        """What came of asking, or `timeout` as soon as the limit is reached, whatever the model does then.

        A task of its own, not a time limit around the call: a model that does not let itself be cancelled would
        hold the caller up.
        """
        task = asyncio.ensure_future(asking)
        limit = spec.limit
        if ctx.deadline is not None:
            limit = min(limit, max(0.0, ctx.deadline - self._clock.monotonic() - _RESERVE))
        try:
            done, _ = await asyncio.wait({task}, timeout=limit)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            return _Found("timeout", f"no answer within {limit:g} s")
        try:
            return task.result()
        except StanchionError as error:
            return _Found("error", f"{error.code}: {error.detail}")
        # Whatever a declared function raises, the caller has an answer of its own.
        except Exception as error:
            return _Found("error", type(error).__name__)

    def _abandon(self, task: asyncio.Future[_Found]) -> None:
        if isinstance(task, asyncio.Task):
            self._hanging.add(task)
            task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: asyncio.Task[_Found]) -> None:
        self._hanging.discard(task)
        # Looked at, so that a failure after its caller left is not reported as forgotten.
        if not task.cancelled():
            task.exception()

    async def _asked(
        self,
        ctx: Context,
        spec: SidecarSpec,
        features: Mapping[str, Json],
        base: Json,
        unit: str,
        attributes: Mapping[str, Json] | None,
    ) -> _Found:
        given = {**(attributes or {}), "targeting_key": unit or ctx.principal}
        # As the system: a caller of a sidecar need not be one that may evaluate any flag.
        [flag] = await self._flags.evaluate(system_context(ctx.tenant, task="sidecar"), [spec.flag], given)
        if flag.value is not True:
            return _Found("flag_off", flag.error or flag.reason)
        if len(self._hanging) >= _MOST_HANGING:
            raise Unavailable(f"{_MOST_HANGING} calls of this system's models hang already")
        answer = await self._predict(ctx, spec.model, [features])
        [item] = answer.items
        served = item.served_by or answer.served_by
        if served not in spec.rungs:
            return _Found("error", f"the model was answered for by {served}", version=answer.version)
        if spec.value not in item.values:
            return _Found("error", f"the model's outcome has no field {spec.value}", version=answer.version)
        value, confidence = item.values[spec.value], item.values.get(spec.confidence)
        verdict = judged(spec.guard, base, value, confidence, item.values)
        sure = as_float(confidence) if is_number(confidence) else None
        return _Found(verdict.reason, verdict.detail, value, sure, answer.version)
