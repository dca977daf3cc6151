"""What the offline side needs from its engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..core.context import Context
from ..core.values import Json
from .contract import SourceSpec, Table
from .windows.plan import Kind, Plan

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, slots=True)
class Logged:
    """A pushed row as the log keeps it. `at` and `known` are microseconds; `event` is empty without such a column."""

    key: str
    at: int
    known: int
    event: str
    values: Mapping[str, Json]


class Log(Protocol):
    """Pushed rows, kept with the moment at which they became known, in the order in which they came.

    `name` is what rows were pushed to, such as `view:customers` or `source:payments`.
    """

    async def append(self, ctx: Context, name: str, rows: Sequence[Logged], *, versions: bool = True) -> int:
        """Keep the rows that say something new of their event, all or none; how many did.

        A row is no news if the newest one of the same key, event time and event has the same values; without
        `versions`, if there is any.
        """
        ...

    def read(self, tenant: str, name: str, *, start: int, end: int) -> AsyncIterator[Sequence[Logged]]:
        """The rows whose event time lies in `start` <= at < `end`, in pages."""
        ...

    async def bounds(self, tenant: str, name: str) -> tuple[int, int] | None:
        """The first and the last event time held; None if nothing is."""
        ...

    async def holds(self) -> Sequence[tuple[str, str]]:
        """Every tenant and name that rows are held of."""
        ...

    async def prune(self, tenant: str, name: str, *, before: int, most: int) -> int:
        """Forget the first rows of an event time < `before`, at most so many; how many went.

        Where any goes, `horizon` is at least `before` from then on, in the same transaction.
        """
        ...

    async def horizon(self, tenant: str, name: str) -> int | None:
        """The event time before which rows may have been forgotten; None if none ever were. It only grows."""
        ...


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows to join: for one plan, from its source's table, its log, or both. `columns` are of the log."""

    plan: Plan
    source: SourceSpec | None
    table: Table | None
    address: str | None
    columns: Mapping[str, Kind]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of event time, `start` <= at < `end`, in microseconds."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A view's fields, row by row of a spine. `present` says where the view has values, `status` what it says where."""

    fields: pyarrow.Table
    present: pyarrow.ChunkedArray
    status: pyarrow.ChunkedArray | None = None


class Session(Protocol):
    """One piece of work of the offline engine. Its methods block, so they are called in a thread."""

    def take(self, number: int, rows: Sequence[Logged]) -> None:
        """Add logged rows to the relation of that number."""
        ...

    def history(
        self, spine: pyarrow.Table, keys: Sequence[str], time: str, *, late: bool, status: bool = False
    ) -> Sequence[Joined]:
        """What each relation has for the spine, row by row; with `status` the view's status as well."""
        ...

    def occurrences(self, span: Span, *, known: int | None = None) -> Iterator[Mapping[str, Sequence[Any]]]:
        """The first relation's rows in the span, in pages, by key; with `known` only those known from then on."""
        ...

    def bounds(self) -> tuple[int, int] | None:
        """The first and the last event time of the first relation; None if it is empty."""
        ...

    def stop(self) -> None:
        """End what is under way, from another thread."""
        ...


class Offline(Protocol):
    """The offline engine: bounded in memory and threads, reading declared places only."""

    def open(self, relations: Sequence[Relation], span: Span | None) -> AbstractContextManager[Session]:
        """A session over these relations, whose rows outside `span` need not be read. Blocks.

        Raises Unavailable if a table cannot be read, InvalidInput if it is not as declared.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """How far a view has been materialised, and the run that has it. Moments are microseconds.

    `reached` is the event time up to which the online side is complete, `known` when the run began that last finished:
    rows that became known since may be missing. `start`, `end` and `next` are of an unfinished backfill.
    """

    definition: str
    reached: int | None = None
    known: int | None = None
    start: int | None = None
    end: int | None = None
    next: int | None = None


class Jobs(Protocol):
    """The state of materialisations, one for each tenant and view, and the lease of the run that has it."""

    async def take(self, ctx: Context, view: str, owner: str, now: int, until: int) -> Job | None:
        """Take the view for `owner` until that moment; its state, None if it has none.

        Raises Conflict, with the seconds to wait, while another owner has it.
        """
        ...

    async def keep(self, ctx: Context, view: str, owner: str, until: int, job: Job | None = None) -> None:
        """Hold the lease on, and store the state, in one transaction. Raises Conflict if another owner has it."""
        ...

    async def release(self, ctx: Context, view: str, owner: str) -> None:
        """Give the view up, if `owner` has it."""
        ...
