"""Where data of a class may go, and the proof of where it went."""

from __future__ import annotations

from collections.abc import Callable

from ...core.context import Context
from ...core.storage import Database
from ..contract.privacy import PrivacySpec, highest
from ..contract.tools import ToolServerSpec
from ..privacy.record import kept, placed
from ..routing.served import Served


class Placing:
    """Without rules of its own a system keeps what is labelled restricted or confidential on its premises."""

    def __init__(self, spec: PrivacySpec | None, database: Database) -> None:
        self._spec = spec or PrivacySpec()
        self._database = database

    def why_not(self, ctx: Context) -> Callable[[Served], str]:
        """Says of a model why the call may not be sent to it; empty where it may."""
        label = highest(*ctx.labels)

        def judge(served: Served) -> str:
            upstream = served.upstream
            return self._spec.why_not(label, on_premises=upstream.here, region=upstream.region)

        return judge

    def server(self, ctx: Context, spec: ToolServerSpec) -> str:
        """The same of a server of tools."""
        return self._spec.why_not(highest(*ctx.labels), on_premises=spec.on_premises, region=spec.region)

    def guards(self, ctx: Context) -> bool:
        """Whether the call is of a class that may not go anywhere."""
        label = highest(*ctx.labels)
        return label in self._spec.on_premises or label in self._spec.regions

    async def sent(self, ctx: Context, served: Served) -> None:
        """Write down, before it happens, that a call of a guarded class goes to a model."""
        if not self.guards(ctx):
            return
        label = highest(*ctx.labels)
        upstream = served.upstream
        await placed(
            self._database,
            ctx,
            label,
            upstream=upstream.name,
            model=served.spec.name,
            on_premises=upstream.here,
            region=upstream.region,
        )

    async def kept(self, ctx: Context, model: str) -> None:
        """Write down that a call was refused because no model may have its data."""
        await kept(self._database, ctx, highest(*ctx.labels), model=model)
