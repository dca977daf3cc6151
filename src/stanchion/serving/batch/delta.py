"""Delta tables: the version is pinned when the job begins, so that later writes change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InvalidInput
from .pieces import Described, Piece, Source
from .source import regrouped, unreadable

if TYPE_CHECKING:
    import pyarrow


class DeltaSource(Source):
    """One version of a Delta table; its files are read in the order of their names."""

    def __init__(self, path: Path, version: int | None = None) -> None:
        self._path = path
        self._version = version

    def describe(self) -> Described:
        table, dataset = self._open()
        schema = dataset.schema
        identity = f"delta:{table.metadata().id}:{table.version()}"
        return Described("delta", schema.names, [str(t) for t in schema.types], identity, dataset.count_rows())

    def pieces(self, rows: int, columns: Sequence[str], *, skip: int = 0) -> Iterator[Piece]:
        import pyarrow

        _, dataset = self._open()
        try:
            yield from regrouped(_batches(dataset, rows, columns), rows, columns, drop=rows * skip, first=rows * skip)
        except (pyarrow.ArrowException, OSError) as error:
            raise unreadable(self._path, error) from error

    def at(self, fingerprint: str) -> DeltaSource:
        """The table as it was at the version that a fingerprint names."""
        return DeltaSource(self._path, int(fingerprint.rpartition(":")[2]))

    def _open(self) -> tuple[Any, Any]:
        import deltalake

        try:
            table = deltalake.DeltaTable(str(self._path), version=self._version)
            dataset = table.to_pyarrow_dataset()
        # deltalake's errors share no base but Exception.
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            raise InvalidInput(f"{self._path.name} is no Delta table that can be read: {error}") from error
        return table, dataset


def _batches(dataset: Any, rows: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    # One file after the other and in order: a scan of them all promises no order that a resumed job could rely on.
    for fragment in sorted(dataset.get_fragments(), key=lambda each: str(each.path)):
        scanner = fragment.scanner(schema=dataset.schema, columns=list(columns), batch_size=rows, use_threads=False)
        yield from scanner.to_batches()
