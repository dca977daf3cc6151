"""Systems in memory, called through their doors and over the real HTTP application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from stanchion import System
from stanchion.app.http.build import build_app
from stanchion.core.clock import Clock
from stanchion.serving import Serving
from stanchion.testing import offline
from stanchion.testing.offline import Offline


@dataclass(frozen=True, slots=True)
class Running:
    """A running system: its house, its serving, and a client with a key that may do everything."""

    offline: Offline
    serving: Serving
    client: httpx2.AsyncClient

    @property
    def ctx(self) -> Any:
        """A new caller for each call, as each request has its own id."""
        return self.offline.caller("admin")

    async def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(path, content=content, headers={"Content-Type": "application/json", **headers})

    async def predict(self, model: str, features: Any, **more: Any) -> httpx2.Response:
        return await self.post("/v1/predictions", {"model_id": model, "features": features, **more})


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start() -> Start:
    @asynccontextmanager
    async def running(app: System, *, clock: Clock | None = None, **options: Any) -> AsyncIterator[Running]:
        async with offline(app, clock=clock, **options) as inside:
            key = (await inside.house.development_key()).read_text().strip()
            transport = httpx2.ASGITransport(app=build_app(inside.house, console=False))
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
                yield Running(inside, inside.door(Serving), client)

    return running
