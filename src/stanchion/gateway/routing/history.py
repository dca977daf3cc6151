"""The history of routes: what each version changed, and which can be brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput, NotFound
from ..contract.gateway import RouteView, Routing
from ..contract.specs import ROUTE_PREFIX, RouteSpec
from ..contract.versions import RouteChange, RouteVersion
from .table import Table, Target

if TYPE_CHECKING:
    from ..ports import RouteStore, StoredRoute

_MOST = 1_000
_NAMED = tuple(field.name for field in fields(RouteSpec) if field.name != "name")


class History:
    """The versions of every route, as the store has them."""

    def __init__(self, table: Table, store: RouteStore) -> None:
        self._table = table
        self._store = store

    async def versions(self, ctx: Context, name: str, *, limit: int, before: int | None) -> list[RouteVersion]:
        """As the contract's."""
        if not 1 <= limit <= _MOST:
            raise InvalidInput(f"the limit is 1 to {_MOST:,}, not {limit}")
        # One more than is asked for: the oldest of them is told by what it changed.
        rows = await self._store.versions(ctx, name, limit=limit + 1, before=before)
        declared = self._table.declared(name)
        if not rows and declared is None and before is None:
            raise NotFound(f"there is no route {name!r:.200}", next_step="GET /v1/gateway/routes lists the routes.")
        present = self._table.route(ctx.tenant, name)
        held = None if present is None else present.spec
        origin = None if declared is None else declared.spec
        found = []
        for place, row in enumerate(rows[:limit]):
            older = rows[place + 1].spec if place + 1 < len(rows) else None
            holds = present is not None and row.version == present.version
            found.append(self._view(row, older or origin, row.spec or origin, held, holds=holds))
        if len(rows) < limit and declared is not None and (before is None or before > 0):
            holds = present is not None and present.version == 0
            found.append(RouteVersion(0, origin, None, "", holds, (), differences(held, origin)))
        return found

    async def asked(self, ctx: Context, model: str, version: int | None) -> Target:
        """The same for the name by which a client asks; without a version as it is now. Raises what `target` does."""
        if version is None:
            return self._table.find(ctx.tenant, model)
        if not model.startswith(ROUTE_PREFIX):
            raise InvalidInput(f"{model!r:.200} has no versions", next_step=f"Ask a route, as {ROUTE_PREFIX}NAME.")
        return await self.target(ctx, model.removeprefix(ROUTE_PREFIX), version)

    async def target(self, ctx: Context, name: str, version: int) -> Target:
        """The route as it is in that version. Raises NotFound, and InvalidInput for one that cannot hold now."""
        if version == 0:
            declared = self._table.declared(name)
            if declared is None:
                raise NotFound(f"no route {name!r:.200} is declared", next_step="Choose a version that was put.")
            return declared
        rows = await self._store.versions(ctx, name, limit=1, before=version + 1)
        if not rows or rows[0].version != version:
            raise NotFound(
                f"the route {name!r:.200} has no version {version}",
                next_step=f"GET /v1/gateway/routes/{name:.200}/versions lists the versions.",
            )
        if rows[0].spec is None:
            raise InvalidInput(
                f"version {version} took the route {name!r:.200} back",
                next_step="Bring back version 0, or another one; or take the route back itself.",
            )
        return self._table.checked(rows[0].spec, version)

    def _view(
        self,
        row: StoredRoute,
        older: RouteSpec | None,
        became: RouteSpec | None,
        held: RouteSpec | None,
        *,
        holds: bool,
    ) -> RouteVersion:
        unfit = ""
        if row.spec is None:
            unfit = "it took the route back"
        else:
            try:
                self._table.checked(row.spec, row.version)
            except InvalidInput as error:
                unfit = error.detail
        return RouteVersion(
            version=row.version,
            spec=row.spec,
            changed_at=row.changed_at,
            changed_by=row.changed_by,
            holds=holds,
            changes=differences(older, became),
            restoring=() if row.spec is None else differences(held, row.spec),
            unfit=unfit,
        )


class Restoring(Routing):
    """Versions of routes for a service that can put and drop routes."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def route_versions(
        self, ctx: Context, name: str, *, limit: int = 100, before: int | None = None
    ) -> Sequence[RouteVersion]:
        return await self._history.versions(ctx, name, limit=limit, before=before)

    async def restore_route(self, ctx: Context, name: str, restored: int, *, version: int) -> RouteView:
        spec = (await self._history.target(ctx, name, restored)).spec
        if ctx.effect is not None:
            ctx.effect.note(restored=restored)
        if restored:
            return await self.put_route(ctx, name, spec, version=version)
        await self.drop_route(ctx, name, version=version)
        return next(view for view in await self.routes(ctx) if view.spec.name == name)


def differences(before: RouteSpec | None, after: RouteSpec | None) -> tuple[RouteChange, ...]:
    """What differs between two declarations of a route, field by field; None is a route that is not there."""
    old, new = _texts(before), _texts(after)
    return tuple(RouteChange(name, old[name], new[name]) for name in _NAMED if old[name] != new[name])


def _texts(spec: RouteSpec | None) -> Mapping[str, str]:
    return {name: "" if spec is None else _text(getattr(spec, name)) for name in _NAMED}


def _text(value: object) -> str:
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name}: {value[name]:g}" if isinstance(value[name], float) else f"{name}: {value[name]}"
            for name in sorted(value)
        )
    return str(value) if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()
