"""The Database port over any SQL engine: reads in threads with a snapshot each, writes by group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from ...context import Context
from ...errors import StanchionError, Unavailable
from ..contract import Database, Journal
from ..schema import Schema
from . import migrate
from .engine import SqlEngine, reason
from .writer import GroupCommit

T = TypeVar("T")


class SqlDatabase(Database):
    """One SQL database; make it with `open_database`."""

    def __init__(self, engine: SqlEngine, *, journal: Journal | None = None) -> None:
        self.dialect = engine.dialect
        self._engine = engine
        self._writer = GroupCommit(engine, journal)
        self._threads = ThreadPoolExecutor(engine.readers, thread_name_prefix="stanchion-read")
        self._closed = False

    async def prepare(self, schema: Schema) -> None:
        await self._in_thread(lambda: self._answer(lambda: migrate.bring(self._engine, schema)))

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._in_thread(lambda: self._answer(lambda: self._snapshot(work)))

    async def write(self, ctx: Context, work: Callable[[Connection], T]) -> T:
        job = self._writer.submit(work, ctx.effect)
        await job.done
        return job.outcome()

    async def close(self) -> None:
        self._closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.close)
        await loop.run_in_executor(None, partial(self._threads.shutdown, wait=True))
        self._engine.writer.dispose()
        self._engine.reader.dispose()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _snapshot(self, work: Callable[[Connection], T]) -> T:
        with self._engine.turn, self._engine.reader.connect() as connection, connection.begin():
            return work(connection)

    def _answer(self, call: Callable[[], T], *, again: bool = True) -> T:
        try:
            return call()
        except Exception as error:
            fault = self._engine.fault(error)
            if fault == "caller":
                raise
            if fault == "readonly":
                raise StanchionError("a read tried to change the database") from error
            if fault == "down" or not again:
                raise Unavailable(f"the database did not answer: {reason(error)}") from error
        self._engine.reader.dispose()  # after a restart of the server every pooled connection is dead
        return self._answer(call, again=False)
