"""The three storage ports: SQL, key-value and blobs. Engines stand behind them, never beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from ..context import Context, Effect

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .schema import Schema

T = TypeVar("T")
Dialect = Literal["sqlite", "postgresql"]


class Journal(Protocol):
    """What must be written in the same transaction as a change: the audit log."""

    def record(self, connection: Connection, effects: Sequence[Effect]) -> None:
        """Append one event for each effect, in order, in the caller's transaction.

        Raises whatever prevents it; the transaction is then rolled back: no change without its event.
        """
        ...

    def committed(self) -> None:
        """Called once after a commit that held recorded effects: the moment for a checkpoint.

        Runs in the database's writing thread: the next writes wait for it, so it must not wait for a write itself.
        """
        ...


class Database(Protocol):
    """SQL with short transactions, given as plain functions of a connection.

    A function runs in a thread of the database's own and must not wait for anything but SQL. It may run
    again after a serialisation failure, so it has no effect outside the connection. Writes of one process
    are applied in the order in which they were asked for. Every key begins with the tenant.
    """

    dialect: Dialect

    async def prepare(self, schema: Schema) -> None:
        """Bring the module's tables to the schema's newest version; does nothing if they are.

        Raises Misconfigured if the tables are newer than this program.
        """
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, from one consistent snapshot; the connection is read-only."""
        ...

    async def write(self, ctx: Context, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once its transaction is durable.

        If `ctx.effect` is set, the journal records it in the same transaction, after `work`, and
        `ctx.effect.recorded` grows by one when the commit is durable. An exception of `work` rolls back
        its own changes only and reaches the caller. Concurrent writes may share one commit.
        Cancelling the caller does not undo a write that had begun.
        """
        ...

    async def close(self) -> None:
        """Finish the writes asked for, then close. Later calls raise Unavailable."""
        ...


class KeyValue(Protocol):
    """Small values under string keys, with expiry. Values are bytes; absence is None, never an error.

    An expired key is absent for every method, at once. Keys are at most 512 bytes in UTF-8.
    """

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """One value or None for each key, in the order of `keys`; a key may be given twice."""
        ...

    async def set(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """Store all items, replacing value and expiry. `ttl` is in seconds, more than 0; None is for ever."""
        ...

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove the keys; how many were there."""
        ...

    async def increment(self, key: str, by: int = 1, *, ttl: float | None = None) -> int:
        """Add `by` to a 64-bit counter (absent is 0) and return the sum, atomically.

        `ttl` applies only when the call creates the counter. Raises Conflict if the value is no counter.
        """
        ...

    async def swap(self, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        """Compare and set, atomically: True if the value was `expected` (None: absent) and is now `new`."""
        ...

    def scan(self, prefix: str) -> AsyncIterator[str]:
        """Every live key that starts with `prefix`, in no order, each once; keys changed meanwhile may miss."""
        ...

    async def close(self) -> None:
        """Release the engine."""
        ...


class Blobs(Protocol):
    """Whole files under slash-separated names, each written at once or not at all.

    Names are 1 to 512 characters of `A-Z a-z 0-9 . _ - / =` without empty, `.` or `..` parts and with at most 240
    characters in a part; others raise InvalidInput. A reader sees the old or the new content, never a mixture; a
    kill leaves either.
    """

    async def put(self, name: str, content: bytes) -> None:
        """Store the content durably under the name, replacing what was there."""
        ...

    async def get(self, name: str) -> bytes:
        """The whole content. Raises NotFound."""
        ...

    def read(self, name: str, *, chunk: int = 1 << 20) -> AsyncIterator[bytes]:
        """The content in pieces of at most `chunk` bytes. Raises NotFound at the first step."""
        ...

    async def delete(self, name: str) -> bool:
        """Remove it; whether it was there."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[str]:
        """Every name that starts with `prefix`, in ascending order of code points."""
        ...

    async def close(self) -> None:
        """Release the engine."""
        ...
