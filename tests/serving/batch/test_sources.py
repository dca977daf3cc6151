"""Files as pieces: the same rows by every reader, from any piece on, with the numbers they have in the file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from batch_bench import Bench, read, rows, write_csv, write_parquet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from stanchion.core.errors import InvalidInput
from stanchion.serving.batch.csvfile import CsvSource
from stanchion.serving.batch.opening import source_of
from stanchion.serving.batch.pieces import Source

cell = some.text(alphabet="ab1.é \t", max_size=4)
line = some.lists(cell, min_size=0, max_size=4).map(tuple)


def drained(source: Source, columns: list[str], size: int, skip: int = 0) -> tuple[list[Any], list[Any]]:
    """Every row with its number, and every broken one."""
    sound, broken = [], []
    for piece in source.pieces(size, columns, skip=skip):
        sound += list(zip(piece.numbers.tolist(), [tuple(r.values()) for r in piece.table.to_pylist()], strict=True))
        broken += [(each.number, each.problem) for each in piece.broken]
    return sound, broken


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.lists(line, max_size=30), some.integers(1, 7))
def test_both_readers_of_csv_find_the_same_rows(tmp_path: Path, lines: list[tuple[str, ...]], size: int) -> None:
    text = "a,b\n" + "".join(",".join(each) + "\n" for each in lines)
    (tmp_path / "plain.csv").write_text(text, newline="")
    # A quoted header says nothing else, and makes the strict reader read the file.
    (tmp_path / "strict.csv").write_text(text.replace("a,b", '"a","b"', 1), newline="")
    plain = drained(CsvSource(tmp_path / "plain.csv", delimiter=","), ["a", "b"], size)
    strict = drained(CsvSource(tmp_path / "strict.csv", delimiter=","), ["a", "b"], size)
    assert plain == strict
    numbers = sorted([number for number, _ in plain[0]] + [number for number, _ in plain[1]])
    assert numbers == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("kind", ["plain", "quoted", "parquet", "delta"])
@pytest.mark.parametrize("size", [7, 100, 333, 5000])
def test_pieces_are_the_same_from_any_piece_on(tmp_path: Path, kind: str, size: int) -> None:
    given_rows = rows(1000)
    columns = ["customer_id", "months"]
    path = tmp_path / ("in.parquet" if kind == "parquet" else "table" if kind == "delta" else "in.csv")
    if kind == "parquet":
        write_parquet(path, given_rows, row_group_size=130)
    elif kind == "delta":
        deltalake = pytest.importorskip("deltalake", reason="the extra `lake` is not installed")
        import pyarrow

        for start in (0, 400, 700):
            part = given_rows[start : 400 if not start else 700 if start == 400 else 1000]
            deltalake.write_deltalake(str(path), pyarrow.Table.from_pylist(part), mode="append")
    else:
        write_csv(path, given_rows, quoting=csv.QUOTE_ALL if kind == "quoted" else csv.QUOTE_MINIMAL)
    source = source_of(path, delimiter=",")
    assert source.describe().rows == 1000
    whole = [(p.numbers.tolist(), p.table.to_pylist()) for p in source.pieces(size, columns)]
    assert [len(numbers) for numbers, _ in whole[:-1]] == [size] * (len(whole) - 1)
    assert [number for numbers, _ in whole for number in numbers] == list(range(1, 1001))
    if kind != "delta":
        assert [r["customer_id"] for _, part in whole for r in part] == [r["customer_id"] for r in given_rows]
    for skip in {0, 1, len(whole) // 2, len(whole) - 1, len(whole)}:
        again = [(p.numbers.tolist(), p.table.to_pylist()) for p in source.pieces(size, columns, skip=skip)]
        assert again == whole[skip:]


def test_blocks_of_a_large_csv_file_are_joined(tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f"{n},{'x' * 200}\n" if n % 1000 else "broken\n" for n in range(1, 50_001))
    (tmp_path / "in.csv").write_text(text)
    sound, broken = drained(CsvSource(tmp_path / "in.csv", delimiter=","), ["a"], 9_999)
    assert [number for number, _ in broken] == list(range(1000, 50_001, 1000))
    assert all(number == int(cells[0]) for number, cells in sound)
    assert len(sound) == 49_950


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_a_cell(tmp_path: Path) -> None:
    for quoted in ("a", '"a"'):
        (tmp_path / "in.csv").write_bytes(b"\xef\xbb\xbf" + f"{quoted};b\r\n1;2\r\n".encode())
        source = CsvSource(tmp_path / "in.csv", delimiter=";")
        assert source.describe().names == ["a", "b"]
        assert drained(source, ["a", "b"], 10)[0] == [(1, ("1", "2"))]


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_a_delimiter_that_cannot_be_one_is_refused(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(InvalidInput):
        CsvSource(tmp_path / "in.csv", delimiter=delimiter)


async def test_a_delta_table_is_read_at_the_version_it_had(bench: Bench) -> None:
    deltalake = pytest.importorskip("deltalake", reason="the extra `lake` is not installed")
    import pyarrow
    from batch_bench import ADA, MODEL

    path = str(bench.files / "in")
    deltalake.write_deltalake(path, pyarrow.Table.from_pylist(rows(500)))
    async for job in bench.service.run(ADA, MODEL, bench.order("in")):
        if job.chunks == 2 and job.state == "running":
            deltalake.write_deltalake(path, pyarrow.Table.from_pylist(rows(300, seed=9)), mode="append")
    assert (job.state, job.rows) == ("done", 500)
    assert len(read(job.order.output)) == 500
