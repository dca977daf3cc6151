"""Tools of other servers: the official server behind the gateway, the official client in front of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import uvicorn
from aiohttp import web
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer

from stanchion.core.errors import InvalidInput, Misconfigured, NotAllowed, NotFound, Unavailable
from stanchion.core.security.contract import Keys
from stanchion.gateway import Gateway
from stanchion.gateway.contract.tools import ToolServerSpec
from stanchion.system import System
from stanchion.testing import offline

pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def official(calls: list[Any], **options: Any) -> AsyncIterator[str]:
    """The official server with three tools, at a free port; its URL."""
    server = MCPServer("office")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        calls.append((a, b))
        return a + b

    @server.tool()
    def fail() -> str:
        """Fail."""
        raise ValueError("the tool's own words")

    @server.tool()
    def delete_all() -> str:
        """Not for everybody."""
        return "gone"

    bound = socket.create_server(("127.0.0.1", 0))
    app = server.streamable_http_app(**options)
    running = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    task = asyncio.create_task(running.serve(sockets=[bound]))
    while not running.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"
    finally:
        running.should_exit = True
        await task


@pytest.mark.parametrize("options", [{}, {"json_response": True}, {"stateless_http": True}], ids=str)
async def test_tools_of_an_official_server_are_listed_and_called(options: Any) -> None:
    calls: list[Any] = []
    async with official(calls, **options) as url:
        app = System("tools")
        app.tool_server("office", url=url)
        async with offline(app) as run:
            gateway = run.door(Gateway)
            tools = await gateway.tools(run.ctx)
            assert [tool.name for tool in tools] == ["office__add", "office__delete_all", "office__fail"]
            assert tools[0].description == "Add two numbers."
            assert dict(tools[0].schema)["required"] == ["a", "b"]
            answer = await gateway.call_tool(run.ctx, "office__add", {"a": 2, "b": 40})
            assert (answer.content[0]["text"], answer.failed) == ("42", False)
            assert calls == [(2, 40)]
            failed = await gateway.call_tool(run.ctx, "office__fail", {})
            assert failed.failed
            assert (await gateway.call_tool(run.ctx, "office__nothing", {})).failed
            for name in ("other__add", "add", "office__"):
                with pytest.raises(NotFound):
                    await gateway.call_tool(run.ctx, name, {})


async def test_a_caller_sees_and_calls_only_the_tools_of_their_key() -> None:
    async with official([]) as url:
        app = System("tools")
        app.tool_server("office", url=url, tools=["add", "del*"], keys={"user:ada": ["*"], "key:*": ["add"]})
        async with offline(app) as run:
            gateway = run.door(Gateway)

            async def seen(principal: str) -> list[str]:
                return [tool.name for tool in await gateway.tools(replace(run.ctx, principal=principal))]

            assert await seen("user:ada") == ["office__add", "office__delete_all"]
            assert await seen("key:4f2a") == ["office__add"]
            assert await seen("user:bob") == []
            with pytest.raises(NotFound, match="no tool"):
                await gateway.call_tool(replace(run.ctx, principal="key:4f2a"), "office__delete_all", {})
            with pytest.raises(NotFound, match="no tool"):
                await gateway.call_tool(replace(run.ctx, principal="user:ada"), "office__fail", {})
            nobody = run.caller("nothing")
            with pytest.raises(NotAllowed):
                await gateway.call_tool(nobody, "office__add", {"a": 1, "b": 1})


async def test_restricted_data_goes_to_servers_on_the_premises_alone() -> None:
    calls: list[Any] = []
    async with official(calls) as url:
        app = System("tools")
        app.tool_server("cloud", url=url)
        app.tool_server("here", url=url, on_premises=True)
        async with offline(app) as run:
            gateway, ctx = run.door(Gateway), run.ctx.labelled("restricted")
            with pytest.raises(NotAllowed, match="may not have this data"):
                await gateway.call_tool(ctx, "cloud__add", {"a": 1, "b": 1})
            assert calls == []
            assert not (await gateway.call_tool(ctx, "here__add", {"a": 1, "b": 1})).failed


async def test_an_official_client_uses_the_tools_through_the_gateway(served: Callable[..., Any]) -> None:
    calls: list[Any] = []
    async with official(calls) as url:

        def declare(app: System, ups: Any) -> None:
            app.tool_server("office", url=url, tools=["add", "fail"])

        async with served(declare) as servers:
            key = await servers.run.door(Keys).create(servers.run.ctx, name="agent", roles=["admin"])
            headers = {"authorization": f"Bearer {key.secret}"}
            async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
                transport = streamable_http_client(f"{servers.url}/v1/mcp", http_client=http)
                async with Client(transport) as client:
                    tools = (await client.list_tools()).tools
                    assert [tool.name for tool in tools] == ["office__add", "office__fail"]
                    answer = await client.call_tool("office__add", {"a": 20, "b": 22})
                    assert answer.content[0].text == "42"  # type: ignore[union-attr]  # it is a text
                    assert answer.structured_content == {"result": 42}
                    assert (await client.call_tool("office__fail", {})).is_error
                    with pytest.raises(MCPError, match="no tool"):
                        await client.call_tool("office__delete_all", {})
                told = await http.get(f"{servers.url}/v1/gateway/tools")
                assert [each["name"] for each in told.json()["data"]] == ["office__add", "office__fail"]
                told = await http.post(
                    f"{servers.url}/v1/gateway/tools/office__add", json={"arguments": {"a": 1, "b": 2}}
                )
                assert told.json()["structured"] == {"result": 3}
                assert (await http.post(f"{servers.url}/v1/mcp", json=[])).status_code == 422
                assert (await http.get(f"{servers.url}/v1/mcp")).status_code == 405
            assert calls == [(20, 22), (1, 2)]


@asynccontextmanager
async def scripted(answer: Callable[[web.Request, Any], Any]) -> AsyncIterator[str]:
    """A server that says what the test says."""

    async def handle(request: web.Request) -> Any:
        return await answer(request, await request.json())

    app = web.Application()
    app.router.add_post("/mcp", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        await runner.cleanup()


def result(message: Any, **held: Any) -> web.Response:
    return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": held})


def greeting(message: Any, **more: Any) -> web.Response:
    held = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}, **more}
    return result(message, **held)


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (lambda m: web.Response(status=500), Unavailable),
        (lambda m: web.Response(text="<html>", content_type="text/html"), Unavailable),
        (lambda m: web.Response(text="data: {}\n\n", content_type="text/event-stream"), Unavailable),
        (lambda m: web.json_response({"jsonrpc": "2.0", "id": m["id"], "error": {"code": -32602}}), InvalidInput),
        (lambda m: web.json_response({"jsonrpc": "2.0", "id": m["id"], "error": "x"}), Unavailable),
        (lambda m: result(m, content="x"), Unavailable),
        (lambda m: web.json_response([1]), Unavailable),
    ],
)
async def test_a_server_that_fails_is_told_and_its_tool_never_called_twice(broken: Any, error: Any) -> None:
    heard: list[str] = []

    async def answer(request: web.Request, message: Any) -> Any:
        heard.append(message["method"])
        if message["method"] == "tools/call":
            return broken(message)
        return web.Response(status=202) if "id" not in message else greeting(message)

    async with scripted(answer) as url:
        app = System("tools")
        app.tool_server("x", url=url)
        async with offline(app) as run:
            with pytest.raises(error):
                await run.door(Gateway).call_tool(run.ctx, "x__pay", {})
    assert heard == ["initialize", "notifications/initialized", "tools/call"]


async def test_a_session_that_the_server_has_ended_is_opened_anew() -> None:
    sessions: list[str] = []
    asked: list[str] = []

    async def answer(request: web.Request, message: Any) -> Any:
        if message["method"] == "initialize":
            sessions.append(f"s{len(sessions)}")
            told = greeting(message)
            told.headers["Mcp-Session-Id"] = sessions[-1]
            return told
        if "id" not in message:
            return web.Response(status=202)
        asked.append(request.headers["Mcp-Session-Id"])
        assert request.headers["MCP-Protocol-Version"] == "2025-06-18"
        if asked == ["s0", "s0"]:
            return web.Response(status=404)
        return result(message, content=[{"type": "text", "text": "paid"}])

    async with scripted(answer) as url:
        app = System("tools")
        app.tool_server("x", url=url)
        async with offline(app) as run:
            for _ in range(2):
                answer_ = await run.door(Gateway).call_tool(run.ctx, "x__pay", {})
                assert answer_.content[0]["text"] == "paid"
    assert asked == ["s0", "s0", "s1"]


async def test_a_server_that_is_down_is_left_out_of_the_list() -> None:
    async with official([]) as url:
        app = System("tools")
        app.tool_server("office", url=url, tools=["add"])
        app.tool_server("down", url="http://127.0.0.1:9/mcp")
        async with offline(app) as run:
            assert [tool.name for tool in await run.door(Gateway).tools(run.ctx)] == ["office__add"]
        app = System("tools")
        app.tool_server("down", url="http://127.0.0.1:9/mcp")
        async with offline(app) as run:
            with pytest.raises(Unavailable, match="no tool server answers"):
                await run.door(Gateway).tools(run.ctx)


@pytest.mark.parametrize(
    "wrong",
    [{"name": "a__b"}, {"url": "http://tools.example/mcp"}, {"url": "ftp://x"}, {"seconds": 0}, {"name": "a b"}],
)
def test_a_tool_server_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        ToolServerSpec(**{"name": "office", "url": "https://tools.example/mcp", **wrong})
