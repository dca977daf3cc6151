"""A declared pipeline: its graph, its inputs, and the forms that start a run or make up for a range of moments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....pipelines import PipelineView
from ...charts import graph_picture
from ...flash import Flash
from ...forms import whole
from ...shell import Shell
from .room import address, door, pipeline_address
from .runs import value_of

_RUNS, _STAGES = 20, 60


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The pipeline."""
    return await _show(shell, request, ctx)


async def start(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Begin a run with the inputs of the form."""
    name = request.path_params["pipeline"]
    try:
        inputs, key = value_of(form.get("inputs", "")), form.get("key", "").strip() or None
        run = await door(shell).begin(ctx, name, inputs, key=key, dry=form.get("dry") == "yes")
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error, given=form)
    said = "A dry run has begun: stages with an effect are left out." if run.dry else "The run has begun."
    return shell.leave(request, address(run.id), Flash("ok", said))


async def backfill(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """A run for each moment of the schedule in a range."""
    name = request.path_params["pipeline"]
    try:
        parallel = whole(form.get("parallel", ""), name="runs at once", least=1, most=100) or 2
        begin, end = _moment(form.get("start", ""), "start"), _moment(form.get("end", ""), "end")
        run = await door(shell).backfill(ctx, name, begin, end, parallel=parallel)
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error, given=form)
    return shell.leave(
        request, address(run.id), Flash("ok", "The backfill has begun; each moment is a run of its own.")
    )


async def _show(
    shell: Shell,
    request: Request,
    ctx: Context,
    *,
    error: StanchionError | None = None,
    given: Mapping[str, str] = {},
) -> Response:
    name = request.path_params["pipeline"]
    view = await _find(shell, ctx, name)
    return shell.page(
        request,
        "pipeline.html",
        error=error,
        given=given,
        view=view,
        stages=view.stages[:_STAGES],
        picture=graph_picture(view.nodes) if view.nodes else None,
        runs=await door(shell).list(ctx, pipeline=name, limit=_RUNS),
        action=pipeline_address(name),
    )


async def _find(shell: Shell, ctx: Context, name: str) -> PipelineView:
    for view in await door(shell).declared(ctx):
        if view.name == name:
            return view
    raise NotFound(f"no pipeline is declared as {name!r}", next_step="Schedules lists those there are.")


def _moment(text: str, name: str) -> datetime:
    """A moment of a form, in UTC where it names no zone. Raises InvalidInput."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(f"{name} is no moment", next_step="Write it as 2026-01-31 or 2026-01-31T04:00.") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
