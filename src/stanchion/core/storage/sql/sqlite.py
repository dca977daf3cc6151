"""SQLite as the embedded engine: a file in WAL mode, or one shared connection in memory.

Python's own transaction handling is off: it begins late, so two writers could both read first and then fail
with a deadlock that no timeout cures. BEGIN IMMEDIATE takes the write lock at once and waits for it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, Engine, Pool, QueuePool, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from ...errors import Unavailable
from .engine import Fault, SqlEngine, driver

BUSY_SECONDS = 10.0
READERS = 2

_DOWN = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


def sqlite_engine(path: Path | None, *, durable: bool = True) -> SqlEngine:
    """The engine over a file, made with its folders if it is missing, or in memory if `path` is None.

    `durable` syncs the log at every commit; without it a power cut may lose the last commits, never the order.
    """
    if path is None:
        shared = connect(":memory:")
        return SqlEngine(
            dialect="sqlite",
            writer=_engine(lambda: shared, StaticPool, "PRAGMA query_only=OFF", "BEGIN IMMEDIATE"),
            reader=_engine(lambda: shared, StaticPool, "PRAGMA query_only=ON", "BEGIN"),
            readers=READERS,
            fault=fault,
            turn=Lock(),
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the database's folder cannot be made: {error.strerror}") from error
    synchronous = f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}"
    return SqlEngine(
        dialect="sqlite",
        writer=_engine(lambda: connect_file(path, synchronous), QueuePool, "BEGIN IMMEDIATE"),
        # Not at every begin, as in memory: this pragma makes SQLite compile all kept statements anew.
        reader=_engine(lambda: connect_file(path, synchronous, "PRAGMA query_only=ON"), QueuePool, "BEGIN"),
        readers=READERS,
        fault=fault,
        turn=nullcontext(),
    )


def connect(name: str) -> sqlite3.Connection:
    """A connection that any one thread at a time may use, without implicit transactions."""
    link = sqlite3.connect(
        name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    link.execute("PRAGMA foreign_keys=ON")
    return link


def connect_file(path: Path, *pragmas: str) -> sqlite3.Connection:
    """A connection to a file in WAL mode, made if it is missing, with the pragmas set."""
    link = connect(str(path))
    _turn_on_wal(link)
    for pragma in pragmas:
        link.execute(pragma)
    return link


def _turn_on_wal(link: sqlite3.Connection) -> None:
    """Put the file in WAL mode, for good. Two processes may do so at once on a new file.

    The loser gets SQLITE_BUSY at once, because waiting could deadlock there; so the waiting is done here.
    """
    for _ in range(int(BUSY_SECONDS * 100)):
        try:
            link.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        time.sleep(0.01)
    raise Unavailable("the database file stays locked by another process")


def fault(error: BaseException) -> Fault:
    """Whose fault an exception is, by SQLite's result code."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    # Errors that the sqlite3 module finds itself carry no code; they are mistakes of the caller.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF if isinstance(cause, sqlite3.Error) else 0
    if code == sqlite3.SQLITE_READONLY:
        return "readonly"
    return "down" if code in _DOWN else "caller"


def _engine(creator: Callable[[], sqlite3.Connection], pool: type[Pool], *begin: str) -> Engine:
    engine = create_engine("sqlite://", creator=creator, poolclass=pool, hide_parameters=True)

    def begins(connection: Connection) -> None:
        link = driver(connection)
        for statement in begin:
            link.execute(statement)

    event.listen(engine, "begin", begins)
    return engine
