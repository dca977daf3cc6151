"""One line of a batch: the call made as its author, tried again where that may help, and told as a line of a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import BudgetExceeded, StanchionError, Throttled, Unavailable
from ...core.http.door import Book
from ...core.redaction import redact
from ...core.telemetry.contract import LedgerRow
from ..contract.batches import ENDPOINTS
from ..contract.calls import Ask, Reply, Usage
from ..contract.gateway import Gateway
from ..wire.faults import error_document
from .author import context_of
from .pacing import Turns
from .reading import BadLine, Wanted
from .standing import Standing
from .store import Held

_TRIES = 4
_SHORTEST, _LONGEST = 1.0, 60.0
_PICO = 10**12
_UNUSED = Usage()
_LONGEST_NAME = 192
TAG = "batch"
"""The tag of every call of a batch: usage and invoices by it tell what a batch cost."""


class Unmade(Exception):
    """The line is left as it is: the batch ends, or its process does."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a line: `text` is its line of the output file where it is `good`, else of the error file."""

    good: bool
    text: bytes
    usage: Usage = _UNUSED
    cost: int = 0


class Caller:
    """Makes the calls of one batch. `enough` is set when no further call is to be begun."""

    def __init__(
        self,
        held: Held,
        gateway: Gateway,
        book: Book,
        turns: Turns,
        standing: Standing,
        clock: Clock,
        *,
        seconds: float,
        enough: asyncio.Event,
        left: Callable[[], float],
    ) -> None:
        self._held = held
        self._gateway = gateway
        self._book = book
        self._turns = turns
        self._standing = standing
        self._clock = clock
        self._seconds = seconds
        self._enough = enough
        self._left = left

    async def told(self, line: Wanted) -> Told:
        """Call until there is an answer or an error that another try would meet too. Raises Unmade."""
        tries = 0
        while True:
            async with self._turns:
                if self._enough.is_set():
                    raise Unmade
                ctx = self._context()
                try:
                    reply = await self._called(ctx, line)
                    return Told(True, _answered(self._held, line, ctx, reply), reply.account.usage, reply.account.cost)
                except StanchionError as error:
                    tries += 1
                    pause = _pause(error, tries)
                    if pause is None or pause > self._left():
                        return Told(False, _refused(self._held, line, ctx, error))
            # Outside the turn: who waits takes nobody's place.
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._enough.wait()
        except TimeoutError:
            return
        raise Unmade

    def _context(self) -> Context:
        held = self._held
        deadline = self._clock.monotonic() + self._seconds
        return context_of(held.tenant, held.principal, held.author, deadline=deadline)

    async def _called(self, ctx: Context, line: Wanted) -> Reply:
        if self._book.full:
            raise Unavailable("calls cannot be recorded at the moment, so none is made")
        held = self._held
        tags = {**held.tags, TAG: held.batch.id}
        ask = Ask(ENDPOINTS[held.batch.endpoint], line.body, tags=tags, background=True)
        row = LedgerRow(
            at=self._clock.now(),
            request_id=ctx.request_id,
            trace_id=ctx.trace.trace_id,
            tenant=ctx.tenant,
            principal=ctx.principal,
            route=f"BATCH {held.batch.endpoint}",
            status=200,
        )
        started = self._clock.monotonic()
        try:
            # Asked for each line: a batch may take a day, and what a key lost meanwhile it shall not use.
            reply = await self._gateway.complete(await self._standing.of(ctx), ask)
        except StanchionError as error:
            row.outcome, row.status = error.code, error.status
            row.subject = _model(line.body)
            raise
        except asyncio.CancelledError:
            row.outcome, row.status = "cancelled", 499
            raise
        else:
            _learn(row, reply)
            return reply
        finally:
            row.latency_ms = (self._clock.monotonic() - started) * 1000
            self._book.write(row)


def _pause(error: StanchionError, tries: int) -> float | None:
    """Seconds until another try, None where it would meet the same.

    What a budget holds back is no try: its window ends. A call whose time was over may have been answered and billed,
    so it is not made again.
    """
    if isinstance(error, BudgetExceeded):
        return None if error.retry_after is None else max(_SHORTEST, error.retry_after)
    if not isinstance(error, Throttled | Unavailable) or tries >= _TRIES:
        return None
    growing: float = min(_LONGEST, _SHORTEST * 2 ** (tries - 1))
    return max(error.retry_after or 0.0, growing)


def bad_line(held: Held, line: BadLine) -> Told:
    """A line that could not be read."""
    error = {"code": "invalid_line", "message": redact(line.message), "line": line.number}
    return Told(False, _line(held, line.number, line.custom_id or None, None, error))


def unmade_line(held: Held, line: Wanted) -> bytes:
    """A line that was not tried before the batch expired."""
    error = {"code": "batch_expired", "message": "the batch expired before this line was tried", "line": line.number}
    return _line(held, line.number, line.custom_id, None, error)


def _answered(held: Held, line: Wanted, ctx: Context, reply: Reply) -> bytes:
    response = {"status_code": 200, "request_id": ctx.request_id, "body": msgspec.Raw(reply.body)}
    return _line(held, line.number, line.custom_id, response, None)


def _refused(held: Held, line: Wanted, ctx: Context, error: StanchionError) -> bytes:
    problem: dict[str, Any] = dict(
        error.problem(trace_id=ctx.trace.trace_id, instance=f"urn:stanchion:request:{ctx.request_id}")
    )
    problem["detail"] = redact(error.detail)
    body = error_document(ENDPOINTS[held.batch.endpoint], problem)
    response = {"status_code": error.status, "request_id": ctx.request_id, "body": body}
    told = {"code": error.code, "message": problem["detail"], "line": line.number}
    return _line(held, line.number, line.custom_id, response, told)


def _line(held: Held, number: int, custom_id: str | None, response: object, error: object) -> bytes:
    name = f"batch_req_{held.batch.id.removeprefix('batch_')}_{number}"
    return msgspec.json.encode({"id": name, "custom_id": custom_id, "response": response, "error": error})


def _learn(row: LedgerRow, reply: Reply) -> None:
    account = reply.account
    row.subject = f"route:{account.route}" if account.route else account.model
    row.version, row.rung, row.cache = account.model, account.rung, account.cache
    row.tokens_in, row.tokens_out = account.usage.tokens_in, account.usage.tokens_out
    row.cost = account.cost / _PICO


def _model(body: bytes) -> str:
    """What was asked for, if it may be a name: it comes from the caller."""
    found = msgspec.json.decode(body)
    model = found.get("model") if isinstance(found, dict) else None
    return redact(model) if isinstance(model, str) and len(model) <= _LONGEST_NAME and model.isprintable() else ""
