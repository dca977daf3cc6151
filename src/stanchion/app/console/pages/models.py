"""Models: which versions exist, which one answers, what it is made of, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import NotFound, StanchionError
from ....registry import ModelVersion, Promotion
from ....serving import ServedModel
from ..assets import BASE
from ..charts import reliability
from ..markdown import render, tables
from ..shell import Shell
from .quality import quality_of

_LIMIT = 50
_VERSIONS = 20
_METRICS = 4
_LIVE = ("waiting", "running", "paused", "promoting", "pending")
_UNKNOWN: Mapping[str, Any] = {"quality": None, "without": ""}
_FIRST = ("roc_auc", "brier", "log_loss", "accuracy", "f1", "rmse", "mae")


async def listing(shell: Shell, request: Request, ctx: Context) -> Response:
    """All models, 50 a page by name, with what this process serves of them."""
    registry = shell.doors.registry
    after = request.query_params.get("after", "")
    found = await registry.models(ctx, after=after, limit=_LIMIT) if registry is not None else ()
    served = await _served(shell, ctx)
    known = {m.model for m in found}
    return shell.page(
        request,
        "models.html",
        models=found,
        served=served,
        only_served=[s for name, s in sorted(served.items()) if registry is None and name not in known][:_LIMIT],
        trainable=await _trainable(shell, ctx),
        after=after,
        next=found[-1].model if len(found) == _LIMIT else None,
    )


async def detail(shell: Shell, request: Request, ctx: Context) -> Response:
    """One model."""
    return await show(shell, request, ctx)


async def rungs_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The ladder of one served model as it stands now."""
    serving = shell.doors.serving
    if serving is None:
        raise NotFound("nothing is served here")
    served = await serving.describe(ctx, request.path_params["model"])
    return shell.fragment(request, "_rungs.html", served=served)


async def show(
    shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None, given: Mapping[str, str] = {}
) -> Response:
    """The page of one model; with an error, what the refused form held is kept."""
    name = request.path_params["model"]
    registry = shell.doors.registry
    served = (await _served(shell, ctx)).get(name)
    versions: Sequence[ModelVersion] = ()
    promotions: Sequence[Promotion] = ()
    if registry is not None:
        try:
            versions = await registry.versions(ctx, name, limit=_VERSIONS)
        except NotFound:
            # A model of plain Python has no registered version, and is served all the same.
            if served is None:
                raise
        promotions = await registry.promotions(ctx, name, limit=20)
    elif served is None:
        raise NotFound(f"no model {name!r} is served here", next_step="See Models for what there is.")
    return shell.page(
        request,
        "model.html",
        error=error,
        given=given,
        model=name,
        served=served,
        live=f"{BASE}/fragments/rungs/{request.url.path.removeprefix(f'{BASE}/models/')}",
        live_rollout=f"{BASE}/fragments/rollout/{quote(name, safe='')}",
        **await _rolled_out(shell, ctx, name),
        **(await quality_of(shell, ctx, name, request.query_params.get("version")) if served else _UNKNOWN),
        versions=versions,
        pending=[p for p in promotions if p.status == "pending"],
        decided=[p for p in promotions if p.status != "pending"],
        **_chosen(versions, request.query_params.get("version")),
    )


def _chosen(versions: Sequence[ModelVersion], asked: str | None) -> dict[str, Any]:
    """The version looked at: the one asked for, else the one in production, else the newest."""
    if not versions:
        return {"version": None, "production": None, "metrics": [], "curve": None, "card": None, "other": {}}
    production = next((v for v in versions if v.stage == "production"), None)
    chosen = next((v for v in versions if v.version == asked), production or versions[0])
    if asked is not None and chosen.version != asked:
        raise NotFound(f"{chosen.model} has no version {asked!r} among its newest {_VERSIONS}")
    return {
        "version": chosen,
        "production": production,
        "metrics": _leading(versions),
        "curve": reliability(chosen.metadata.get("reliability") or _bins(chosen.card)),
        "card": render(chosen.card),
        "other": {k: v for k, v in chosen.metadata.items() if k != "reliability"},
    }


def _leading(versions: Sequence[ModelVersion]) -> list[str]:
    """The metrics that get a column: the usual ones first, at most four."""
    names = {name for version in versions for name in version.metrics}
    return [*(n for n in _FIRST if n in names), *sorted(names.difference(_FIRST))][:_METRICS]


def _bins(card: str) -> list[dict[str, float]]:
    """The calibration bins that a card tells in a table headed predicted, observed and rows."""
    for head, *rows in tables(card):
        names = [name.lower() for name in head]
        if {"predicted", "observed", "rows"} <= set(names):
            return [bins for row in rows if (bins := _numbers(names, row))]
    return []


def _numbers(names: Sequence[str], row: Sequence[str]) -> dict[str, float]:
    try:
        return {name: float(cell.replace(",", "")) for name, cell in zip(names, row, strict=True)}
    except ValueError:
        return {}


async def _served(shell: Shell, ctx: Context) -> dict[str, ServedModel]:
    serving = shell.doors.serving
    if serving is None or not shell.permissions.may(ctx, "serving:read"):
        return {}
    return {m.model: m for m in await serving.models(ctx)}


async def _trainable(shell: Shell, ctx: Context) -> Sequence[str]:
    training = shell.doors.training
    if training is None or not shell.permissions.may(ctx, "training:read"):
        return ()
    return await training.declared(ctx)


async def _rolled_out(shell: Shell, ctx: Context, model: str) -> dict[str, Any]:
    """What a model's page shows of its rollout and drills."""
    serving = shell.doors.serving
    if serving is None or not shell.permissions.may(ctx, "serving:read"):
        return {"report": None, "drills": (), "rolling": False}
    now, report = shell.doors.clock.now(), None
    if await serving.rollouts(ctx, model=model, limit=1):
        report = await serving.rollout(ctx, model)
    drills = [d for d in await serving.drills(ctx) if d.model == model and d.ends > now]
    return {"report": report, "drills": drills, "rolling": report is not None and report.rollout.state in _LIVE}
