"""What probes say of upstreams: a call that costs nothing, as often as is declared, and none where none is declared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from ...core.clock import Clock
from ...core.context import Context, system_context
from ...core.errors import StanchionError
from ...core.tasks import end_tasks
from ..contract.specs import Kind, UpstreamSpec
from ..ports import Transport

_FAILURES = 3  # in a row, before an upstream is asked last
_PATHS: dict[Kind, str] = {"anthropic": "/v1/models", "gemini": "/v1beta/models", "tei": "/health"}


class Health:
    """One upstream's. `ok` is None before the first probe."""

    def __init__(self, spec: UpstreamSpec) -> None:
        self.spec = spec
        self.ok: bool | None = None
        self.fault = ""
        self.at: datetime | None = None
        self._failures = 0

    def saw(self, fault: str, at: datetime) -> None:
        """Take in what a probe came to. One that is well again is asked again at once."""
        self.fault, self.at = fault, at
        self._failures = self._failures + 1 if fault else 0
        if not fault:
            self.ok = True
        elif self._failures >= _FAILURES:
            self.ok = False


class Probes:
    """Probes the upstreams that declare it."""

    def __init__(self, upstreams: Sequence[tuple[Health, Transport]], *, tenant: str, clock: Clock) -> None:
        self._upstreams = [each for each in upstreams if each[0].spec.probe_seconds is not None]
        self._ctx = system_context(tenant, task="probe")
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, where there is anything to probe."""
        self._tasks = [
            asyncio.create_task(self._follow(health, transport), name=f"gateway-probe-{health.spec.name}")
            for health, transport in self._upstreams
        ]

    async def stop(self) -> None:
        """End."""
        await end_tasks(*self._tasks)

    async def _follow(self, health: Health, transport: Transport) -> None:
        while True:
            health.saw(await self._fault(self._ctx, health.spec, transport), self._clock.now())
            await asyncio.sleep(health.spec.probe_seconds or 0.0)

    async def _fault(self, ctx: Context, spec: UpstreamSpec, transport: Transport) -> str:
        try:
            status = await transport.probe(ctx, spec.probe_path or _PATHS.get(spec.kind, "/models"))
        except StanchionError as error:
            return error.detail
        # 404 and 405 come from a server that is there; a key that is refused refuses calls as well.
        return f"it answers a probe with {status}" if status >= 500 or status in (401, 403) else ""
