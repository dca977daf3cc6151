"""Upstreams while the system runs: how they do, and which are taken out of service."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.context import Context
from ..core.errors import NotFound
from .contract.operations import Operations, UpstreamView
from .contract.specs import nearest
from .ports import DrainStore
from .routing.health import Health, Probes
from .routing.served import Served


class Upstreams(Operations):
    """The declared upstreams. `tenant` is the system's own, whose drains hold for all; `start` and `stop` frame the
    probes.
    """

    def __init__(
        self, health: Sequence[Health], models: Sequence[Served], probes: Probes, store: DrainStore, *, tenant: str
    ) -> None:
        self._health = {each.spec.name: each for each in health}
        self._models = models
        self._probes = probes
        self._store = store
        self._tenant = tenant
        self._drained: frozenset[tuple[str, str]] = frozenset()
        self._seen = -1

    async def start(self) -> None:
        """Read what is drained, and begin to probe."""
        await self.refresh()
        self._probes.start()

    async def stop(self) -> None:
        """End the probes."""
        await self._probes.stop()

    async def refresh(self) -> None:
        """Take in what other processes have drained."""
        changes = await self._store.changes()
        if changes != self._seen:
            self._drained = frozenset(await self._store.load())
            self._seen = changes

    def drained(self, tenant: str, upstream: str) -> bool:
        """Whether calls of the tenant are to be kept from the upstream."""
        drained = self._drained
        return bool(drained) and ((tenant, upstream) in drained or (self._tenant, upstream) in drained)

    async def upstreams(self, ctx: Context) -> Sequence[UpstreamView]:
        return [self._view(ctx, self._health[name]) for name in sorted(self._health)]

    async def drain(self, ctx: Context, name: str, *, drained: bool) -> UpstreamView:
        health = self._health.get(name)
        if health is None:
            raise NotFound(f"there is no upstream {name!r:.80}{nearest(name, list(self._health))}")
        if ctx.effect is not None:
            ctx.effect.note(drained=drained)
        await self._store.put(ctx, name, drained=drained)
        await self.refresh()
        return self._view(ctx, health)

    def _view(self, ctx: Context, health: Health) -> UpstreamView:
        spec = health.spec
        return UpstreamView(
            name=spec.name,
            kind=spec.kind,
            on_premises=spec.here,
            region=spec.region,
            models=tuple(sorted(each.spec.name for each in self._models if each.upstream.name == spec.name)),
            drained=self.drained(ctx.tenant, spec.name),
            healthy=health.ok,
            fault=health.fault,
            probed_at=health.at,
        )


class Operating(Operations):
    """Hands every question on."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams

    async def upstreams(self, ctx: Context) -> Sequence[UpstreamView]:
        return await self._upstreams.upstreams(ctx)

    async def drain(self, ctx: Context, name: str, *, drained: bool) -> UpstreamView:
        return await self._upstreams.drain(ctx, name, drained=drained)
