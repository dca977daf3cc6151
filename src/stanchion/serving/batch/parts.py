"""Files of a job under way, beside its output: nothing has the output's name before all of it is there.

The working folder `.NAME.batch` lies in the folder of the output, so that the last step is a rename, which is atomic.
A lock in it says that somebody works there; the kernel lets go of it when the process dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ...core.errors import Conflict
from .source import digest_of

if TYPE_CHECKING:
    import pyarrow

_OUT, _BAD = "out", "bad"
_TRIES, _PAUSE = 5, 0.01


class Workshop:
    """The working folder of one output."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f".{output.name}.batch")

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the folder. Raises Conflict while another job or process does."""
        for left in reversed(range(_TRIES)):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            with (self.folder / "lock").open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Somebody may only be looking (`busy`), which takes microseconds.
                    if not left:
                        raise _taken(self.output) from None
                    time.sleep(_PAUSE)
                    continue
                if self._present(file):
                    yield
                    return
            # Whoever held the lock before has removed the folder since we opened the file in it.
        raise _taken(self.output)

    def _present(self, lock: IO[str]) -> bool:
        try:
            return os.fstat(lock.fileno()).st_ino == (self.folder / "lock").stat().st_ino
        except FileNotFoundError:
            return False

    def busy(self) -> bool:
        """Whether somebody holds the folder."""
        try:
            with (self.folder / "lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def check_free(self) -> None:
        """Raise Conflict if somebody holds the folder."""
        if self.busy():
            raise _taken(self.output)

    def owner(self) -> str:
        """The job whose parts lie here; empty if there are none."""
        try:
            return (self.folder / "job").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def claim(self, job: str) -> None:
        """Make this the folder of a job; the parts of another one are removed."""
        if self.owner() != job:
            for file in self.folder.iterdir():
                if file.name != "lock":
                    file.unlink()
            _write(self.folder / "job", job.encode())

    def clear(self) -> None:
        """Remove the folder; call it inside `taken`, so that nobody begins in what is being removed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def part(self, number: int) -> Path:
        """The file of a chunk."""
        return self.folder / f"{number:08d}.{_OUT}"

    def store(self, number: int, output: pyarrow.Table, bad: pyarrow.Table | None) -> tuple[int, str]:
        """Put a chunk's rows on the disk, durably; size and digest of its file of predictions.

        A file of that name that a killed process left is replaced.
        """
        if bad is not None:
            self._put(self.folder / f"{number:08d}.{_BAD}", bad)
        else:
            (self.folder / f"{number:08d}.{_BAD}").unlink(missing_ok=True)
        path = self.part(number)
        self._put(path, output)
        return path.stat().st_size, digest_of(path)

    def intact(self, number: int, size: int, sha256: str) -> bool:
        """Whether a chunk's file is the one that was stored."""
        path = self.part(number)
        return path.is_file() and path.stat().st_size == size and digest_of(path) == sha256

    def outputs(self, count: int) -> Iterator[pyarrow.Table]:
        """The predictions of the first `count` chunks, in order."""
        for number in range(count):
            yield _read(self.part(number))

    def quarantine(self, count: int) -> Iterator[pyarrow.Table]:
        """The quarantined rows of the first `count` chunks, in order; chunks without any are passed over."""
        for number in range(count):
            path = self.folder / f"{number:08d}.{_BAD}"
            if path.is_file():
                yield _read(path)

    def _put(self, path: Path, table: pyarrow.Table) -> None:
        import pyarrow

        draft = path.with_suffix(path.suffix + ".tmp")
        with draft.open("wb") as file:
            with pyarrow.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync(self.folder)


def _taken(output: Path) -> Conflict:
    return Conflict(f"{output.name} is being written by a batch job", next_step="Wait for it, or cancel it.")


def write_table(path: Path, tables: Iterator[pyarrow.Table], about: Mapping[str, str]) -> bool:
    """Write tables of one schema as one Parquet or CSV file, by the path's suffix; False if there are none.

    Under a temporary name and durable: the caller puts it in place with `publish`.
    """
    first = next(tables, None)
    if first is None:
        return False
    with draft_of(path).open("wb") as file:
        if path.suffix == ".csv":
            _as_csv(file, first, tables)
        else:
            _as_parquet(file, first, tables, about)
        file.flush()
        os.fsync(file.fileno())
    return True


def _as_csv(file: Any, first: pyarrow.Table, rest: Iterator[pyarrow.Table]) -> None:
    import pyarrow.csv

    with pyarrow.csv.CSVWriter(file, _plain(first).schema) as writer:
        writer.write_table(_plain(first))
        for table in rest:
            writer.write_table(_plain(table))


def _plain(table: pyarrow.Table) -> pyarrow.Table:
    """Without dictionaries, which CSV does not know."""
    import pyarrow

    for place, kind in enumerate(table.schema.types):
        if pyarrow.types.is_dictionary(kind):
            table = table.set_column(place, table.schema.names[place], table.column(place).cast(kind.value_type))
    return table


def _as_parquet(file: Any, first: pyarrow.Table, rest: Iterator[pyarrow.Table], about: Mapping[str, str]) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = first.schema.with_metadata({f"stanchion.{name}": value for name, value in about.items()})
    words = [each.name for each in schema if pyarrow.types.is_dictionary(each.type) or each.type == pyarrow.string()]
    # Numbers that hardly repeat: trying to find a dictionary for them costs more than it saves.
    with pyarrow.parquet.ParquetWriter(file, schema, use_dictionary=words, write_statistics=True) as writer:
        writer.write_table(first.cast(schema))
        for table in rest:
            writer.write_table(table.cast(schema))


def draft_of(path: Path) -> Path:
    """The temporary name under which a file is written: in the working folder's place, beside the final one."""
    return path.with_name(f".{path.name}.tmp")


def publish(path: Path) -> None:
    """Give a draft its final name, at once and durably."""
    draft_of(path).replace(path)
    _sync(path.parent)


def put(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all."""
    _write(draft_of(path), content)
    publish(path)


def discard(paths: Sequence[Path]) -> None:
    """Remove drafts that a failed or cancelled job left."""
    for path in paths:
        with suppress(FileNotFoundError):
            draft_of(path).unlink()


def digest_of_draft(path: Path) -> str:
    """The SHA-256 of a draft's content."""
    return digest_of(draft_of(path))


def _read(path: Path) -> pyarrow.Table:
    import pyarrow

    with pyarrow.memory_map(str(path)) as file:
        return pyarrow.ipc.open_file(file).read_all()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fingerprint(*parts: str) -> str:
    """A digest of texts, none of which can run into the next."""
    return hashlib.sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
