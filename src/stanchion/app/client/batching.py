"""Batching at the client: what many callers ask of one model within a few milliseconds travels as one request.

One faulty item fails its own caller only. Worth it where requests cost more than the model, as on a far network.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from queue import Empty, Queue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ...core.clock import SystemClock
from ...core.errors import Misconfigured, PayloadTooLarge, StanchionError, from_problem
from .calls import encoded, plain
from .outcomes import Outcome, Outcomes, Refused

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
MOST = 10_000


class Asks(Protocol):
    """What sends a batch of a thread."""

    def predict_many(self, model: str, items: Sequence[Any], *, into: Any = None) -> Outcomes[Any]: ...


class AsksLater(Protocol):
    """What sends a batch of a task."""

    async def predict_many(self, model: str, items: Sequence[Any], *, into: Any = None) -> Outcomes[Any]: ...


class Batching(Generic[T]):
    """Collects the calls of tasks. A batch leaves when it has `size` items, or `wait_ms` after its first."""

    def __init__(
        self, client: AsksLater, model: str, *, size: int = 64, wait_ms: float = 5.0, into: type[T] | None = None
    ) -> None:
        _check(size, wait_ms)
        self._client = client
        self._model = model
        self._size = size
        self._wait = wait_ms / 1000
        self._into = into
        self._waiting: list[tuple[Mapping[str, Any], asyncio.Future[Outcome[T]]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Batching[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send()
        await asyncio.gather(*self._sending)

    async def predict(self, item: BaseModel | Mapping[str, Any]) -> Outcome[T]:
        """The outcome for this item, whose request it shares with others. Raises what `predict` of the client raises.

        Cancelled before its batch has left, it does not travel at all.
        """
        given = plain(item)
        # What has no form in JSON is its own caller's fault, and not of those in the same batch.
        encoded(given)
        future: asyncio.Future[Outcome[T]] = asyncio.get_running_loop().create_future()
        self._waiting.append((given, future))
        if len(self._waiting) >= self._size:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._wait, self._send)
        return await future

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = [(item, future) for item, future in self._waiting if not future.done()]
        self._waiting = []
        if batch:
            task = asyncio.ensure_future(self._sent(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _sent(self, batch: Sequence[tuple[Mapping[str, Any], asyncio.Future[Outcome[T]]]]) -> None:
        try:
            answers = await self._client.predict_many(self._model, [item for item, _ in batch], into=self._into)
        except PayloadTooLarge as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            # Too much together need not be too much for each.
            half = len(batch) // 2
            await self._sent(batch[:half])
            await self._sent(batch[half:])
        except StanchionError as error:
            _fail(batch, error)
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            raise
        else:
            _answer(batch, answers)


class ThreadBatching(Generic[T]):
    """Collects the calls of threads, and sends them from a thread of its own. Sizes and waits as of Batching."""

    def __init__(
        self, client: Asks, model: str, *, size: int = 64, wait_ms: float = 5.0, into: type[T] | None = None
    ) -> None:
        _check(size, wait_ms)
        self._client = client
        self._model = model
        self._size = size
        self._wait = wait_ms / 1000
        self._into = into
        self._clock = SystemClock()
        self._queue: Queue[tuple[Mapping[str, Any], Future[Outcome[T]]] | None] = Queue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ThreadBatching[T]:
        self._thread = threading.Thread(target=self._work, name="stanchion-batching", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def submit(self, item: BaseModel | Mapping[str, Any]) -> Future[Outcome[T]]:
        """The outcome for this item, to be had from the future. Raises InvalidInput, Misconfigured at once."""
        if self._thread is None:
            raise Misconfigured("batching is not open", next_step="Use it in a `with`.")
        given = plain(item)
        encoded(given)
        future: Future[Outcome[T]] = Future()
        self._queue.put((given, future))
        return future

    def predict(self, item: BaseModel | Mapping[str, Any]) -> Outcome[T]:
        """The outcome for this item; waits for it. Raises what `predict` of the client raises."""
        return self.submit(item).result()

    def _work(self) -> None:
        open_still = True
        while open_still:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            ends = self._clock.monotonic() + self._wait
            while len(batch) < self._size:
                try:
                    following = self._queue.get(timeout=max(0.0, ends - self._clock.monotonic()))
                except Empty:
                    break
                if following is None:
                    open_still = False
                    break
                batch.append(following)
            self._sent([each for each in batch if each[1].set_running_or_notify_cancel()])

    def _sent(self, batch: Sequence[tuple[Mapping[str, Any], Future[Outcome[T]]]]) -> None:
        if not batch:
            return
        try:
            answers = self._client.predict_many(self._model, [item for item, _ in batch], into=self._into)
        except PayloadTooLarge as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            half = len(batch) // 2
            self._sent(batch[:half])
            self._sent(batch[half:])
        except StanchionError as error:
            _fail(batch, error)
        except Exception as error:
            # Whoever waits must hear of it: the thread itself has nobody to tell.
            for _, future in batch:
                future.set_exception(error)
        else:
            _answer(batch, answers)


def _check(size: int, wait_ms: float) -> None:
    if not 1 <= size <= MOST or wait_ms < 0:
        raise Misconfigured(f"a batch has 1 to {MOST} items and waits 0 or more milliseconds")


def _answer(batch: Sequence[tuple[Any, Any]], answers: Outcomes[Any]) -> None:
    for (_, future), answer in zip(batch, answers.items, strict=True):
        if future.done():
            continue
        if isinstance(answer, Refused):
            future.set_exception(answer.error)
        else:
            future.set_result(answer)


def _fail(batch: Sequence[tuple[Any, Any]], error: StanchionError) -> None:
    for _, future in batch:
        if not future.done():
            # One for each: an exception that several raise would gather all their tracebacks.
            own = from_problem(error.problem())
            own.__cause__ = error
            future.set_exception(own)
