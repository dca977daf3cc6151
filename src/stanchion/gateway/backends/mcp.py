"""Asks a server of tools by the Model Context Protocol, over streamable HTTP.

Source: the protocol's specification, revision 2025-06-18; sections on lifecycle, transports and tools.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput, NotFound, StanchionError, Unavailable
from ...core.redaction import redact
from ...core.values import Json
from ..contract.tools import SEPARATOR, ToolAnswer, ToolServerSpec, ToolView
from ..ports import Response, ToolSource, Transport, Wire
from ..wire.sse import SseReader

REVISION = "2025-06-18"
KNOWN = ("2025-03-26", "2025-06-18", "2025-11-25")
_MOST_PAGES, _MOST_TOOLS = 50, 2_000
_LONGEST_NAME = 128
_METHOD_NOT_FOUND, _INVALID_PARAMS = -32601, -32602


class _Expired(Exception):
    """The server has forgotten the session; it has not looked at the request."""


class McpServer(ToolSource):
    """One server. Its session is opened at the first call, and anew where the server has ended it."""

    def __init__(self, spec: ToolServerSpec, transport: Transport) -> None:
        self._spec = spec
        self._transport = transport
        self._numbers = itertools.count(1)
        self._lock = asyncio.Lock()
        self._revision = ""
        self._session = ""

    async def tools(self, ctx: Context) -> Sequence[ToolView]:
        found: list[ToolView] = []
        cursor: Any = None
        for _ in range(_MOST_PAGES):
            page = await self._asked(ctx, "tools/list", {} if cursor is None else {"cursor": cursor})
            found += [self._tool(each) for each in _listed(page.get("tools"))]
            cursor = page.get("nextCursor")
            if cursor is None or len(found) > _MOST_TOOLS:
                return found[:_MOST_TOOLS]
        return found

    async def call(self, ctx: Context, name: str, arguments: Mapping[str, Json]) -> ToolAnswer:
        told = await self._asked(ctx, "tools/call", {"name": name, "arguments": dict(arguments)})
        content, structured = told.get("content", []), told.get("structuredContent")
        if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
            raise Unavailable(f"the tool server {self._spec.name} gave what is no answer of a tool")
        held = structured if isinstance(structured, dict) else None
        return ToolAnswer(content, held, told.get("isError") is True)

    async def close(self) -> None:
        await self._transport.close()

    def _tool(self, held: object) -> ToolView:
        tool: Mapping[str, Any] = held if isinstance(held, dict) else {}
        name, schema = tool.get("name"), tool.get("inputSchema")
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not isinstance(schema, dict):
            raise Unavailable(f"the tool server {self._spec.name} lists what is no tool")
        words = tool.get("description")
        return ToolView(
            name=f"{self._spec.name}{SEPARATOR}{name}",
            description=words if isinstance(words, str) else "",
            schema=schema,
            server=self._spec.name,
        )

    async def _asked(self, ctx: Context, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        await self._begin(ctx)
        try:
            return await self._request(ctx, method, params)
        except _Expired:
            self._revision = ""
            await self._begin(ctx)
        try:
            return await self._request(ctx, method, params)
        except _Expired as error:
            raise Unavailable(f"the tool server {self._spec.name} ends every session at once") from error

    async def _begin(self, ctx: Context) -> None:
        if self._revision:
            return
        async with self._lock:
            if self._revision:
                return
            self._session = ""
            client = {"name": "stanchion", "version": version("stanchion")}
            params = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client}
            told = await self._request(ctx, "initialize", params)
            revision = told.get("protocolVersion")
            if revision not in KNOWN:
                raise Unavailable(f"the tool server {self._spec.name} speaks another revision: {str(revision)[:40]}")
            self._revision = str(revision)
            await self._sent(ctx, {"jsonrpc": "2.0", "method": "notifications/initialized"}, None)

    async def _request(self, ctx: Context, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        number = next(self._numbers)
        document = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        told = await self._sent(ctx, document, number)
        if isinstance(told, dict) and isinstance(told.get("result"), dict):
            result: Mapping[str, Any] = told["result"]
            return result
        raise self._failure(told.get("error") if isinstance(told, dict) else None)

    async def _sent(self, ctx: Context, document: Mapping[str, Any], number: int | None) -> Any:
        """The answer to the request of that number; None for a notification, which has none."""
        headers = {"accept": "application/json, text/event-stream"}
        if self._revision:
            headers["mcp-protocol-version"] = self._revision
        if self._session:
            headers["mcp-session-id"] = self._session
        async with self._transport.send(ctx, Wire("", msgspec.json.encode(document), headers)) as response:
            if response.status == 404 and self._session:
                raise _Expired
            if response.status not in (200, 202, 204):
                raise Unavailable(f"the tool server {self._spec.name} answered {response.status}")
            if document["method"] == "initialize":
                self._session = response.headers.get("mcp-session-id", "")
            return None if number is None else await self._read(response, number)

    async def _read(self, response: Response, number: int) -> Any:
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return self._decoded(await response.read())
        reader = SseReader()
        async for data in response.pieces():
            for event in reader.feed(data):
                told = self._decoded(event.data) if event.data else None
                # What comes before it, such as word of progress, is for a client that shows it.
                if isinstance(told, dict) and told.get("id") == number and ("result" in told or "error" in told):
                    return told
        raise Unavailable(f"the tool server {self._spec.name} ended its answer before it was complete")

    def _decoded(self, data: bytes) -> Any:
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"the tool server {self._spec.name} sent what is no JSON") from error

    def _failure(self, error: object) -> StanchionError:
        held: Mapping[str, Any] = error if isinstance(error, dict) else {}
        words = f"the tool server {self._spec.name} refused: {redact(str(held.get('message', '')))[:500]}"
        if held.get("code") == _INVALID_PARAMS:
            return InvalidInput(words, next_step="Send arguments that fit the tool's schema.")
        return NotFound(words) if held.get("code") == _METHOD_NOT_FOUND else Unavailable(words)


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
