"""Checkpoints in an append-only file, one JSON string a line: the second sink of a single machine."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...clock import Clock
from ...errors import Unavailable
from .ports import CheckpointSink


class FileSink(CheckpointSink):
    """Appends to one file, mode 0600, made when first needed. Processes of one machine may share it.

    What is written survives the process at once; it is synced to the disk at most once in `sync_seconds`, and by
    `flush` and `close`. A file that is removed or replaced while it is open is not made anew: the sink refuses
    from then on, because a fresh file would forget what the old one proved.
    """

    def __init__(self, path: Path, clock: Clock, *, sync_seconds: float = 1.0) -> None:
        self.name = path.name
        self._path = path
        self._clock = clock
        self._every = sync_seconds
        self._synced = clock.monotonic()
        self._file: int | None = None
        self._lock = threading.Lock()

    def append(self, note: str) -> None:
        line = json.dumps(note, ensure_ascii=False).encode() + b"\n"
        with self._opened() as file:
            written = os.write(file, line)
            if written != len(line):  # the disk is full: leave no half line behind
                os.ftruncate(file, os.fstat(file).st_size - written)
                raise Unavailable("the checkpoint file's disk is full")
            if self._clock.monotonic() - self._synced >= self._every:
                self._sync(file)

    async def mend(self) -> None:
        await asyncio.to_thread(self._mend)

    async def run(self) -> None:
        """A note lies in the file as soon as it is taken."""

    async def flush(self) -> None:
        await asyncio.to_thread(self._flush)

    async def notes(self) -> Sequence[str]:
        return await asyncio.to_thread(self._notes)

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _mend(self) -> None:
        if not self._path.exists():
            return
        with self._opened() as file:
            content = self._path.read_bytes()
            torn = content.rpartition(b"\n")[2]
            if torn and _text(torn) is None:
                # A power cut may leave part of the last line. It proves nothing, and would spoil the next one.
                os.ftruncate(file, len(content) - len(torn))
            elif torn:
                os.write(file, b"\n")
            os.fsync(file)

    def _flush(self) -> None:
        if self._file is not None:
            with self._opened() as file:
                self._sync(file)

    def _notes(self) -> Sequence[str]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Unavailable(f"the checkpoint file cannot be read: {error.strerror}") from error
        return [_note(line) for line in content.split(b"\n") if line.strip()]

    def _close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.fsync(self._file)
                os.close(self._file)
                self._file = None

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The file, ours alone among all processes for the block. Raises Unavailable."""
        with self._lock:
            try:
                if self._file is None:
                    self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                    self._sync_folder()
                if not os.path.samestat(os.fstat(self._file), self._path.stat()):
                    raise Unavailable("the checkpoint file was replaced by another while it was open")
                fcntl.flock(self._file, fcntl.LOCK_EX)
                try:
                    yield self._file
                finally:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
            except OSError as error:
                raise Unavailable(f"the checkpoint file cannot be written: {error.strerror}") from error

    def _sync(self, file: int) -> None:
        os.fsync(file)
        self._synced = self._clock.monotonic()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _note(line: bytes) -> str:
    """The note of a line; a line that is none comes back as it lies there, which is no readable checkpoint."""
    note = _text(line)
    return line.decode("utf-8", "replace") if note is None else note


def _text(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
