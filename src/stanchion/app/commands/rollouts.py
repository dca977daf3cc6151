"""`stanchion rollout ...`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args

from ...core.context import Context
from ...core.errors import InvalidInput
from ...serving import (
    Guard,
    GuardMetric,
    Rollout,
    RolloutKind,
    RolloutPlan,
    RolloutReport,
    RolloutStep,
    Serving,
)
from .office import DONE, Options, opened, operator, run, show, table

Change = Literal["approve", "pause", "resume", "abort", "promote", "rollback"]
Work = Callable[[Options, Serving, Context], Awaitable[None]]
MODULES = ("registry", "serving")


def at_serving(data: Path, json: bool, work: Work) -> int:
    """Run `work` over the stored state; a running server follows it."""
    options = Options(data=data, json=json)

    async def whole() -> int:
        async with opened(options, only=MODULES) as house:
            await work(options, house.door(Serving), operator(house.settings.tenant))
        return DONE

    return run(options, whole)


def started(
    model: str,
    version: str,
    *,
    kind: str,
    steps: Sequence[str],
    guards: Sequence[str] | None,
    share: float,
    budget: int,
    approval: str,
    automatic: bool,
    data: Path,
    json: bool,
) -> int:
    """Start a rollout."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        usual = RolloutPlan(_kind(kind))
        plan = RolloutPlan(
            kind=_kind(kind),
            steps=tuple(_step(text) for text in steps),
            share=share,
            guards=usual.guards if guards is None else tuple(_guard(text) for text in guards),
            failure_budget=budget,
            automatic=automatic,
            approval="before" if approval == "before" else "after",
        )
        if approval not in ("before", "after"):
            raise InvalidInput(f"{approval!r} is no approval", next_step="Use before or after.")
        rollout = await serving.start_rollout(ctx, model, version, plan)
        show(options, asdict(rollout), lambda: _line(rollout))

    return at_serving(data, json, work)


def listed(*, model: str, data: Path, json: bool) -> int:
    """Print rollouts."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        found = await serving.rollouts(ctx, model=model)
        head = ("MODEL", "KIND", "STATE", "VERSIONS", "SHARE", "STARTED", "BY")
        rows = [
            (
                r.model,
                r.kind,
                r.state,
                f"{r.control} > {r.candidate}",
                f"{r.percent:g} %",
                f"{r.started_at:%Y-%m-%d %H:%M}",
                r.started_by,
            )
            for r in found
        ]
        show(options, [asdict(r) for r in found], lambda: table(head, rows) if rows else "There is no rollout yet.")

    return at_serving(data, json, work)


def shown(model: str, *, data: Path, json: bool) -> int:
    """Print a rollout with its evidence."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        report = await serving.rollout(ctx, model)
        show(options, asdict(report), lambda: described(report))

    return at_serving(data, json, work)


def changed(model: str, change: Change, text: str, *, data: Path, json: bool) -> int:
    """Change a rollout."""

    async def work(options: Options, serving: Serving, ctx: Context) -> None:
        rollout = await _changed(serving, ctx, model, change, text)
        show(options, asdict(rollout), lambda: _line(rollout))

    return at_serving(data, json, work)


async def _changed(serving: Serving, ctx: Context, model: str, change: Change, text: str) -> Rollout:
    match change:
        case "approve":
            return await serving.approve_rollout(ctx, model)
        case "pause":
            return await serving.pause_rollout(ctx, model, reason=text)
        case "resume":
            return await serving.resume_rollout(ctx, model, reason=text)
        case "abort":
            return await serving.abort_rollout(ctx, model, reason=text)
        case "promote":
            return await serving.promote_rollout(ctx, model, evidence=text)
        case "rollback":
            return await serving.roll_back_rollout(ctx, model, reason=text)


def described(report: RolloutReport) -> str:
    """A rollout for people."""
    rollout = report.rollout
    parts = [_line(rollout), ""]
    arms = [
        (
            arm.name,
            arm.version,
            f"{arm.requests:,}",
            f"{arm.failures:,}",
            f"{arm.mean_seconds * 1000:.2f}",
            f"{arm.p95_seconds * 1000:.2f}",
        )
        for arm in report.arms
    ]
    parts.append(table(("ARM", "VERSION", "CALLS", "FAILED", "MEAN MS", "P95 MS"), arms))
    if report.guards:
        guards = [
            (g.metric, g.verdict, f"{g.low:.4g}", f"{g.high:.4g}", f"{g.tolerance:g}", f"{g.samples:,}")
            for g in report.guards
        ]
        parts += ["", table(("GUARD", "VERDICT", "AT LEAST", "AT MOST", "TOLERANCE", "CALLS"), guards)]
    if rollout.kind == "ab":
        effects = [
            (e.metric, f"{e.difference:+.4g}", f"{e.low:+.4g} to {e.high:+.4g}", f"{e.p_value:.3g}")
            for e in report.effects
        ]
        parts += ["", table(("EFFECT", "B - A", "INTERVAL", "P"), effects)]
        parts.append(f"sample ratio: p = {report.sample_ratio:.3g}")
    if report.compared:
        parts += ["", f"{report.disagreements:,} of {report.compared:,} compared answers differ"]
    parts += ["", *(f"{e.at:%Y-%m-%d %H:%M:%S}  {e.state:11} {e.by}: {e.reason}" for e in report.history[:10])]
    return "\n".join(parts)


def _line(rollout: Rollout) -> str:
    return (
        f"{rollout.model}: {rollout.kind} of {rollout.candidate} beside {rollout.control}, {rollout.state} "
        f"at {rollout.percent:g} % ({rollout.reason})"
    )


def _kind(text: str) -> RolloutKind:
    kind: RolloutKind | None = next((each for each in get_args(RolloutKind) if each == text), None)
    if kind is None:
        raise InvalidInput(
            f"{text!r} is no kind of rollout", next_step=f"Use one of {', '.join(get_args(RolloutKind))}."
        )
    return kind


def _step(text: str) -> RolloutStep:
    try:
        percent, seconds, samples = text.split(":")
        return RolloutStep(float(percent), float(seconds), int(samples))
    except ValueError:
        raise InvalidInput(
            f"{text!r} is no step", next_step="Write PERCENT:SECONDS:SAMPLES, such as 5:600:200."
        ) from None


def _guard(text: str) -> Guard:
    name, *parts = text.split(":")
    metric: GuardMetric | None = next((each for each in get_args(GuardMetric) if each == name), None)
    proof = parts[-1:] == ["proof"]
    numbers = parts[:-1] if proof else parts
    try:
        if metric is None or not 1 <= len(numbers) <= 2:
            raise ValueError
        return Guard(metric, float(numbers[0]), limit=float(numbers[1]) if len(numbers) == 2 else 0.0, proof=proof)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is no guard", next_step=f"Write METRIC:TOLERANCE with one of {', '.join(get_args(GuardMetric))}."
        ) from None
