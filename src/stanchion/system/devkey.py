"""The development key: made at the first start, kept in a private file, the same at every later start."""

from __future__ import annotations

from pathlib import Path

from ..core.context import Context, Effect, system_context
from ..core.errors import Misconfigured, NotAuthenticated
from ..core.security.keyfile import create_private, discard_private, read_private
from ..core.security.keyformat import id_of
from ..core.security.keys import KeyService
from ..core.security.verifier import KeyVerifier

_NAME = "development"
_TASK = "development-key"
_ATTEMPTS = 6


async def development_key(path: Path, *, tenant: str, keys: KeyService, verifier: KeyVerifier) -> str:
    """An admin key of the tenant that works now; its file is readable by the owner alone.

    The row is stored before the file. If the process is killed in between, the secret of that row is lost and the
    next start makes another; keys that were left over so are revoked. A key that no longer works is replaced.
    Raises Misconfigured if not even a new one works.
    """
    ctx = system_context(tenant, task=_TASK)
    for _ in range(_ATTEMPTS):
        content = read_private(path)
        if content is None:
            made = await keys.mint(ctx.within(_effect(ctx)), tenant=tenant, name=_NAME, roles=["admin"])
            if not create_private(path, made.secret.encode() + b"\n"):
                # Another process was first: its key is the one to use.
                await keys.revoke(ctx, made.info.id)
            continue
        secret = content.decode("ascii", errors="replace").strip()
        try:
            await verifier.verify(secret)
        except NotAuthenticated:
            discard_private(path)
            continue
        await _revoke_others(ctx, keys, id_of(secret))
        return secret
    raise Misconfigured(f"the key in {path.name} does not work", next_step="Check that only one process starts here.")


def _effect(ctx: Context) -> Effect:
    """Nobody asked for this key through a door, so the gate does not tell of it."""
    return Effect(
        action="keys:create",
        kind="write",
        resource="Key::*",
        tenant=ctx.tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
    )


async def _revoke_others(ctx: Context, keys: KeyService, kept: str | None) -> None:
    after = ""
    while page := await keys.list(ctx, after=after):
        after = page[-1].id
        for key in page:
            if key.created_by == ctx.principal and key.id != kept and key.revoked_at is None:
                await keys.revoke(ctx, key.id)
