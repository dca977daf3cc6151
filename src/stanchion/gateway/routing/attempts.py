"""One attempt at one model: the request goes out, what comes back is judged, and what it used is settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import DeadlineExceeded, NotFound, StanchionError, Unavailable
from ..contract.calls import Usage
from ..dialects.errors import failure
from ..ports import Purse, Response, Wire
from .asked import Asked
from .choosing import Candidate
from .joining import joined
from .observing import Observing
from .spending import Spending
from .strands import Interleaved, Strands
from .table import Target
from .ways import Watch, Whole

_EVENTS = ("text/event-stream", "application/vnd.amazon.eventstream")


class Attempts:
    """Makes attempts. `purse` is None where no budget is kept."""

    def __init__(self, *, clock: Clock, purse: Purse | None, observing: Observing | None = None) -> None:
        self._clock = clock
        self._purse = purse
        self._observing = observing or Observing(clock)

    async def whole(self, ctx: Context, asked: Asked, target: Target, candidate: Candidate, number: int) -> Answered:
        """The whole answer; `number` tells the attempts of one call apart.

        Raises what the upstream's refusal means, DeadlineExceeded, BudgetExceeded.
        """
        spending = Spending(self._purse, ctx, candidate, self._observing.begin(ctx, asked, candidate))
        await spending.reserve(asked, target, number)
        way = candidate.way
        bodies: list[bytes] = []
        try:
            await self._ask(
                spending.observed.ctx, candidate, way.wire(asked, candidate.bound), way.times(asked), bodies
            )
            answers = [way.whole(asked, body) for body in bodies]
            answer = answers[0] if len(answers) == 1 else joined(answers)
            usage = answer.usage or _estimated(asked, sum(map(len, bodies)) // 4 if asked.generates else 0)
            await spending.settle(usage)
        except StanchionError as error:
            candidate.served.failed(error)
            # An upstream that answered, if unreadably, or was still at it when the time ended, has read the request.
            await _end(spending, asked, error, used=bool(bodies) or isinstance(error, DeadlineExceeded))
            raise
        except BaseException as error:
            await _end(spending, asked, error, used=True)
            raise
        candidate.served.answered(spending.observed.seconds)
        return Answered(candidate, answer, usage, spending.cost)

    async def _ask(self, ctx: Context, candidate: Candidate, wire: Wire, times: int, bodies: list[bytes]) -> None:
        """Put the answers to so many calls into `bodies`; all calls have ended when one of them raises."""
        if times == 1:
            bodies.append(await self._body(ctx, candidate, wire))
            return
        calls = (self._body(ctx, candidate, wire) for _ in range(times))
        told = await asyncio.gather(*calls, return_exceptions=True)
        bodies += [each for each in told if isinstance(each, bytes)]
        for each in told:
            if isinstance(each, BaseException):
                raise each

    async def _body(self, ctx: Context, candidate: Candidate, wire: Wire) -> bytes:
        async with candidate.served.transport.send(ctx, wire) as response:
            body = await response.read()
            self._check(candidate, response, body)
        return body

    async def opened(self, ctx: Context, asked: Asked, target: Target, candidate: Candidate, number: int) -> Opened:
        """The stream, once its first event is there. Raises as `whole` does; what it gives must be closed."""
        spending = Spending(self._purse, ctx, candidate, self._observing.begin(ctx, asked, candidate))
        await spending.reserve(asked, target, number)
        stack, reached = AsyncExitStack(), False
        try:
            wire, times = candidate.way.wire(asked, candidate.bound), candidate.way.times(asked)
            watch: Watch = candidate.way.watch(asked)
            pieces: AsyncIterator[bytes]
            if times == 1:
                response = await stack.enter_async_context(candidate.served.transport.send(spending.observed.ctx, wire))
                await self._streams(candidate, response)
                pieces = response.pieces()
            else:
                checked, transport = partial(self._streams, candidate), candidate.served.transport
                strands = Strands(spending.observed.ctx, transport, wire, times, checked)
                stack.push_async_callback(strands.close)
                try:
                    await strands.opened()
                finally:
                    # One that began to answer has read the request, whatever became of the others.
                    reached = strands.begun
                pieces, watch = strands.pieces(watch), Interleaved(watch)
            reached = True
            first = await _first(watch, pieces)
        except StanchionError as error:
            await stack.aclose()
            candidate.served.failed(error)
            await _end(spending, asked, error, used=reached or isinstance(error, DeadlineExceeded))
            raise
        except BaseException as error:
            await stack.aclose()
            await _end(spending, asked, error, used=True)
            raise
        spending.observed.answered()
        return Opened(candidate, asked, watch, pieces, first, spending, stack)

    async def _streams(self, candidate: Candidate, response: Response) -> None:
        """Raise for an answer that is no stream."""
        if response.status != 200:
            self._check(candidate, response, await response.read())
        if not response.headers.get("content-type", "").startswith(_EVENTS):
            raise Unavailable(f"the upstream {candidate.served.upstream.name} did not answer with events")

    def _check(self, candidate: Candidate, response: Response, body: bytes) -> None:
        if response.status != 200:
            name = candidate.served.upstream.name
            error = failure(response.status, body, response.headers, upstream=name, now=self._clock.now())
            # The name of a model at its upstream is the declaration's, not the caller's: another one may answer.
            raise Unavailable(error.detail, next_step=error.hint) if isinstance(error, NotFound) else error


class Answered:
    """A whole answer with what it used and cost."""

    __slots__ = ("answer", "candidate", "cost", "usage")

    def __init__(self, candidate: Candidate, answer: Whole, usage: Usage, cost: int) -> None:
        self.candidate = candidate
        self.answer = answer
        self.usage = usage
        self.cost = cost


class Opened:
    """A stream under way. After `rest` has ended, `usage`, `cost` and `finish` tell of the whole answer."""

    def __init__(
        self,
        candidate: Candidate,
        asked: Asked,
        watch: Watch,
        pieces: AsyncIterator[bytes],
        first: bytes,
        spending: Spending,
        stack: AsyncExitStack,
    ) -> None:
        self.candidate = candidate
        self.first = first
        self._asked = asked
        self._watch = watch
        self._pieces = pieces
        self._spending = spending
        self._stack = stack
        self._error: BaseException | None = asyncio.CancelledError()

    @property
    def usage(self) -> Usage:
        """What the upstream counted, or about a token for each event that came."""
        return self._watch.usage or _estimated(self._asked, self._watch.events)

    @property
    def cost(self) -> int:
        """Picodollars, once settled."""
        return self._spending.cost

    @property
    def finish(self) -> str:
        """Why the answer ended."""
        return self._watch.finish

    async def rest(self) -> AsyncGenerator[bytes, None]:
        """The events after the first ones, as they come. Raises Unavailable for an answer that is cut off."""
        try:
            async for data in self._pieces:
                if shown := self._watch.feed(data):
                    yield shown
                self._watch.check()
            last = self._watch.close()
            self._error = None
            await self._spending.settle(self.usage)
            if last:
                yield last
        except StanchionError as error:
            self._error = error
            self.candidate.served.failed(error)
            raise
        self.candidate.served.answered(self._spending.observed.seconds)

    async def close(self) -> None:
        """Let go of the upstream, and settle what it used if the answer did not come to its end."""
        try:
            await self._stack.aclose()
        finally:
            await self._spending.settle(self.usage, self._error)


async def _first(watch: Watch, pieces: AsyncIterator[bytes]) -> bytes:
    async for data in pieces:
        shown = watch.feed(data)
        # Nothing has gone on yet: what came before the fault is another model's to say.
        watch.check()
        if shown:
            return shown
    # Raises for what did not come to its end; a stream of one event without a blank line is shown at once.
    return watch.close()


def _estimated(asked: Asked, tokens_out: int) -> Usage:
    return Usage(asked.tokens_in, tokens_out, estimated=True)


async def _end(spending: Spending, asked: Asked, error: BaseException, *, used: bool) -> None:
    if used:
        await spending.settle(_estimated(asked, 0), error)
    else:
        await spending.release(error)
