"""A gated-like front over a real serving with scripted graphs: Context and ledger row as the door would give them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from stanchion.core.errors import StanchionError
from stanchion.core.http.routes import CONTEXT, ROW, json_response
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.serving.protocols.table import served


class Front:
    """Puts the caller and a row where routes find them."""

    def __init__(self, app: Any, ctx: Any, rows: list[LedgerRow]) -> None:
        self._app, self._ctx, self._rows = app, ctx, rows

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        row = LedgerRow(datetime.now(UTC), self._ctx.request_id, self._ctx.trace.trace_id, "t1", "ada", scope["path"])
        self._rows.append(row)
        scope[CONTEXT], scope[ROW] = self._ctx, row
        await self._app(scope, receive, send)


async def problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, StanchionError)
    return json_response(error.problem(), error.status)


@pytest.fixture
def rows() -> list[LedgerRow]:
    return []


@pytest.fixture
async def serving(bench: Any) -> AsyncIterator[Any]:
    await bench.register("a", 0.7)
    service = bench.serving()
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def client(serving: Any, ctx: Any, rows: list[LedgerRow]) -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=list(served(serving).hot), exception_handlers={StanchionError: problem})
    transport = httpx2.ASGITransport(app=Front(app, ctx, rows))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made
