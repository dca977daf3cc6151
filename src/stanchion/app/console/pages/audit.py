"""The audit log: read, verify, prove and export."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ....core.context import Context
from ....core.errors import Conflict, NotFound
from ....core.security.contract import AuditEvent, InclusionProof
from ..assets import BASE
from ..flash import Flash
from ..rendering import query
from ..shell import HEADERS, Shell
from ..verified import Verification

_LIMIT = 50
_ENCODER = msgspec.json.Encoder(order="deterministic")


async def listing(shell: Shell, request: Request, ctx: Context) -> Response:
    """Events, newest first, 50 a page, and the last verification's report."""
    action = request.query_params.get("action", "").strip()[:200]
    text = request.query_params.get("before", "")
    before = int(text) if text.isdecimal() and len(text) < 19 else None
    events = await shell.doors.audit.events(ctx, before=before, limit=_LIMIT, action=action or None)
    events = events[:_LIMIT]
    older = query(action=action, before=events[-1].seq) if len(events) == _LIMIT else None
    return shell.page(
        request,
        "audit.html",
        events=events,
        action=action,
        actions=shell.permissions.names(),
        older=f"{BASE}/govern/audit{older}" if older else None,
        newest=f"{BASE}/govern/audit{query(action=action)}" if before is not None else None,
        last=shell.verifications.last(ctx.tenant),
    )


async def verify(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Verify the whole log, and keep the report for the pages."""
    report = await shell.doors.audit.verify(ctx)
    shell.verifications.note(ctx.tenant, Verification(shell.doors.clock.now(), report))
    said = f"{report.events:,} events verified in {report.seconds:.2f} s: "
    message = Flash("ok", said + "nothing was changed.") if report.ok else Flash("bad", said + "faults were found.")
    return shell.leave(request, f"{BASE}/govern/audit", message)


async def event(shell: Shell, request: Request, ctx: Context) -> Response:
    """One event, and its proof where a checkpoint covers it."""
    seq: int = request.path_params["seq"]
    found = await shell.doors.audit.events(ctx, before=seq + 1, limit=1)
    if not found or found[0].seq != seq:
        raise NotFound(f"no audit event {seq}", next_step="The audit log lists the events there are.")
    try:
        proven: InclusionProof | None = await shell.doors.audit.prove(ctx, seq)
    except Conflict:
        proven = None
    return shell.page(request, "event.html", event=found[0], proof=proven)


async def proof(shell: Shell, request: Request, ctx: Context) -> Response:
    """The proof as a file, to be checked elsewhere."""
    seq: int = request.path_params["seq"]
    content = msgspec.json.format(_ENCODER.encode(await shell.doors.audit.prove(ctx, seq)), indent=2)
    return Response(content, media_type="application/json", headers=_as_file(f"audit-{seq}-proof.json"))


async def export(shell: Shell, request: Request, ctx: Context) -> Response:
    """All events of the tenant, one JSON document a line, in ascending order."""
    events = shell.doors.audit.export(ctx)
    # The first event is awaited before the answer begins, so that a refusal still has its own status.
    first = await anext(events, None)
    return StreamingResponse(
        _lines(first, events), media_type="application/x-ndjson", headers=_as_file(f"audit-{ctx.tenant}.ndjson")
    )


async def _lines(first: AuditEvent | None, rest: AsyncIterator[AuditEvent]) -> AsyncIterator[bytes]:
    if first is None:
        return
    yield _ENCODER.encode(first) + b"\n"
    async for one in rest:
        yield _ENCODER.encode(one) + b"\n"


def _as_file(name: str) -> dict[str, str]:
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return {**HEADERS, "Content-Disposition": f'attachment; filename="{safe}"'}
