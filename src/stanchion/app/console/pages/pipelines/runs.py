"""One run: where its time went, what each step said, what was set aside, and what can be done to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .....core.clock import micros
from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....core.security.contract import AuditEvent
from .....core.telemetry.contract import Span
from .....core.values import Json
from .....pipelines import Progress, RecordTrail, Run, StageRun
from ...assets import BASE
from ...charts import Waterfall, waterfall
from ...flash import Flash
from ...shell import Shell
from .room import address, door

_STEPS, _CHILDREN, _SET_ASIDE, _CHANGES = 50, 15, 15, 20
ACTIVE = ("queued", "running", "waiting")


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The run, and with `?record=` what happened to one of its records."""
    return await _show(shell, request, ctx)


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """How far it is."""
    return shell.fragment(request, "_run.html", **await _shown(shell, ctx, request.path_params["run"]))


async def acts_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """What can be done to it in the state it is in: of its own, so that progress does not untick a box."""
    run = await door(shell).get(ctx, request.path_params["run"])
    steps = await door(shell).stages(ctx, run.id)
    return shell.fragment(request, "_run_acts.html", csrf=shell.doors.sessions.csrf(request), **_offered(run, steps))


async def change(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Cancel the run, let it go on, begin anew at a stage, or give it what it waits for."""
    run = request.path_params["run"]
    try:
        target, said = await _change(shell, ctx, run, form)
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error, given=form)
    return shell.leave(request, address(target), Flash("ok", said))


async def _change(shell: Shell, ctx: Context, run: str, form: Mapping[str, str]) -> tuple[str, str]:
    """The run to look at next, and what was done."""
    pipelines, what = door(shell), form.get("what", "")
    if what == "cancel":
        if form.get("confirm") != "yes":
            raise InvalidInput("cancelling was not confirmed", next_step="Tick the box above the button.")
        await pipelines.cancel(ctx, run)
        return run, "The run stops before its next step."
    if what == "resume":
        await pipelines.resume(ctx, run, adopt=form.get("adopt") == "yes")
        return run, "The run goes on from its last good step."
    if what == "fork":
        made = await pipelines.fork(ctx, run, form.get("stage", ""))
        return made.id, f"A new run began at {form.get('stage', '')}."
    if what == "signal":
        name = form.get("name", "").strip()
        await pipelines.signal(ctx, run, name, value_of(form.get("value", "")))
        return run, f"The run was given {name}."
    raise InvalidInput(f"nothing is called {what[:40]!r}", next_step="Use the buttons of the page.")


def value_of(text: str) -> Json:
    """The JSON of a form field; nothing written is null. Raises InvalidInput."""
    if not text.strip():
        return None
    try:
        value: Json = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"the value is no JSON: {error}", next_step="Words need quotation marks.") from error
    return value


async def _show(
    shell: Shell,
    request: Request,
    ctx: Context,
    *,
    error: StanchionError | None = None,
    given: Mapping[str, str] = {},
) -> Response:
    content = await _shown(shell, ctx, request.path_params["run"])
    run: Run = content["run"]
    record = request.query_params.get("record", "").strip()[:500]
    moving = run.status in ACTIVE
    trail, refusal = await _trail(shell, ctx, run.id, record)
    return shell.page(
        request,
        "run.html",
        error=error or refusal,
        given=given,
        **content,
        **{name: value for name, value in _offered(run, content["steps"]).items() if name not in content},
        record=record,
        trail=trail,
        changes=await _changes(shell, ctx, run.id),
        live=f"{BASE}/fragments/pipelines/{run.id}" if moving else None,
        live_acts=f"{BASE}/fragments/pipelines/{run.id}/acts" if moving else None,
    )


async def _shown(shell: Shell, ctx: Context, name: str) -> dict[str, Any]:
    pipelines = door(shell)
    run = await pipelines.get(ctx, name)
    steps = await pipelines.stages(ctx, run.id)
    children = await pipelines.list(ctx, parent=run.id, limit=_CHILDREN)
    reads = shell.permissions.may(ctx, "pipelines:read_content", run.id)
    set_aside = await pipelines.quarantined(ctx, run.id, limit=_SET_ASIDE) if reads else ()
    values = await pipelines.values(ctx, run.id) if reads else run
    return {
        "run": run,
        "values": values,
        "steps": steps[-_STEPS:],
        "left_out": max(0, len(steps) - _STEPS),
        "picture": timeline(run, steps) if steps else None,
        "children": children,
        "progress": await _progress(shell, ctx, run) if children else None,
        "set_aside": set_aside,
        "reads": reads,
        "now": shell.doors.clock.now(),
    }


async def _progress(shell: Shell, ctx: Context, run: Run) -> Progress | None:
    """How far a backfill is; None for a run that is none."""
    try:
        return await door(shell).progress(ctx, run.id)
    except StanchionError:
        return None


async def _trail(shell: Shell, ctx: Context, run: str, record: str) -> tuple[RecordTrail | None, StanchionError | None]:
    """What happened to a record, or why that cannot be told: the page stands all the same."""
    if not record:
        return None, None
    try:
        return await door(shell).record(ctx, run, record), None
    except StanchionError as error:
        return None, error


async def _changes(shell: Shell, ctx: Context, run: str) -> Sequence[AuditEvent] | None:
    """What people did to the run, among the audit log's newest events; None for whoever may not read that."""
    if not shell.permissions.may(ctx, "audit:read"):
        return None
    events = await shell.doors.audit.events(ctx, limit=100)
    return [event for event in events if event.resource == f"Run::{run}"][:_CHANGES]


def timeline(run: Run, steps: Sequence[StageRun]) -> Waterfall:
    """The steps as bars on one clock."""
    return waterfall(
        [
            Span(
                trace_id=run.id,
                span_id=step.step,
                parent_id=None,
                name=step.step,
                started_at=micros(step.started),
                ended_at=micros(step.ended),
                status="error" if step.status in ("failed", "undone") else "ok",
                attributes={},
            )
            for step in steps
        ]
    )


def _offered(run: Run, steps: Sequence[StageRun]) -> dict[str, Any]:
    return {
        "run": run,
        "cancellable": run.status in ACTIVE and not run.cancelling,
        "resumable": run.status in ("failed", "cancelled"),
        "signals": run.status in ACTIVE,
        "stages": list(dict.fromkeys(step.stage for step in steps)),
        "action": address(run.id),
    }
