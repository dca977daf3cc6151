"""The gateway as a server of tools: the Model Context Protocol over streamable HTTP, without sessions.

Every call stands alone and is answered with JSON, so any process may answer it. Source: revision 2025-06-18.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import msgspec
from starlette.routing import Route

from ...core.context import Context
from ...core.errors import (
    BY_CODE,
    InvalidInput,
    MalformedRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    StanchionError,
)
from ...core.http.limits import read_body
from ...core.http.routes import BODY, CONTEXT, ROW
from ...core.redaction import redact
from ...core.telemetry.contract import LedgerRow
from ..contract.tools import Tools, ToolView

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATH = "/v1/mcp"
KNOWN = ("2025-03-26", "2025-06-18", "2025-11-25")
_LATEST = "2025-06-18"
_MOST = 8 << 20
_SENSITIVITY = b"x-stanchion-sensitivity"
_METHOD_NOT_FOUND, _INVALID_PARAMS, _FAILED = -32601, -32602, -32000


class _Unknown(Exception):
    """A method that this server does not have."""


class McpEndpoint:
    """Answers one JSON-RPC message."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get(BODY)
        if body is None:
            body = await read_body(receive, _MOST)
        ctx, row = cast(Context, scope[CONTEXT]), cast(LedgerRow, scope[ROW])
        message = _message(body)
        if "id" not in message:
            # A notification, or an answer to a question that was never asked.
            await _told(send, 202, b"")
            return
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            method, params = str(message.get("method")), _params(message)
            answer["result"] = await self._answered(ctx, row, method, params, _sensitivity(scope["headers"]))
        except (NotAllowed, NotAuthenticated):
            raise
        except _Unknown:
            answer["error"] = {"code": _METHOD_NOT_FOUND, "message": "there is no such method here"}
        except StanchionError as error:
            row.outcome = error.code
            answer["error"] = _error(ctx, error)
        await _told(send, 200, msgspec.json.encode(answer))

    async def _answered(
        self, ctx: Context, row: LedgerRow, method: str, params: Mapping[str, Any], sensitivity: str
    ) -> dict[str, Any]:
        match method:
            case "initialize":
                asked = params.get("protocolVersion")
                return {
                    "protocolVersion": asked if asked in KNOWN else _LATEST,
                    "capabilities": {"tools": {"listChanged": False}},
                    "serverInfo": {"name": "stanchion", "version": version("stanchion")},
                }
            case "ping":
                return {}
            case "tools/list":
                return {"tools": [_tool(each) for each in await self._tools.tools(ctx)]}
            case "tools/call":
                return await self._called(ctx, row, params, sensitivity)
            case _:
                raise _Unknown

    async def _called(
        self, ctx: Context, row: LedgerRow, params: Mapping[str, Any], sensitivity: str
    ) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments") or {}
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise InvalidInput("`name` is a text and `arguments` an object")
        row.subject = redact(name)[:192] if name.isprintable() else ""
        answer = await self._tools.call_tool(ctx, name, arguments, sensitivity=sensitivity)
        told: dict[str, Any] = {"content": list(answer.content), "isError": answer.failed}
        return told if answer.structured is None else {**told, "structuredContent": dict(answer.structured)}


def mcp_routes(tools: Tools) -> list[Route]:
    """The route at which clients of MCP call."""
    return [Route(PATH, McpEndpoint(tools), methods=["POST"])]


def document() -> dict[str, Any]:
    """Its path item in the OpenAPI document."""
    message = {"type": "object", "required": ["jsonrpc"], "properties": {"jsonrpc": {"const": "2.0"}}}
    body = {"required": True, "content": {"application/json": {"schema": message}}}
    problem = {"application/problem+json": {"schema": {"type": "object"}}}
    answers = {str(error.status): {"description": error.title, "content": problem} for error in BY_CODE.values()}
    told = {"description": "The JSON-RPC answer", "content": {"application/json": {"schema": {"type": "object"}}}}
    operation = {
        "operationId": "gateway_mcp",
        "tags": ["gateway"],
        "summary": "Tools of the declared servers, by the Model Context Protocol",
        "requestBody": body,
        "responses": {"200": told, "202": {"description": "A notification was taken"}, **answers},
    }
    return {PATH: {"post": operation}}


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest(f"the body is not one JSON document: {error}") from error
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise InvalidInput("the body is one message of JSON-RPC 2.0", next_step="Messages are not taken in batches.")
    return message


def _sensitivity(headers: Iterable[tuple[bytes, bytes]]) -> str:
    return next((value.decode("latin-1")[:64] for name, value in headers if name == _SENSITIVITY), "")


def _params(message: Mapping[str, Any]) -> Mapping[str, Any]:
    params = message.get("params")
    return params if isinstance(params, dict) else {}


def _tool(tool: ToolView) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "inputSchema": dict(tool.schema)}


def _error(ctx: Context, error: StanchionError) -> dict[str, Any]:
    code = _INVALID_PARAMS if isinstance(error, InvalidInput | NotFound) else _FAILED
    problem = {**error.problem(trace_id=ctx.trace.trace_id), "detail": redact(error.detail)}
    return {"code": code, "message": redact(error.detail), "data": problem}


async def _told(send: Send, status: int, body: bytes) -> None:
    kind = [(b"content-type", b"application/json")] if body else []
    headers = [*kind, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
