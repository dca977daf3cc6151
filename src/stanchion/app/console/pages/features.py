"""Features: how fresh and complete the views are, what services are made of, and whether training sees the same."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import NotFound, StanchionError
from ....features import Features, Lineage, Service, SkewReport, ViewHealth
from ...lineage import pinned, with_models
from ..charts import lineage_picture
from ..shell import Shell

_VIEWS, _SERVICES, _FIELDS, _EXAMPLES = 60, 30, 60, 20
_WORST = ("stale", "empty", "missing", "late", "fresh")


async def listing(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every view with its state, the worst first, and every service."""
    features = shell.doors.features
    views: Sequence[ViewHealth] = ()
    services: Sequence[Service] = ()
    entities: dict[str, str] = {}
    if features is not None:
        views = sorted(await features.health(ctx), key=lambda view: (_WORST.index(view.state), view.view))
        services = await features.services(ctx)
        entities = {view.name: view.entity for view in await features.views(ctx)}
    return shell.page(
        request,
        "features.html",
        views=views[:_VIEWS],
        services=services[:_SERVICES],
        left_out=max(0, len(views) - _VIEWS) + max(0, len(services) - _SERVICES),
        entities=entities,
        here=features is not None,
    )


async def view(shell: Shell, request: Request, ctx: Context) -> Response:
    """One view: freshness, and each field with what makes it and how often it is null."""
    name = request.path_params["view"]
    features = _door(shell)
    health = next((each for each in await features.health(ctx) if each.view == name), None)
    known = next((each for each in await features.views(ctx) if each.name == name), None)
    if health is None or known is None:
        raise NotFound(f"no feature view is declared as {name!r}", next_step="See Features for what there is.")
    readers = [service for service in await features.services(ctx) if name in service.views]
    details = {}
    for service in readers[:1]:
        lineage = await features.lineage(ctx, service.name)
        details = {node.name.removeprefix(f"{name}."): node.detail for node in lineage.nodes if node.kind == "field"}
    return shell.page(
        request,
        "feature_view.html",
        view=health,
        known=known,
        fields=health.fields[:_FIELDS],
        details=details,
        readers=readers[:_SERVICES],
    )


async def service(shell: Shell, request: Request, ctx: Context) -> Response:
    """One service: its lineage up to model versions and, once asked for, the comparison with the offline join."""
    name = request.path_params["service"]
    features = _door(shell)
    known = next((each for each in await features.services(ctx) if each.name == name), None)
    if known is None:
        raise NotFound(f"no feature service is declared as {name!r}", next_step="See Features for what there is.")
    readable = shell.permissions.may(ctx, "registry:read")
    pins = [each for each in await pinned(shell.doors.registry if readable else None, ctx) if each.service == name]
    lineage = with_models(await features.lineage(ctx, name), pins)
    report, error = await _compared(features, ctx, name) if "compare" in request.query_params else (None, None)
    return shell.page(
        request,
        "feature_service.html",
        error=error,
        service=known,
        fields=list(known.fields.items())[:_FIELDS],
        left_out=max(0, len(known.fields) - _FIELDS),
        picture=lineage_picture(lineage),
        steps=_steps(lineage),
        pins=pins[:_EXAMPLES],
        report=report,
        skewed=_skewed(report),
    )


async def _compared(features: Features, ctx: Context, service: str) -> tuple[SkewReport | None, StanchionError | None]:
    """The report, or why there is none: the page stands all the same."""
    try:
        return await features.skew(ctx, service), None
    except StanchionError as error:
        return None, error


def _steps(lineage: Lineage) -> dict[str, str]:
    """For each feature what it is made from, in words: the picture's text form."""
    names = {node.id: node.name for node in lineage.nodes}
    details = {node.id: node.detail for node in lineage.nodes}
    found: dict[str, str] = {}
    for node in lineage.nodes:
        if node.kind == "field":
            parts = [names[start] for start, end in lineage.edges if end == node.id]
            made = details[node.id]
            found[node.name.split(".", 1)[-1]] = f"{', '.join(parts)}: {made}" if made else ", ".join(parts)
    return found


def _skewed(report: SkewReport | None) -> list[tuple[str, int, int, list[dict[str, object]]]]:
    """The features that differ, the worst first, with their examples; at most twenty."""
    if report is None:
        return []
    wrong = sorted((each for each in report.fields if each.different), key=lambda each: -each.different)[:_EXAMPLES]
    return [
        (
            each.name,
            each.different,
            each.compared,
            [{"id": e.request_id, "at": e.read_at, "served": e.served, "joined": e.joined} for e in each.examples[:3]],
        )
        for each in wrong
    ]


def _door(shell: Shell) -> Features:
    if shell.doors.features is None:
        raise NotFound("no feature store is part of this system", next_step="Enable the module `features`.")
    return shell.doors.features
