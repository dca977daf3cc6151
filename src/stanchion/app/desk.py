"""Answers messages of connections that carry many: of a WebSocket, of gRPC. What the door does for an HTTP request.

Every message has its own caller check, Context, time limit and ledger row, whatever connection it came by.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..core.clock import Clock
from ..core.context import Context, Rights, Trace, new_request_id
from ..core.errors import StanchionError, Throttled, Unavailable
from ..core.http.door import Book, Capture, Faults, Limits, Sampler, Spans
from ..core.http.routes import Message
from ..core.security.contract import Authenticator, Identity
from ..core.telemetry.contract import LedgerRow
from ..core.telemetry.sampling import RateSampler
from ..system.house import House

CANCELLED = 499


class Desk:
    """Takes messages. One desk serves one listener, whose messages under way it counts."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        book: Book,
        sampler: Sampler,
        spans: Spans,
        faults: Faults,
        clock: Clock,
        limits: Limits,
        owner: str,
        capture: Capture | None = None,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self._authenticator = authenticator
        self._book = book
        self._sampler = sampler
        self._spans = spans
        self._faults = faults
        self._owner = owner
        self._capture = capture
        self._running = 0

    async def identify(self, authorization: str | None, *, peer: str | None = None) -> Identity:
        """Who calls, asked anew for each message: a key may end while its connection lasts. Raises NotAuthenticated."""
        return await self._authenticator.authenticate(authorization, peer=peer)

    def anonymous(self, route: str) -> LedgerRow:
        """The ledger row of a message or a handshake whose caller is not known yet."""
        trace = Trace.new()
        return LedgerRow(self.clock.now(), new_request_id(), trace.trace_id, self._owner, "anonymous", route[:200])

    def check_room(self) -> None:
        """Raises Throttled or Unavailable where no further message or connection can be taken.

        A message has been counted when it is asked for.
        """
        if self._running > self.limits.concurrent:
            raise Throttled("too many requests are under way", retry_after=1)
        if self._book.full:
            raise Unavailable("requests cannot be recorded at the moment, so none is taken")

    def write(self, row: LedgerRow) -> None:
        """Take a finished row."""
        self._book.write(row)

    @asynccontextmanager
    async def message(
        self,
        route: str,
        authorization: str | None,
        *,
        peer: str | None = None,
        seconds: float | None = None,
        trace_id: str | None = None,
        free: bool = False,
    ) -> AsyncIterator[Message]:
        """Run the block as one message; its errors are written down and raised on, all as StanchionError.

        `seconds` shortens the time limit. `free` is a message that needs no credential. Raises NotAuthenticated,
        Throttled, Unavailable before the block begins.
        """
        started = time.perf_counter()
        row = self.anonymous(route)
        if trace_id is not None:
            row.trace_id = trace_id
        self._running += 1
        try:
            async with self._opened(row, authorization, peer=peer, seconds=seconds, free=free) as message:
                yield message
            row.status = row.status or 200
        except StanchionError as error:
            row.status, row.outcome = error.status, error.code
            raise
        except asyncio.CancelledError:
            row.status, row.outcome = CANCELLED, "cancelled"
            raise
        except Exception as error:
            failed = StanchionError("the service failed; the fault is in its log")
            row.status, row.outcome = failed.status, failed.code
            self._faults(row.trace_id, route, error)
            raise failed from error
        finally:
            self._running -= 1
            row.latency_ms = (time.perf_counter() - started) * 1000
            self._book.write(row)

    @asynccontextmanager
    async def _opened(
        self, row: LedgerRow, authorization: str | None, *, peer: str | None, seconds: float | None, free: bool
    ) -> AsyncIterator[Message]:
        if free:
            yield Message(_context(row, Identity("", row.principal, Rights()), None, sampled=False), row)
            return
        self.check_room()
        identity = await self.identify(authorization, peer=peer)
        row.tenant, row.principal = identity.tenant, identity.principal
        limit = self.limits.seconds if seconds is None else min(seconds, self.limits.seconds)
        ctx = _context(row, identity, self.clock.monotonic() + limit, sampled=self._sampler(row.trace_id))
        if ctx.trace.sampled:
            with self._spans.span(ctx, row.route) as inner:
                message = Message(inner, row)
                yield message
                learned = {"stanchion.subject": row.subject, "stanchion.version": row.version}
                self._spans.annotate(inner, {k: v for k, v in learned.items() if v}, name=row.route)
        else:
            message = Message(ctx, row)
            yield message
        if self._capture is not None and row.subject:
            await self._capture.keep(ctx, "input", message.given)
            await self._capture.keep(ctx, "output", message.told)


def _context(row: LedgerRow, identity: Identity, deadline: float | None, *, sampled: bool) -> Context:
    return Context(
        tenant=identity.tenant,
        principal=identity.principal,
        rights=identity.rights,
        deadline=deadline,
        trace=Trace(row.trace_id, Trace.new().span_id, sampled),
        request_id=row.request_id,
    )


def house_desk(house: House) -> Desk:
    """A desk with the house's own credentials, ledger, limits and spans."""
    settings, ground = house.settings, house.foundation
    return Desk(
        authenticator=ground.doorkeeper,
        book=ground.book,
        sampler=RateSampler(
            share=settings.telemetry.sample, per_second=settings.telemetry.sample_per_second, clock=time.monotonic
        ),
        spans=ground.spans,
        faults=ground.instruments,
        clock=ground.clock,
        limits=Limits(
            body=settings.http.body_bytes, seconds=settings.http.seconds, concurrent=settings.http.concurrent
        ),
        owner=settings.tenant,
        capture=ground.content if settings.telemetry.capture else None,
    )
