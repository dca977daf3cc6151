"""`stanchion gateway history` and `restore`: versions of a route that was changed at run time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from ...core.context import Context
from ...core.errors import InvalidInput
from ...gateway import Gateway, RouteChange, RouteVersion
from .office import DONE, Options, opened, operator, run, show, table

Work = Callable[[Options, Gateway, Context], Awaitable[None]]


def told(file: Path, route: str, *, data: Path, json: bool) -> int:
    """Print the versions of a route; the exit code."""

    async def work(options: Options, gateway: Gateway, ctx: Context) -> None:
        found = await gateway.route_versions(ctx, route)
        show(options, [asdict(each) for each in found], lambda: table(_HEAD, [_row(each) for each in found]))

    return _at_gateway(file, work, data=data, json=json)


def restored(file: Path, route: str, version: int, *, dry_run: bool, data: Path, json: bool) -> int:
    """Bring a version back, or tell what that would change; the exit code."""

    async def work(options: Options, gateway: Gateway, ctx: Context) -> None:
        versions = await gateway.route_versions(ctx, route, limit=1_000)
        present = next((each.version for each in versions if each.holds), 0)
        changes = next((each.restoring for each in versions if each.version == version), ())
        unfit = next((each.unfit for each in versions if each.version == version), "")
        answer = {"route": route, "restored": version, "version": present, "changes": [asdict(c) for c in changes]}
        if dry_run:
            if unfit:
                raise InvalidInput(f"version {version} of {route} cannot be brought back: {unfit}")
            show(options, answer, lambda: _lines(changes) or f"version {version} is as {route} is now")
            return
        view = await gateway.restore_route(ctx, route, version, version=present)
        holds = f"version {view.version}" if view.version else "as declared"
        show(options, {**answer, "version": view.version}, lambda: f"{route} is {holds}\n{_lines(changes)}")

    return _at_gateway(file, work, data=data, json=json)


def _at_gateway(file: Path, work: Work, *, data: Path, json: bool) -> int:
    """Run `work` over the stored state; a running server follows it."""
    options = Options(data=data, json=json)

    async def whole() -> int:
        async with opened(options, file=file, only=("gateway",)) as house:
            await house.start()
            await work(options, house.door(Gateway), operator(house.settings.tenant))
        return DONE

    return run(options, whole)


_HEAD = ("VERSION", "CHANGED", "BY", "WHAT", "")


def _row(version: RouteVersion) -> tuple[str, ...]:
    what = "taken back" if version.spec is None else "; ".join(map(_change, version.changes))
    at = "as declared" if version.changed_at is None else f"{version.changed_at:%Y-%m-%d %H:%M:%S}"
    mark = "holds" if version.holds else "" if version.spec is None or not version.unfit else "cannot be brought back"
    return str(version.version), at, version.changed_by, what, mark


def _lines(changes: tuple[RouteChange, ...]) -> str:
    return "\n".join(map(_change, changes))


def _change(change: RouteChange) -> str:
    return f"{change.field}: {change.before or 'none'} > {change.after or 'none'}"
