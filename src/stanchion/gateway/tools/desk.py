"""Joins the servers of tools: names, filters, where data may go, and a breaker for each server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import InvalidInput, NotFound, StanchionError, Unavailable
from ...core.resilience import Breaker
from ...core.values import Json
from ..contract.tools import SEPARATOR, ToolAnswer, Tools, ToolServerSpec, ToolView
from ..ports import ToolSource
from .screen import Screen

_log = logging.getLogger(__name__)
_FRESH_SECONDS = 60.0


class ToolServer:
    """One declared server, with what it offered of late."""

    def __init__(self, spec: ToolServerSpec, source: ToolSource, *, clock: Clock) -> None:
        self.spec = spec
        self.source = source
        self.breaker = Breaker(f"tools:{spec.name}", clock=clock)
        self._clock = clock
        self._tools: Sequence[ToolView] = ()
        self._until = 0.0

    async def tools(self, ctx: Context) -> Sequence[ToolView]:
        """All its tools, at most a minute old."""
        if self._clock.monotonic() >= self._until:
            async with self.breaker_held():
                self._tools = await self.source.tools(ctx)
            self._until = self._clock.monotonic() + _FRESH_SECONDS
        return self._tools

    def breaker_held(self) -> _Held:
        """A block whose outcome the breaker learns."""
        return _Held(self.breaker)


class _Held:
    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    async def __aenter__(self) -> None:
        self._permit = self._breaker.admit()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._breaker.succeed(self._permit)
        elif isinstance(error, (InvalidInput, NotFound)) or not isinstance(error, Exception):
            self._breaker.release(self._permit)
        else:
            self._breaker.fail(self._permit, error)


class ToolDesk(Tools):
    """The tools of all servers. `screen` looks through what goes to them and what comes back."""

    def __init__(self, servers: Sequence[ToolServer], screen: Screen) -> None:
        self._servers = {server.spec.name: server for server in servers}
        self._screen = screen

    async def close(self) -> None:
        """Close the connections."""
        for server in self._servers.values():
            await server.source.close()

    async def tools(self, ctx: Context) -> Sequence[ToolView]:
        servers = [self._servers[name] for name in sorted(self._servers)]
        told = await asyncio.gather(*(server.tools(ctx) for server in servers), return_exceptions=True)
        found: list[ToolView] = []
        failed: list[str] = []
        for server, tools in zip(servers, told, strict=True):
            if isinstance(tools, StanchionError):
                _log.warning("the tools of %s are left out: %s", server.spec.name, tools.detail)
                failed.append(server.spec.name)
            elif isinstance(tools, BaseException):
                raise tools
            else:
                found += [tool for tool in tools if server.spec.offers(ctx.principal, _short(tool.name))]
        if failed and len(failed) == len(servers):
            raise Unavailable(f"no tool server answers ({', '.join(failed)})")
        return sorted(found, key=lambda tool: tool.name)

    async def call_tool(
        self, ctx: Context, name: str, arguments: Mapping[str, Json], *, sensitivity: str = ""
    ) -> ToolAnswer:
        owner, _, tool = name.partition(SEPARATOR)
        server = self._servers.get(owner)
        # One that the caller may not know of is answered as one that does not exist.
        if server is None or not tool or not server.spec.offers(ctx.principal, tool):
            raise NotFound(f"there is no tool {name!r:.200}", next_step="GET /v1/gateway/tools lists the tools.")
        screened = await self._screen.sent(ctx, server.spec, name, arguments, sensitivity)
        async with server.breaker_held():
            answer = await server.source.call(screened.ctx, tool, screened.arguments)
        return await self._screen.given(screened, answer)


class Tooling(Tools):
    """Hands every question on."""

    def __init__(self, desk: ToolDesk) -> None:
        self._tools = desk

    async def tools(self, ctx: Context) -> Sequence[ToolView]:
        return await self._tools.tools(ctx)

    async def call_tool(
        self, ctx: Context, name: str, arguments: Mapping[str, Json], *, sensitivity: str = ""
    ) -> ToolAnswer:
        return await self._tools.call_tool(ctx, name, arguments, sensitivity=sensitivity)


def _short(name: str) -> str:
    return name.partition(SEPARATOR)[2]
