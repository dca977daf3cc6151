"""The light side of a sidecar, for a service in a process of its own: asks over HTTP, and always has an answer.

Nothing of Stanchion's engines is loaded. Whatever happens to the network or to the far process, the caller gets its
own base value within the time limit; after repeated failures the far process is left alone for a while, so that its
absence costs nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import msgspec

from ...core.clock import Clock, SystemClock
from ...core.context import new_request_id
from ...core.errors import CircuitOpen, Misconfigured, StanchionError, Unavailable
from ...core.resilience import Breaker, BreakerRules
from ...core.values import Json
from ..contract.sidecar import Advice, AdviceReason, GuardBand
from .guard import judged

if TYPE_CHECKING:
    import aiohttp

Base = Json | Callable[[], Json | Awaitable[Json]]
_RULES = BreakerRules(consecutive=3, open_seconds=2.0, open_maximum=30.0)
_MOST_BYTES = 1 << 20


class SidecarClient:
    """Asks one sidecar of a Stanchion server.

    `limit` is in seconds and holds for the whole call, connecting included. `guard` is a second guard band on this
    side, for whoever wants the bounds of its prices in its own code. Use it in one event loop; `close` it at the end.
    """

    def __init__(
        self,
        url: str,
        sidecar: str,
        *,
        key: str,
        limit: float = 0.25,
        guard: GuardBand | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise Misconfigured("the URL of the server must begin with http:// or https://")
        self._url = url.rstrip("/")
        self._sidecar = sidecar
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._limit = limit
        self._guard = guard or GuardBand()
        self._breaker = Breaker(f"sidecar/{sidecar}", rules=_RULES, clock=clock or SystemClock())
        self._session: aiohttp.ClientSession | None = None

    async def advise(
        self,
        features: Mapping[str, Json],
        base: Base,
        *,
        unit: str,
        attributes: Mapping[str, Json] | None = None,
    ) -> Advice:
        """The value to use, and why; raises nothing but what `base` raises, if it is a function.

        `base` is computed first: it is the answer if anything goes wrong. `unit` is what the flag's rollout sticks to.
        """
        own: Any = base() if callable(base) else base
        if inspect.isawaitable(own):
            own = await own
        started = time.perf_counter()
        body = {"sidecar": self._sidecar, "features": features, "base": own, "unit": unit}
        try:
            async with asyncio.timeout(self._limit):
                told = await self._guarded("/v1/advice", {**body, "attributes": dict(attributes or {})})
            advice = msgspec.convert(told, Advice)
        except TimeoutError:
            return self._base(own, "timeout", f"no answer within {self._limit:g} s", started)
        except (StanchionError, msgspec.ValidationError) as error:
            return self._base(own, "error", str(error), started)
        except Exception as error:
            # A client library has a dozen errors for a network that is away, and none may reach the caller.
            return self._base(own, "error", type(error).__name__, started)
        return self._checked(advice, own)

    async def settle(self, request_id: str, outcome: float) -> bool:
        """Tell what came of an advice; whether that was taken. Raises nothing: outcomes may be told again later."""
        path = f"/v1/serving/sidecars/{quote(self._sidecar, safe='')}/outcomes"
        try:
            async with asyncio.timeout(max(self._limit, 1.0)):
                told = await self._guarded(path, {"outcomes": [{"request_id": request_id, "outcome": outcome}]})
        # As in `advise`.
        except Exception:
            return False
        return bool(told.get("known"))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _guarded(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            permit = self._breaker.admit()
        except CircuitOpen as error:
            raise Unavailable("the server failed repeatedly and is being left alone for a while") from error
        try:
            told = await self._post(path, body)
        except asyncio.CancelledError:
            # The limit of this call, or the caller's own end: to the breaker, a server that is too slow.
            self._breaker.fail(permit, Unavailable("too slow"))
            raise
        except Exception as error:
            self._breaker.fail(permit, error)
            raise
        self._breaker.succeed(permit)
        return told

    async def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        async with self._opened().post(
            self._url + path, data=msgspec.json.encode(body), allow_redirects=False
        ) as answer:
            content = await answer.content.read(_MOST_BYTES)
            if answer.status >= 500:
                raise Unavailable(f"the server answered {answer.status}")
            if answer.status >= 300:
                raise StanchionError(f"the server answered {answer.status}")
            told: Mapping[str, Any] = msgspec.json.decode(content)
            return told

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            # Nothing of the environment: no proxy, and no credentials of some .netrc.
            self._session = aiohttp.ClientSession(
                headers=self._headers, trust_env=False, timeout=aiohttp.ClientTimeout(total=None)
            )
        return self._session

    def _checked(self, advice: Advice, own: Json) -> Advice:
        if advice.source != "ai":
            # Whatever came back: the base value is ours.
            return replace(advice, value=own, base=own)
        verdict = judged(self._guard, own, advice.value, advice.confidence, {"value": advice.value})
        if verdict.reason == "ai":
            return advice
        return replace(advice, source="base", reason=verdict.reason, value=own, base=own, detail=verdict.detail)

    def _base(self, own: Json, reason: AdviceReason, detail: str, started: float) -> Advice:
        return Advice(
            request_id=new_request_id(),
            sidecar=self._sidecar,
            source="base",
            reason=reason,
            value=own,
            base=own,
            milliseconds=round((time.perf_counter() - started) * 1000, 3),
            detail=detail,
        )
