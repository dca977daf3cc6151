"""One signed POST to a webhook's address: never redirected, never to a private network, never for long."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ...core.clock import Clock
from ..contract.delivery import Delivery
from ..contract.event import Event
from ..wire.media import STRUCTURED
from ..wire.structured import written
from .addresses import Addresses
from .signing import headers

if TYPE_CHECKING:
    import aiohttp

SECONDS = 15.0
_READ = 4 << 10
_LONGEST_WAIT = 3_600.0


@dataclass(frozen=True, slots=True)
class Posted:
    """What the other side said. `after` are the seconds it asked to be left alone; `gone`: for good."""

    ok: bool
    said: str = ""
    after: float | None = None
    gone: bool = False


class Poster:
    """A pool of connections for all webhooks of a process, made at the first call."""

    def __init__(self, addresses: Addresses, clock: Clock) -> None:
        self._addresses = addresses
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, secrets: Sequence[str], delivery: Delivery) -> Posted:
        """Send one event. Raises nothing: what goes wrong is in the answer."""
        import aiohttp

        now = self._clock.now()
        body = written(delivery.event)
        told = {
            "content-type": STRUCTURED,
            "user-agent": "stanchion",
            **headers(secrets, message_id(delivery.event), int(now.timestamp()), body),
        }
        try:
            async with self._pool().post(url, data=body, headers=told, allow_redirects=False) as response:
                await response.content.read(_READ)
                if 200 <= response.status < 300:
                    return Posted(True)
                after = self._after(response.headers.get("retry-after"))
                return Posted(False, f"status {response.status}", after, response.status == 410)
        except TimeoutError:
            return Posted(False, f"no answer within {SECONDS:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Posted(False, f"{type(error).__name__}: {error}"[:300])

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    def _after(self, header: str | None) -> float | None:
        """Seconds of a Retry-After header, which holds a number or a date."""
        if header is None:
            return None
        try:
            wait = (
                float(header)
                if header.strip().isdecimal()
                else (parsedate_to_datetime(header) - self._clock.now()).total_seconds()
            )
        except (ValueError, TypeError):
            return None
        return min(max(wait, 0.0), _LONGEST_WAIT)

    def _pool(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(
                limit=64,
                limit_per_host=16,
                # A name is looked up anew and its address judged where the socket is made: there is no moment between.
                use_dns_cache=False,
                socket_factory=self._addresses.socket_factory,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=SECONDS),
                # No environment: a proxy of the machine would make the connections that are checked here.
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


def message_id(event: Event) -> str:
    """The id of the event's message: the same however often it is sent, so that the other side can tell."""
    return "msg_" + hashlib.sha256(f"{event.source}\0{event.id}".encode()).hexdigest()[:32]
