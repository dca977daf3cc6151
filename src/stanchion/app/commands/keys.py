"""`stanchion keys ...`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ...core.context import Context
from ...core.security.contract import KeyInfo, Keys, NewKey
from ..keyview import key_view
from .office import DONE, Options, opened, operator, run, show, table

Work = Callable[[Options, Keys, Context], Awaitable[None]]


def _at_keys(tenant: str | None, data: Path, json: bool, work: Work) -> int:
    options = Options(data=data, json=json)

    async def whole() -> int:
        async with opened(options, only=()) as house:
            await work(options, house.door(Keys), operator(tenant or house.settings.tenant))
        return DONE

    return run(options, whole)


def created(
    *,
    name: str,
    roles: Sequence[str],
    scopes: Sequence[str],
    days: float | None,
    tenant: str | None,
    data: Path,
    json: bool,
) -> int:
    """Make a key."""

    async def work(options: Options, keys: Keys, ctx: Context) -> None:
        _secret(options, await keys.create(ctx, name=name, roles=roles, scopes=scopes, ttl_days=days))

    return _at_keys(tenant, data, json, work)


def _secret(options: Options, made: NewKey) -> None:
    show(
        options,
        {**key_view(made.info), "tenant": made.info.tenant, "secret": made.secret},
        lambda: f"{made.secret}\n\nid {made.info.id}. The key is shown this once and kept nowhere.",
    )


def listed(*, tenant: str | None, data: Path, json: bool) -> int:
    """Print every key of the tenant, page by page."""

    async def work(options: Options, keys: Keys, ctx: Context) -> None:
        found: list[KeyInfo] = []
        while page := await keys.list(ctx, after=found[-1].id if found else ""):
            found += page
        rows = [
            (k.id, k.name, ",".join(sorted(k.rights.roles | k.rights.scopes)), f"{k.created_at:%Y-%m-%d}", _state(k))
            for k in found
        ]
        head = ("ID", "NAME", "RIGHTS", "CREATED", "STATE")
        show(options, [key_view(k) for k in found], lambda: table(head, rows) if rows else "There is no key yet.")

    return _at_keys(tenant, data, json, work)


def _state(key: KeyInfo) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    return "works" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d}"


def rotated(key_id: str, *, overlap: float, tenant: str | None, data: Path, json: bool) -> int:
    """Make a key's successor."""

    async def work(options: Options, keys: Keys, ctx: Context) -> None:
        _secret(options, await keys.rotate(ctx, key_id, overlap_seconds=overlap))

    return _at_keys(tenant, data, json, work)


def revoked(key_id: str, *, tenant: str | None, data: Path, json: bool) -> int:
    """End a key."""

    async def work(options: Options, keys: Keys, ctx: Context) -> None:
        info = await keys.revoke(ctx, key_id)
        show(options, key_view(info), lambda: f"{info.id} ({info.name}) is revoked")

    return _at_keys(tenant, data, json, work)
