"""A client over a server that does as it is told, with a clock that stands still unless somebody waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from stanchion.app.client import AsyncClient, Client
from stanchion.core.resilience import RetryRules
from stanchion.testing.clock import FakeClock

ANSWER = {
    "request_id": "r1",
    "trace_id": "t1",
    "model_id": "m",
    "model_version": "1.0.0",
    "served_by": "primary",
    "latency_ms": 0.5,
    "label": "high",
    "score": 0.7,
}


def problem(code: str, status: int, **more: Any) -> httpx2.Response:
    return httpx2.Response(status, json={"code": code, "detail": code, "trace_id": "t9", **more})


class Script:
    """Answers requests one after another; an exception is raised as the wire would."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.replies: list[Any] = []
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if self.replies else httpx2.Response(200, json=ANSWER)
        if isinstance(reply, Exception):
            raise reply
        return reply(request) if callable(reply) else reply

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def script() -> Script:
    return Script(FakeClock())


@pytest.fixture
def client(script: Script) -> Callable[..., Client]:
    def made(**options: Any) -> Client:
        options.setdefault("retries", RetryRules(attempts=4, base=0.1, maximum=5))
        return Client(
            "http://127.0.0.1:1",
            "st_key",
            transport=httpx2.MockTransport(script),
            clock=script.clock,
            sleep=script.sleep,
            **options,
        )

    return made


@pytest.fixture
def async_client(script: Script) -> Callable[..., AsyncClient]:
    def made(**options: Any) -> AsyncClient:
        options.setdefault("retries", RetryRules(attempts=4, base=0.1, maximum=5))
        return AsyncClient(
            "http://127.0.0.1:1",
            "st_key",
            transport=httpx2.MockTransport(script),
            clock=script.clock,
            sleep=script.sleep_async,
            **options,
        )

    return made
