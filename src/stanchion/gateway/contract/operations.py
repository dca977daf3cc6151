"""Upstreams as they do now, and taking one out of service while the system runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ...core.context import Context
from ...core.contract import action
from .specs import Kind


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """A declared upstream. `models` are those that are asked there. `drained` tells that the caller's calls are no
    longer sent to it, `healthy` what its last probes said: None where it is not probed, or not yet. `fault` is what the
    last probe found wrong, `probed_at` when it was.
    """

    name: str
    kind: Kind
    on_premises: bool
    region: str
    models: tuple[str, ...]
    drained: bool = False
    healthy: bool | None = None
    fault: str = ""
    probed_at: datetime | None = None


class Operations(Protocol):
    """Upstreams of the caller's tenant. They are declared for all; a drain is the tenant's own."""

    @action("gateway:read", effect="read", resource="Upstream")
    async def upstreams(self, ctx: Context) -> Sequence[UpstreamView]:
        """Every declared upstream by name."""
        ...

    @action("gateway:drain", effect="write", resource="Upstream", by="name")
    async def drain(self, ctx: Context, name: str, *, drained: bool) -> UpstreamView:
        """Send no more calls of the caller's tenant to the upstream, or send them again; in the tenant of the system
        itself it holds for every tenant. Calls under way come to their end. Other processes follow within the time
        that a change of a route takes. Raises NotFound.
        """
        ...
