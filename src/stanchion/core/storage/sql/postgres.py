"""PostgreSQL as the engine for more than one machine, through psycopg 3."""

from __future__ import annotations

from contextlib import nullcontext

import psycopg
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ...errors import Misconfigured
from .engine import Fault, SqlEngine

READERS = 4
CONNECT_SECONDS = 10
LOCK_SECONDS = 10

# Beginnings of SQLSTATE. Another try cures a lost connection, a serialisation failure or deadlock, and a restart.
# For resources, operator and system errors the server is at fault, not the statement.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_AGAIN = ("08", "40", "57P0")
_DOWN = ("53", "57", "58", "XX")
_LOCK_NOT_AVAILABLE = "55P03"
_READ_ONLY = "25006"


def postgres_engine(url: str, *, durable: bool = True) -> SqlEngine:
    """The engine over a server. Nothing is connected yet: an unreachable server shows at the first call.

    Without `durable` a crash of the server may lose the last commits, never the order.
    """
    try:
        address = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise Misconfigured("the PostgreSQL URL cannot be read; write postgresql://user@host:5432/name") from None
    options = f"-c lock_timeout={LOCK_SECONDS}s" + ("" if durable else " -c synchronous_commit=off")
    writer = create_engine(
        address,
        pool_size=READERS + 1,
        max_overflow=0,
        hide_parameters=True,
        connect_args={
            "options": options,
            "connect_timeout": CONNECT_SECONDS,
            # A server that vanishes without a word is noticed within a minute, not after the system's two hours.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )
    return SqlEngine(
        dialect="postgresql",
        writer=writer,
        reader=writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
        readers=READERS,
        fault=fault,
        turn=nullcontext(),
    )


def fault(error: BaseException) -> Fault:
    """Whose fault an exception is, by SQLSTATE and by what became of the connection."""
    if isinstance(error, PoolTimeout):
        return "down"
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return "again" if lost else "caller"
    state = cause.sqlstate
    # Where a connection died libpq itself speaks, which knows no SQLSTATE.
    if lost or (state or "").startswith(_AGAIN) or (state is None and isinstance(cause, psycopg.OperationalError)):
        return "again"
    if state == _READ_ONLY:
        return "readonly"
    return "down" if state is not None and (state.startswith(_DOWN) or state == _LOCK_NOT_AVAILABLE) else "caller"
