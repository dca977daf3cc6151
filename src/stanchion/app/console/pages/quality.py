"""How good a model's versions are by what came back: accuracy, ROC AUC, Brier score, calibration, outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import NotFound, StanchionError
from ....serving import ModelQuality, VersionQuality
from ..assets import BASE
from ..charts import Reliability, reliability
from ..rendering import query
from ..shell import Shell

_DAYS = 30
_MOST_ROWS = 10
# With fewer labels a curve in ten bins shows chance and nothing else.
_ENOUGH = 50


async def quality_of(shell: Shell, ctx: Context, model: str, version: str | None) -> dict[str, Any]:
    """What the card of a served model shows; where the journal does not answer, the reason stands in its place."""
    serving = shell.doors.serving
    if serving is None or not shell.permissions.may(ctx, "serving:read", model):
        return {"quality": None, "without": ""}
    try:
        found = await serving.quality(ctx, model, days=_DAYS)
    except StanchionError as error:
        return {"quality": None, "without": error.detail}
    rows = sorted(found.versions, key=lambda each: (_number(each.version), each.version, each.arm), reverse=True)
    curve = _curve(found, version)
    return {
        "quality": found,
        "without": "",
        "days": _DAYS,
        "rows": rows[:_MOST_ROWS],
        "left_out": max(0, len(rows) - _MOST_ROWS),
        "kept": sum(each.predictions for each in rows),
        "told": any(each.labelled or each.outcomes for each in rows),
        "live_curve": None if curve is None else _picture(curve),
        "curve_of": curve,
        "live_quality": f"{BASE}/fragments/quality/{quote(model, safe='')}{query(version=version)}",
    }


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The figures as they are now."""
    model = request.path_params["model"]
    found = await quality_of(shell, ctx, model, request.query_params.get("version"))
    if found["quality"] is None:
        raise NotFound(found["without"] or "nothing is served here")
    return shell.fragment(request, "_quality.html", model=model, **found)


def _curve(found: ModelQuality, version: str | None) -> VersionQuality | None:
    """The version looked at, or the one with most labels; of its arms that with most labels."""
    told = [each for each in found.versions if each.calibration and each.labelled >= _ENOUGH]
    mine = [each for each in told if each.version == version]
    return max(mine if version else told, key=lambda each: each.labelled, default=None)


def _picture(of: VersionQuality) -> Reliability | None:
    bins: list[Mapping[str, float]] = [
        {"predicted": each.predicted, "observed": each.observed, "rows": each.count} for each in of.calibration
    ]
    return reliability(bins)


def _number(version: str) -> tuple[int, ...]:
    """What versions are ordered by; `declared` and the like come before all numbers."""
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()
