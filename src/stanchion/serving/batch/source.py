"""What readers of tables share, and the reader of Parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InvalidInput
from .pieces import Described, Piece, Source

if TYPE_CHECKING:
    import pyarrow

_MOST_BYTES = 1 << 29


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unreadable(path: Path, error: Exception, place: str = "") -> InvalidInput:
    """The problem of a file that an engine could not read; the engine's message holds no cell but may hold a line."""
    first = str(error).partition("\n")[0][:200]
    return InvalidInput(
        f"{path.name} cannot be read{place}: {first}",
        next_step="Check that the file was written completely, and is what its name says.",
    )


class ParquetSource(Source):
    """One Parquet file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def describe(self) -> Described:
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self._path) as file:
                schema, rows = file.schema_arrow, file.metadata.num_rows
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise unreadable(self._path, error) from error
        types = [str(kind) for kind in schema.types]
        return Described("parquet", schema.names, types, digest_of(self._path), rows)

    def pieces(self, rows: int, columns: Sequence[str], *, skip: int = 0) -> Iterator[Piece]:
        import pyarrow
        import pyarrow.parquet

        start = rows * skip
        try:
            with pyarrow.parquet.ParquetFile(self._path, pre_buffer=False, page_checksum_verification=True) as file:
                groups, before = _groups(file, start)
                batches = file.iter_batches(rows, row_groups=groups, columns=list(columns)) if groups else iter(())
                yield from regrouped(batches, rows, columns, drop=start - before, first=start)
        except (pyarrow.ArrowException, OSError) as error:
            raise unreadable(self._path, error) from error


def _groups(file: Any, start: int) -> tuple[list[int], int]:
    """The row groups from the one that holds row `start` on, and the rows before them."""
    before = 0
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if before + size > start:
            return list(range(group, file.metadata.num_row_groups)), before
        before += size
    return [], before


def regrouped(
    batches: Iterator[pyarrow.RecordBatch], rows: int, columns: Sequence[str], *, drop: int, first: int
) -> Iterator[Piece]:
    """Batches of any size as pieces of exactly `rows`, after `drop` rows have been left out."""

    held: list[pyarrow.RecordBatch] = []
    count = 0
    for each in batches:
        batch = each
        if drop:
            passed = min(drop, batch.num_rows)
            batch, drop = batch.slice(passed), drop - passed
        while batch.num_rows:
            taken = batch.slice(0, rows - count)
            held.append(taken)
            count += taken.num_rows
            batch = batch.slice(taken.num_rows)
            if count == rows:
                yield _piece(held, columns, first)
                first, held, count = first + rows, [], 0
    if count:
        yield _piece(held, columns, first)


def _piece(batches: Sequence[pyarrow.RecordBatch], columns: Sequence[str], first: int) -> Piece:
    import numpy
    import pyarrow

    table = pyarrow.Table.from_batches(list(batches)).select(list(columns))
    check_size(table)
    # Texts that are no UTF-8 pass a reader unseen, and fail whoever touches them later.
    table.validate(full=True)
    return Piece(table, numpy.arange(first + 1, first + 1 + table.num_rows, dtype=numpy.int64))


def check_size(table: pyarrow.Table) -> None:
    """Raise InvalidInput for a piece that is too large to work on in memory."""
    if table.nbytes > _MOST_BYTES:
        raise InvalidInput(
            f"{table.num_rows:,} rows take {table.nbytes >> 20} MB, more than {_MOST_BYTES >> 20} MB at once",
            next_step="Take fewer rows at once, with `chunk_rows` or --chunk.",
        )
