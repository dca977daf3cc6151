"""Serving keeps its contract near and far."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.errors import NotFound
from stanchion.core.telemetry.metrics import Metrics
from stanchion.serving import Serving
from stanchion.serving.backends.scripted import ScriptedRuntime
from stanchion.serving.pool import Pool
from stanchion.serving.service import ServingService
from stanchion.testing.serving import SPECS, ServingSuite
from stanchion.testing.tensors import TensorSuite


class EmptyRegistry:
    """Holds nothing, and never will."""

    async def resolve(self, ctx: Any, reference: str) -> None:
        raise NotFound(f"there is no {reference}")

    async def watch(self, ctx: Any, *, since: int = -1) -> AsyncIterator[None]:
        import asyncio

        await asyncio.Event().wait()
        yield None


@asynccontextmanager
async def started() -> AsyncIterator[ServingService]:
    registry: Any = EmptyRegistry()
    service = ServingService(
        specs=SPECS,
        registry=registry,
        runtime=ScriptedRuntime(),
        metrics=Metrics(),
        clock=SystemClock(),
        tenant="t1",
        pool=Pool(threads=1, waiting=1),
    )
    await service.start()
    yield service
    await service.stop()


class TestNear(ServingSuite):
    @pytest.fixture
    async def serving(self) -> AsyncIterator[Serving]:
        async with started() as service:
            yield service


class TestFarAway(ServingSuite):
    @pytest.fixture
    async def serving(self, far: Any) -> AsyncIterator[Serving]:
        async with started() as service, far("serving", Serving, service) as client:
            yield client


class TestTensorsNear(TensorSuite):
    @pytest.fixture
    async def serving(self) -> AsyncIterator[Serving]:
        async with started() as service:
            yield service


class TestTensorsFarAway(TensorSuite):
    @pytest.fixture
    async def serving(self, far: Any) -> AsyncIterator[Serving]:
        async with started() as service, far("serving", Serving, service) as client:
            yield client
