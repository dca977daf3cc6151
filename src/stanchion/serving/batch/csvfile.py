"""CSV: every cell is read as text and given a type by the model's schema, never by a guess.

A file without a quotation mark is read by Arrow. One with quotation marks is read by Python's csv module in its
strict mode, at about a tenth of the speed: Arrow's reader takes text after a closing quotation mark for part of the
cell, so a broken quotation could swallow rows without a word.

An empty cell is an absent value, whether it is quoted or not.
"""

from __future__ import annotations

import csv
import hashlib
import mmap
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ...core.errors import InvalidInput
from .pieces import Broken, Described, Piece, Source
from .source import check_size, unreadable

if TYPE_CHECKING:
    import pyarrow

_BLOCK = 4 << 20
_CELL = 1 << 20
_RAW = 1 << 16
_READ = 10_000
_BOM = b"\xef\xbb\xbf"


class CsvSource(Source):
    """One CSV file in UTF-8 with a header line."""

    def __init__(self, path: Path, *, delimiter: str) -> None:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise InvalidInput("the delimiter must be one character, and no quotation mark")
        self._path = path
        self._delimiter = delimiter

    def describe(self) -> Described:
        names = self._header()
        with self._path.open("rb") as file:
            digest = hashlib.sha256()
            lines, last = 0, b"\n"
            while block := file.read(_BLOCK):
                digest.update(block)
                lines += block.count(b"\n")
                last = block[-1:]
        rows = lines - (1 if last == b"\n" else 0)
        return Described("csv", names, ["string"] * len(names), digest.hexdigest(), max(0, rows))

    def pieces(self, rows: int, columns: Sequence[str], *, skip: int = 0) -> Iterator[Piece]:
        names = self._header()
        parsed = self._strict(names) if self._quoted() else self._plain(names)
        for place, piece in enumerate(_regrouped(parsed, rows, columns)):
            if place >= skip:
                yield piece

    def _header(self) -> list[str]:
        try:
            with self._path.open("rb") as file:
                names = next(csv.reader(_lines(file), delimiter=self._delimiter, strict=True), [])
        except (csv.Error, UnicodeDecodeError) as error:
            raise unreadable(self._path, error, " at its header") from error
        if not names or names == [""]:
            raise InvalidInput(f"{self._path.name} is empty", next_step="Give a file with a header line and rows.")
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise InvalidInput(f"{self._path.name} has two columns named {double[0]!r}")
        return names

    def _quoted(self) -> bool:
        with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b'"') >= 0

    def _plain(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows by Arrow's reader; the numbers of broken rows leave gaps."""
        import pyarrow
        import pyarrow.csv

        # Arrow may call back from a thread of its own: a deque is only ever appended to there and emptied here.
        broken: deque[Broken] = deque()

        def keep(row: Any) -> str:
            problem = f"Expected {row.expected_columns} cells, got {row.actual_columns}"
            # The header is the first row of the reader.
            broken.append(Broken(row.number - 1, problem, row.text[:_RAW]))
            return "skip"

        text = pyarrow.string()
        try:
            with pyarrow.csv.open_csv(
                str(self._path),
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self._delimiter, quote_char=False, invalid_row_handler=keep, ignore_empty_lines=False
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, text), null_values=[""], strings_can_be_null=True
                ),
            ) as reader:
                number = 0
                for batch in reader:
                    # The reader is ahead of its batches: broken rows that come later are known already.
                    table = pyarrow.Table.from_batches([batch]).rename_columns(list(names))
                    numbers, number = _numbers(table.num_rows, number, tuple(broken))
                    before = []
                    while broken and broken[0].number <= number:
                        before.append(broken.popleft())
                    yield Piece(table, numbers, before)
                if broken:
                    yield Piece(_table([], names), _numbers(0, number, ())[0], tuple(broken))
        except (pyarrow.ArrowException, OSError) as error:
            raise unreadable(self._path, error) from error

    def _strict(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows by Python's csv module, which stops at a broken quotation."""
        import numpy

        rows: list[list[str | None]] = []
        numbers: list[int] = []
        broken: list[Broken] = []
        number, line = 0, 1
        csv.field_size_limit(max(csv.field_size_limit(), _CELL))
        try:
            with self._path.open("rb") as file:
                reader = csv.reader(_lines(file), delimiter=self._delimiter, strict=True)
                next(reader)
                for number, found in enumerate(reader, start=1):
                    line = reader.line_num
                    # An empty line is a row without values, for Arrow's reader as well.
                    cells = found or [""] * len(names)
                    if len(cells) == len(names):
                        rows.append([cell or None for cell in cells])
                        numbers.append(number)
                    else:
                        problem = f"Expected {len(names)} cells, got {len(cells)}"
                        broken.append(Broken(number, problem, self._delimiter.join(cells)[:_RAW]))
                    if len(rows) == _READ:
                        yield Piece(_table(rows, names), numpy.array(numbers, dtype=numpy.int64), broken)
                        rows, numbers, broken = [], [], []
        except (csv.Error, UnicodeDecodeError) as error:
            raise unreadable(self._path, error, f" after row {number}, near line {line + 1}") from error
        if rows or broken:
            yield Piece(_table(rows, names), numpy.array(numbers, dtype=numpy.int64), broken)


def _lines(file: BinaryIO) -> Iterator[str]:
    """The lines with their ends, decoded one by one, so that an error is told where it is."""
    yield file.readline().removeprefix(_BOM).decode()
    for line in file:
        yield line.decode()


def _table(rows: Sequence[Sequence[str | None]], names: Sequence[str]) -> pyarrow.Table:
    import pyarrow

    columns: Sequence[Sequence[str | None]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pyarrow.table([pyarrow.array(each, pyarrow.string()) for each in columns], names=list(names))


def _numbers(count: int, last: int, broken: Sequence[Broken]) -> tuple[Any, int]:
    """Numbers for the next `count` sound rows after row `last`, over the gaps of broken ones; and the new last."""
    import numpy

    numbers = numpy.arange(last + 1, last + 1 + count, dtype=numpy.int64)
    for each in sorted(row.number for row in broken):
        if not count or each > numbers[-1]:
            break
        numbers[numbers >= each] += 1
    return numbers, int(numbers[-1]) if count else last


def _regrouped(parsed: Iterator[Piece], rows: int, columns: Sequence[str]) -> Iterator[Piece]:
    """Pieces of exactly `rows` sound rows; a broken row goes with the sound ones before and around it."""
    import numpy
    import pyarrow

    tables: list[pyarrow.Table] = []
    numbers: list[Any] = []
    broken: list[Broken] = []

    def cut(last: int | None) -> Piece:
        nonlocal tables, numbers, broken
        table = pyarrow.concat_tables(tables) if tables else _table([], columns)
        mine = [each for each in broken if last is None or each.number < last]
        broken = [each for each in broken if last is not None and each.number >= last]
        joined = numpy.concatenate(numbers) if numbers else numpy.empty(0, dtype=numpy.int64)
        tables, numbers = [], []
        check_size(table)
        return Piece(table, joined, mine)

    count = 0
    for piece in parsed:
        table, its = piece.table.select(list(columns)), piece.numbers
        broken += piece.broken
        while len(its):
            taken = min(rows - count, len(its))
            tables.append(table.slice(0, taken))
            numbers.append(its[:taken])
            table, its, count = table.slice(taken), its[taken:], count + taken
            if count == rows:
                count = 0
                yield cut(int(numbers[-1][-1]))
    if tables or broken:
        yield cut(None)
