"""Where rows come from: a file is described once, then given in pieces of so many rows, from any piece on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy
    import pyarrow


class Broken(NamedTuple):
    """A row that is none: it has too many or too few cells. `raw` is its text."""

    number: int
    problem: str
    raw: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows with their numbers in the input, which count from 1; broken rows stand beside them."""

    table: pyarrow.Table
    numbers: numpy.ndarray[tuple[int], numpy.dtype[numpy.int64]]
    broken: Sequence[Broken] = ()

    @property
    def rows(self) -> int:
        """Rows of the input, broken ones included."""
        return len(self.numbers) + len(self.broken)


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of an input before its rows are read.

    `fingerprint` changes with the content. `rows` is exact for Parquet and Delta, and a count of lines for CSV.
    """

    format: str
    names: Sequence[str]
    types: Sequence[str]
    fingerprint: str
    rows: int


class Source(Protocol):
    """A table on the disk. Everything blocks; every fault of the file is an InvalidInput that names it."""

    def describe(self) -> Described:
        """Its columns and its digest."""
        ...

    def pieces(self, rows: int, columns: Sequence[str], *, skip: int = 0) -> Iterator[Piece]:
        """Pieces of exactly `rows` sound rows (the last one fewer) with these columns, but for the first `skip`.

        The same file gives the same pieces, whatever is skipped.
        """
        ...
