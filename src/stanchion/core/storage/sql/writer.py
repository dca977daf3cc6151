"""Group commit: one thread applies all writes of a process, many to one transaction, each undone alone if it fails.

A durable commit costs an fsync, some thousand times a statement. While one commit runs, the next writes gather and
share the following one, so throughput grows with load and no timer delays a lone write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

from sqlalchemy import Connection, RootTransaction, event

from ...context import Effect
from ...errors import StanchionError, Unavailable
from ..contract import Journal
from .engine import SqlEngine, driver, reason

T = TypeVar("T")
BATCH = 256

_log = logging.getLogger(__name__)


class Job(Generic[T]):
    """One write on its way: `done` wakes the caller, who then reads `outcome`."""

    __slots__ = ("done", "effect", "error", "loop", "result", "work")
    result: T

    def __init__(self, work: Callable[[Connection], T], effect: Effect | None) -> None:
        self.work = work
        self.effect = effect
        self.error: BaseException | None = None
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()

    def outcome(self) -> T:
        """The work's result, or its error raised."""
        if self.error is not None:
            raise self.error
        return self.result


class GroupCommit:
    """The writer of one database. `submit` from any thread that runs an event loop."""

    def __init__(self, engine: SqlEngine, journal: Journal | None) -> None:
        self._engine = engine
        self._journal = journal
        self._queue: SimpleQueue[Job[object] | None] = SimpleQueue()
        self._lock = Lock()
        self._closed = False
        self._guarded: Connection | None = None
        event.listen(engine.writer, "commit", self._guard)
        # A daemon: a program that ends without close() must not hang here; what it was not told is not promised.
        self._thread = Thread(target=self._serve, name="stanchion-write", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T], effect: Effect | None) -> Job[T]:
        """Ask for a write, after all that were asked for before. Raises Unavailable once closed."""
        job = Job(work, effect)
        with self._lock:  # otherwise a write could slip in behind the end mark and never be answered
            if self._closed:
                raise Unavailable("the database is closed")
            self._queue.put(job)  # type: ignore[arg-type]  # the queue's jobs differ in T; nobody sets a result from outside
        return job

    def close(self) -> None:
        """Apply what was asked for, then end the thread. Blocks; may be called again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < BATCH:
                try:
                    job = self._queue.get_nowait()
                except Empty:
                    break
                if job is None:
                    self._queue.put(None)
                    break
                batch.append(job)
            self._apply(batch)

    def _apply(self, batch: Sequence[Job[object]]) -> None:
        effects: Sequence[Effect] = ()
        try:
            effects = self._transact(batch)
        except BaseException as error:  # the thread must outlive whatever happens, and every caller gets an answer
            for job in batch:
                job.error = job.error or _unavailable(error)
        for effect in effects:
            effect.recorded += 1
        _wake(batch)
        if effects and self._journal is not None:
            try:
                self._journal.committed()
            except Exception:
                _log.exception("the journal failed after a commit; the changes and their events are stored")

    def _transact(self, batch: Sequence[Job[object]], *, again: bool = True) -> Sequence[Effect]:
        """Apply the batch in one transaction; the effects recorded with it."""
        for job in batch:
            job.error = None
        try:
            with self._engine.turn, self._engine.writer.connect() as connection:
                return self._in_transaction(connection, batch)
        except Exception as error:
            # Only before COMMIT: afterwards the error is an Unavailable, which is not worth another try.
            if not again or self._engine.fault(error) != "again":
                raise
        self._engine.writer.dispose()  # after a restart of the server every pooled connection is dead
        return self._transact(batch, again=False)

    def _in_transaction(self, connection: Connection, batch: Sequence[Job[object]]) -> Sequence[Effect]:
        transaction = connection.begin()
        self._guarded = connection
        try:
            for job in batch:
                self._run(connection, transaction, job)
            effects = [job.effect for job in batch if job.effect is not None and job.error is None]
            if self._journal is None:
                effects = []
            elif effects:
                self._journal.record(connection, effects)
        except BaseException:
            # SQLAlchemy takes a transaction that a work ended for closed, and would keep the engine's open.
            with suppress(Exception):
                driver(connection).rollback()
            raise
        finally:
            self._guarded = None
        try:
            transaction.commit()
        except Exception as error:
            if self._engine.fault(error) == "again":
                raise Unavailable(
                    "the connection broke during COMMIT: whether the change is stored is unknown"
                ) from error
            raise
        return effects

    def _run(self, connection: Connection, transaction: RootTransaction, job: Job[object]) -> None:
        # The driver's own execute: through SQLAlchemy a savepoint costs as much as the statement it protects.
        # It is there for a lone work too: RELEASE fails if the engine gave up the transaction behind the work's back.
        link = driver(connection)
        link.execute("SAVEPOINT work")
        try:
            job.result = job.work(connection)
            _check(connection, transaction)
            link.execute("RELEASE SAVEPOINT work")
        except BaseException as error:
            if self._engine.fault(error) != "caller":
                raise
            job.error = error
            _check(connection, transaction)
            link.execute("ROLLBACK TO SAVEPOINT work")
            link.execute("RELEASE SAVEPOINT work")

    def _guard(self, connection: Connection) -> None:
        # A work that commits would store the changes before it in the batch without their audit events.
        if connection is self._guarded:
            raise StanchionError("a database work must not commit")


def _check(connection: Connection, transaction: RootTransaction) -> None:
    """Raises if a work ended the transaction of its batch, or left a savepoint open: then the whole batch fails."""
    if connection.get_transaction() is not transaction or not transaction.is_active:
        raise StanchionError("a database work ended the transaction it was given")
    if connection.in_nested_transaction():
        raise StanchionError("a database work left a savepoint open")


def _unavailable(error: BaseException) -> Unavailable:
    detail = error.detail if isinstance(error, Unavailable) else f"the change was not stored: {reason(error)}"
    each = Unavailable(detail)  # one for each caller: a raised exception gathers its own traceback
    each.__cause__ = error
    return each


def _wake(batch: Sequence[Job[object]]) -> None:
    """One wake-up for each event loop, not one for each job: it is a system call."""
    for loop in {job.loop for job in batch}:
        try:
            loop.call_soon_threadsafe(_finish, [job.done for job in batch if job.loop is loop])
        except RuntimeError:
            _log.debug("an event loop closed before its writes were answered")


def _finish(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():  # a cancelled caller has left
            future.set_result(None)
