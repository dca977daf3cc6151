"""The log of served vectors: a bounded queue in front of a table, so that a prediction never waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from ...core.clock import Clock, micros, moment
from ...core.context import system_context
from ...core.errors import StanchionError
from ...core.storage import Database
from ...core.values import Json
from ..contract import Logged
from .tables import served

_PAGE = 500
_SECONDS = 1.0
_PRUNE_SECONDS = 600.0
_log = logging.getLogger(__name__)


class Content(msgspec.Struct, frozen=True, array_like=True):
    """What of a vector only the monitor reads."""

    entities: dict[str, str]
    request: dict[str, Any]
    values: dict[str, Any]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Content)


@dataclass(frozen=True, slots=True)
class Kept:
    """A logged vector and the definition that made it."""

    logged: Logged
    fingerprint: str


class VectorLog:
    """Keeps at most `waiting` vectors in memory, the oldest of which give way, and rows for `days` days."""

    def __init__(self, database: Database, clock: Clock, *, waiting: int, days: float) -> None:
        self._database = database
        self._clock = clock
        self._queue: deque[tuple[str, str, str, Logged, int]] = deque(maxlen=waiting)
        self._days = days
        self._bell = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.dropped = 0

    def add(self, tenant: str, service: str, fingerprint: str, logged: Sequence[Logged]) -> None:
        """Take vectors; returns at once."""
        for place, each in enumerate(logged):
            if len(self._queue) == self._queue.maxlen:
                self.dropped += 1
            self._queue.append((tenant, service, fingerprint, each, place))
        self._bell.set()

    async def start(self) -> None:
        """Begin to store what is queued."""
        self._task = asyncio.create_task(self._run(), name="features-log")

    async def stop(self) -> None:
        """Store what is queued, then end."""
        self._stopping = True
        self._bell.set()
        if self._task is not None:
            await self._task

    async def flush(self) -> None:
        """Store what is queued now. Raises what the database raises; the vectors then stay queued."""
        async with self._turn:
            await self._flush()

    async def _flush(self) -> None:
        while self._queue:
            page = [self._queue[i] for i in range(min(_PAGE, len(self._queue)))]
            rows = [_row(*each) for each in page]
            dropped = self.dropped
            await self._database.write(system_context(page[0][0], task="features-log"), partial(_insert, rows))
            # Some of the page may have given way to newer ones meanwhile.
            for _ in range(max(0, len(page) - (self.dropped - dropped))):
                self._queue.popleft()

    async def newest(self, tenant: str, service: str, limit: int) -> list[Kept]:
        """The newest vectors of a service, newest first."""
        wanted = (
            select(served)
            .where(served.c.tenant == tenant, served.c.service == service)
            .order_by(served.c.read_at.desc(), served.c.request_id, served.c.place)
            .limit(limit)
        )
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return [_kept(dict(row)) for row in rows]

    async def prune(self) -> int:
        """Delete what is older than it may be; how many rows."""
        oldest = micros(self._clock.now() - timedelta(days=self._days))
        old = delete(served).where(served.c.read_at < oldest)
        context = system_context("*", task="features-log")
        return int(await self._database.write(context, lambda connection: connection.execute(old).rowcount))

    async def _run(self) -> None:
        pruned = self._clock.monotonic() - _PRUNE_SECONDS
        while not self._stopping:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self.flush()
                if self._clock.monotonic() - pruned >= _PRUNE_SECONDS:
                    pruned = self._clock.monotonic()
                    await self.prune()
            except StanchionError as error:
                # The queue is bounded: while the database is down the oldest vectors give way.
                _log.warning("served vectors could not be stored: %s", error.detail)
            if not self._stopping:
                await asyncio.sleep(_SECONDS)
        try:
            await self.flush()
        except StanchionError as error:
            _log.warning("%d served vectors were not stored: %s", len(self._queue), error.detail)


def _row(tenant: str, service: str, fingerprint: str, logged: Logged, place: int) -> Mapping[str, object]:
    content = Content(dict(logged.entities), dict(logged.request), dict(logged.values))
    return {
        "tenant": tenant,
        "service": service,
        "read_at": micros(logged.read_at),
        "request_id": logged.request_id,
        "place": place,
        "fingerprint": fingerprint,
        "content": _ENCODER.encode(content),
    }


def _insert(rows: Sequence[Mapping[str, object]], connection: Connection) -> None:
    # A page may be written twice: when its commit was not seen. The same vector is the same row.
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(served).on_conflict_do_nothing(), list(rows))


def _kept(row: Mapping[str, Any]) -> Kept:
    content = _DECODER.decode(row["content"])
    values: dict[str, Json] = content.values
    return Kept(
        Logged(row["request_id"], content.entities, content.request, values, moment(row["read_at"])),
        row["fingerprint"],
    )
