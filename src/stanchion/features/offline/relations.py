"""Which rows a view is made of, for a tenant: the table of its source, the log of what was pushed, or both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from ...core.context import Context
from ...core.errors import NotFound
from ..contract import SourceSpec, ViewSpec
from ..ports import Log, Relation
from ..windows.plan import Plan, kinds_of

Resolve = Callable[[str], Awaitable[str]]


def log_name(spec: ViewSpec | SourceSpec) -> str:
    """The name under which the log keeps what is pushed to a view, or to its source."""
    if isinstance(spec, SourceSpec):
        return f"source:{spec.name}"
    return f"view:{spec.name}" if spec.source is None else log_name(spec.source)


class Relations:
    """Makes relations of declared views. Tables belong to the system's own tenant; pushed rows to whoever pushed."""

    def __init__(self, plans: Iterable[Plan], *, tenant: str, resolve: Resolve, log: Log) -> None:
        self._plans = {plan.name: plan for plan in plans}
        self._tenant = tenant
        self._resolve = resolve
        self.log = log

    def plan(self, view: str) -> Plan:
        """The view's plan. Raises NotFound."""
        if view not in self._plans:
            raise NotFound(f"no feature view is declared as {view!r}")
        return self._plans[view]

    async def of(self, ctx: Context, view: str) -> Relation:
        """The relation behind a view. Raises NotFound if the view's table is another tenant's, Misconfigured."""
        plan = self.plan(view)
        source = plan.source
        table = None if source is None else source.table
        if table is not None and ctx.tenant != self._tenant:
            raise NotFound(f"no feature view with a table is declared as {view!r}")
        address = None
        if table is not None and table.connection is not None:
            name = table.connection
            address = await self._resolve(name if ":" in name else f"store:{name}")
        kinds = kinds_of(plan.spec.row if source is None else source.row)
        return Relation(plan, source, table, address, kinds)
