"""Opens a store by its URL: the one place that knows which engine stands behind which scheme."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlencode, urlsplit, urlunsplit

from ..clock import Clock
from ..errors import Misconfigured
from .contract import Blobs, Database, Journal, KeyValue


def open_database(url: str, *, journal: Journal | None = None, durable: bool = True) -> Database:
    """The SQL database at `memory:`, `sqlite:///absolute/path.db` or `postgresql://user@host/name`.

    Without `durable` a commit does not wait for the disk. Raises Misconfigured for another scheme or a missing extra.
    """
    from .sql.database import SqlDatabase

    parts = urlsplit(url)
    match parts.scheme:
        case "memory":
            from .sql.sqlite import sqlite_engine

            return SqlDatabase(sqlite_engine(None), journal=journal)
        case "sqlite":
            from .sql.sqlite import sqlite_engine

            return SqlDatabase(sqlite_engine(_path(parts), durable=durable), journal=journal)
        case "postgresql":
            with _extra("postgres"):
                from .sql.postgres import postgres_engine
            return SqlDatabase(postgres_engine(url, durable=durable), journal=journal)
        case _:
            raise _unknown("database", parts, "memory:, sqlite:///path, postgresql://")


def open_keyvalue(url: str, *, clock: Clock) -> KeyValue:
    """The key-value store at `memory:`, `sqlite:///absolute/path.db` or `redis://host:6379/0?prefix=name:`.

    Raises Misconfigured for another scheme or a missing extra.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "memory":
            from .keyvalue.memory import MemoryKeyValue

            return MemoryKeyValue(clock=clock)
        case "sqlite":
            from .keyvalue.sqlite import SqliteKeyValue

            return SqliteKeyValue(_path(parts), clock=clock)
        case "redis" | "rediss" | "unix":
            with _extra("redis"):
                from .keyvalue.redis import RedisKeyValue
            options = parse_qs(parts.query)
            prefix = options.pop("prefix", [""])[-1]
            server = urlunsplit(parts._replace(query=urlencode(options, doseq=True)))
            return RedisKeyValue(server, prefix=prefix)
        case _:
            raise _unknown("key-value", parts, "memory:, sqlite:///path, redis://, rediss://, unix://")


def open_blobs(url: str) -> Blobs:
    """The blobs at `memory:`, `file:///absolute/folder` or `s3://bucket/prefix?endpoint=https://host&region=name`.

    Raises Misconfigured for another scheme or a missing extra.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "memory":
            from .blobs.memory import MemoryBlobs

            return MemoryBlobs()
        case "file":
            from .blobs.local import LocalBlobs

            return LocalBlobs(_path(parts))
        case "s3":
            with _extra("s3"):
                from .blobs.s3 import S3Blobs
            options = parse_qs(parts.query)
            if not parts.netloc:
                raise Misconfigured("the s3 URL names no bucket; write s3://bucket/prefix")
            if unknown := sorted(options.keys() - {"endpoint", "region"}):
                raise Misconfigured(f"the s3 URL has unknown options: {', '.join(unknown)}")
            return S3Blobs(
                parts.netloc,
                prefix=unquote(parts.path).strip("/"),
                endpoint=options.get("endpoint", [None])[-1],
                region=options.get("region", [None])[-1],
            )
        case _:
            raise _unknown("blob", parts, "memory:, file:///folder, s3://bucket")


def _path(parts: SplitResult) -> Path:
    path = Path(unquote(parts.path))
    if parts.netloc or not path.is_absolute():
        raise Misconfigured(f"the {parts.scheme} URL must hold an absolute path, as in {parts.scheme}:///var/lib/x")
    return path


def _unknown(what: str, parts: SplitResult, known: str) -> Misconfigured:
    # The URL itself may hold a password, so only its scheme is told.
    return Misconfigured(f"no {what} engine for the scheme {parts.scheme!r}; known are {known}")


@contextmanager
def _extra(name: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"the package {error.name} for this engine is not installed",
            next_step=f"Run `pip install 'stanchion[{name}]'`.",
        ) from error
