"""What needs a person: each kind of trouble is looked for where the caller may look, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import quote

from ....core.context import Context
from ....core.errors import StanchionError
from ....core.security.contract import KeyInfo
from ....serving import BatchJob, RungStatus
from ..assets import BASE
from ..figures import moment, sentence, span_of
from ..rendering import query
from ..shell import Shell
from .notices import Notice, Probe
from .troubles import PROBES

_SOON = timedelta(days=14)
_DENIED_WITHIN = timedelta(hours=1)
_FAILED_WITHIN = timedelta(days=1)
_MOST = 12
_MODELS_LOOKED_AT = _JOBS_LOOKED_AT = 20


async def attention(shell: Shell, ctx: Context, now: datetime) -> list[Notice]:
    """All notices, the worst first, at most 12. A part that does not answer is itself a notice."""
    found: list[Notice] = []
    for action, name, probe in _PROBES:
        if not shell.permissions.may(ctx, action):
            continue
        try:
            found += await probe(shell, ctx, now)
        except StanchionError as error:
            found.append(Notice("bad", f"{name} does not answer", error.detail, f"{BASE}/observe"))
    order = {"bad": 0, "warn": 1, "info": 2}
    return sorted(found, key=lambda notice: order[notice.kind])[:_MOST]


async def _breakers(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    if shell.doors.serving is None:
        return ()
    served = await shell.doors.serving.models(ctx)
    return [_breaker(m.model, r) for m in served for r in m.rungs if r.breaker != "closed"]


def _breaker(model: str, rung: RungStatus) -> Notice:
    href = f"{BASE}/search{query(q=model)}"
    if rung.breaker == "open":
        return Notice("bad", f"Circuit open: {model}, rung {rung.name}", "The next rung answers for it.", href)
    share = f"{rung.admitted:.0%} of its calls are let through."
    return Notice("warn", f"Circuit restoring: {model}, rung {rung.name}", share, href)


async def _batches(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    if shell.doors.serving is None:
        return ()
    jobs = await shell.doors.serving.batches(ctx, limit=_JOBS_LOOKED_AT)
    return [
        _batch(job)
        for job in jobs
        if job.state == "interrupted" or (job.state == "failed" and now - job.updated_at < _FAILED_WITHIN)
    ]


def _batch(job: BatchJob) -> Notice:
    href = f"{BASE}/batches/{quote(job.id, safe='')}"
    if job.problem is not None:
        return Notice("warn", f"Batch job of {job.model} failed", sentence(job.problem.detail), href)
    return Notice("warn", f"Batch job of {job.model} stopped after {job.rows:,} rows", "Resume or cancel it.", href)


async def _models(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    if shell.doors.registry is None:
        return ()
    models = await shell.doors.registry.models(ctx)
    found = [
        Notice(
            "warn",
            f"{m.model} has no production version",
            f"Its newest version {m.latest} answers; promote one to fix the choice.",
            f"{BASE}/search{query(q=m.model)}",
        )
        for m in models
        if m.production is None
    ]
    for model in models[:_MODELS_LOOKED_AT]:
        for p in await shell.doors.registry.promotions(ctx, model.model, limit=5):
            if p.status == "pending":
                text = f"{p.model} {p.version} waits for a second person"
                detail = f"{p.requested_by} asked for {p.to}, {moment(p.requested_at)} UTC"
                found.append(Notice("info", text, detail, f"{BASE}/search{query(q=p.model)}"))
    return found


async def _keys(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    keys = await shell.doors.keys.list(ctx)
    return [_key(key, key.expires_at, now) for key in keys if key.expires_at is not None and _ends_soon(key, now)]


def _ends_soon(key: KeyInfo, now: datetime) -> bool:
    if key.expires_at is None or key.revoked_at is not None or key.replaced_by is not None:
        return False
    return now < key.expires_at < now + _SOON


def _key(key: KeyInfo, ends: datetime, now: datetime) -> Notice:
    text = f"Key {key.name} expires in {span_of(ends - now)}"
    return Notice("warn", text, f"{moment(ends)} UTC. Rotate it before then.", f"{BASE}/govern/keys/{key.id}")


async def _audit(shell: Shell, ctx: Context, now: datetime) -> Sequence[Notice]:
    last = shell.verifications.last(ctx.tenant)
    href = f"{BASE}/govern/audit"
    found = []
    if last is not None and not last.report.ok:
        text = f"Audit log: verification found {len(last.report.faults)} fault(s)"
        found.append(Notice("bad", text, f"Verified {moment(last.at)} UTC.", href))
    elif last is None:
        found.append(Notice("info", "Audit log not verified since this process started", "Verify it in Govern.", href))
    denied = [
        event
        for event in await shell.doors.audit.events(ctx, limit=100)
        if event.outcome == "denied" and now - event.at < _DENIED_WITHIN
    ]
    if denied:
        text = f"{len(denied)} call{'' if len(denied) == 1 else 's'} denied in the last hour"
        newest = denied[0]
        found.append(Notice("info", text, f"Latest: {newest.action} by {newest.principal}", href))
    return found


_PROBES: tuple[tuple[str, str, Probe], ...] = (
    ("serving:read", "Serving", _breakers),
    ("serving:read_batches", "Batch jobs", _batches),
    ("registry:read", "The registry", _models),
    ("keys:list", "Keys", _keys),
    *PROBES,
    ("audit:read", "The audit log", _audit),
)
