"""Files that are not what they should be: a clear problem for each, and never a part of an output."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_bench import ADA, MODEL, Bench, read, rows, write_csv, write_parquet

from stanchion.core.errors import InvalidInput, StanchionError

HEAD = "customer_id,months,charges,contract,paperless,score\n"
LINE = "c1,1,1.5,monthly,true,\n"


def truncated(path: Path) -> None:
    write_parquet(path, rows(500))
    path.write_bytes(path.read_bytes()[:-200])


def hollow(path: Path) -> None:
    """Sound at both ends, and not between."""
    write_parquet(path, rows(5000), compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 5000] = os.urandom(5000)
    path.write_bytes(bytes(content))


def wrong_types(path: Path) -> None:
    write_parquet(path, [{**row, "months": str(row["months"]), "charges": [row["charges"]]} for row in rows(200)])


CASES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no file": ("in.csv", lambda path: None, "no file"),
    "an empty file": ("in.csv", lambda path: path.write_bytes(b""), "is empty"),
    "an empty Parquet file": ("in.parquet", lambda path: path.write_bytes(b""), "cannot be read"),
    "a header only": ("in.csv", lambda path: path.write_text(HEAD), "no rows"),
    "a table without rows": ("in.parquet", lambda path: write_no_rows(path), "no rows"),
    "no Parquet file": ("in.parquet", lambda path: path.write_text(HEAD + LINE), "cannot be read"),
    "a truncated Parquet file": ("in.parquet", truncated, "cannot be read"),
    "a damaged Parquet file": ("in.parquet", hollow, "cannot be read"),
    "wrong types": ("in.parquet", wrong_types, "charges: The column holds list"),
    "another kind of file": ("in.xlsx", lambda path: path.write_bytes(b"PK"), "neither CSV nor Parquet"),
    "a folder": ("in", lambda path: path.mkdir(), "no Delta table"),
    "a quotation that never ends": (
        "in.csv",
        lambda path: path.write_text(HEAD + LINE * 300 + 'c2,1,1.5,"monthly,true,\n' + LINE * 300),
        "after row 300, near line",
    ),
    "text after a quotation": (
        "in.csv",
        lambda path: path.write_text(HEAD + LINE * 150 + '"c"2,1,1.5,monthly,true,\n' + LINE * 300),
        "after row 150",
    ),
    "no UTF-8": (
        "in.csv",
        lambda path: path.write_bytes((HEAD + LINE).encode() + b"\xff\xfe,1,1.5,monthly,true,\n"),
        "UTF8|utf-8",
    ),
    "no UTF-8 in the header": ("in.csv", lambda path: path.write_bytes(b"\xff\xfe" + HEAD.encode()), "header"),
    "two columns of one name": ("in.csv", lambda path: path.write_text("months,months\n1,2\n"), "two columns"),
    "a line without an end": ("in.csv", lambda path: path.write_text(HEAD + "c" * 6_000_000), "not valid"),
    "a missing column": ("in.csv", lambda path: write_csv(path, dropped("months")), "months: The column is missing"),
    "a misspelt column": (
        "in.csv",
        lambda path: path.write_text((HEAD + LINE).replace("contract", "contrakt")),
        "contrakt: The model has no such field; did you mean 'contract'",
    ),
    "an unknown column": (
        "in.csv",
        lambda path: write_csv(path, added("colour")),
        "colour: The model has no such field",
    ),
    "a column of the output's name": ("in.csv", lambda path: write_csv(path, added("probability")), "no such field"),
}


def write_no_rows(path: Path) -> None:
    import pyarrow.parquet

    write_parquet(path, rows(1))
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(0, 0), path)


def dropped(name: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != name} for row in rows(120)]


def added(name: str) -> list[dict[str, Any]]:
    return [{**row, name: "x"} for row in rows(120)]


@pytest.mark.parametrize("case", CASES)
async def test_a_faulty_file_is_a_clear_problem_and_leaves_nothing(bench: Bench, case: str) -> None:
    name, make, told = CASES[case]
    make(bench.files / name)
    before = sorted(p.name for p in bench.files.iterdir())
    with pytest.raises(InvalidInput, match=told) as caught:
        await bench.run(bench.order(name))
    assert caught.value.hint
    assert sorted(p.name for p in bench.files.iterdir()) == before


async def test_a_huge_cell_is_set_aside_like_any_other_that_is_too_long(bench: Bench) -> None:
    given = rows(300)
    given[17]["customer_id"] = "x" * 900_000
    for source in ("in.parquet", "in.csv", "quoted.csv"):
        path = bench.files / source
        if source == "in.parquet":
            write_parquet(path, given)
        else:
            write_csv(path, given, quoting=csv.QUOTE_MINIMAL if source == "in.csv" else csv.QUOTE_ALL)
        job = await bench.run(bench.order(source, f"{source}.parquet"))
        assert job.report is not None
        assert (job.report.predicted, job.report.quarantined) == (299, 1)
        [bad] = read(job.report.quarantine)
        assert (bad["row_number"], bad["problems"]) == (18, "customer_id: Expected `str` of length <= 64")


async def test_a_cell_beyond_a_megabyte_is_refused_where_it_is_quoted(bench: Bench) -> None:
    given = rows(300)
    given[17]["customer_id"] = "x" * 1_100_000
    write_csv(bench.files / "in.csv", given, quoting=csv.QUOTE_ALL)
    with pytest.raises(InvalidInput, match="field larger than"):
        await bench.run(bench.order("in.csv"))
    assert not (bench.files / "out.parquet").exists()


async def test_all_faults_of_columns_are_told_at_once(bench: Bench) -> None:
    write_csv(bench.files / "in.csv", [{"customer_id": "c", "Charges": "1", "colour": "red"}])
    with pytest.raises(InvalidInput) as caught:
        await bench.run(bench.order("in.csv", keep=("shape",)))
    assert {each.path for each in caught.value.fields} == {"$.months", "$.charges", "$.Charges", "$.colour", "$.shape"}


@pytest.mark.parametrize(("extra", "columns"), [("ignore", set()), ("keep", {"colour", "size"})])
async def test_columns_that_the_model_does_not_know_are_ignored_or_kept(
    bench: Bench, extra: Any, columns: set[str]
) -> None:
    write_csv(bench.files / "in.csv", [{**row, "colour": "red", "size": "7"} for row in rows(120)])
    job = await bench.run(bench.order("in.csv", extra=extra))
    assert set(read(job.order.output)[0]) == {"row_number", "customer_id", "prediction", "probability"} | columns


async def test_a_column_is_kept_by_name(bench: Bench) -> None:
    given = rows(120)
    write_csv(bench.files / "in.csv", [{**row, "colour": "red"} for row in given])
    job = await bench.run(bench.order("in.csv", keep=("colour", "months")))
    first = read(job.order.output)[0]
    assert (first["colour"], first["months"]) == ("red", str(given[0]["months"]))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"chunk_rows": 5}, "$.chunk_rows"),
        ({"chunk_rows": 10**9}, "$.chunk_rows"),
        ({"most_bad": 1.5}, "$.most_bad"),
        ({"threads": 500}, "$.threads"),
        ({"key": "k" * 300}, "$.key"),
        ({"output": "relative.parquet"}, "$.output"),
        ({"output": "/etc/out.parquet"}, "$.output"),
        ({"input": "/etc/passwd"}, "$.input"),
        ({"input": "in\0.csv"}, "$.input"),
        ({"reference": "/etc/passwd"}, "$.reference"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused_with_its_place(bench: Bench, changes: Any, path: str) -> None:
    from dataclasses import replace

    write_csv(bench.files / "in.csv", rows(120))
    with pytest.raises(InvalidInput) as caught:
        await bench.run(replace(bench.order("in.csv"), **changes))
    assert [each.path for each in caught.value.fields] == [path]


@pytest.mark.parametrize("output", ["out.txt", "nowhere/out.csv", "../out.csv"])
async def test_an_output_that_cannot_be_is_refused(bench: Bench, output: str) -> None:
    write_csv(bench.files / "in.csv", rows(120))
    with pytest.raises(StanchionError):
        await bench.run(bench.order("in.csv", output))


async def test_a_link_leads_to_no_file_outside(bench: Bench) -> None:
    write_csv(bench.folder / "outside.csv", rows(120))
    (bench.files / "in.csv").symlink_to(bench.folder / "outside.csv")
    with pytest.raises(InvalidInput, match="folders"):
        await bench.run(bench.order("in.csv"))


async def test_without_configured_folders_no_file_may_be_touched(bench: Bench) -> None:
    from stanchion.serving.batch.paths import Folders

    write_csv(bench.files / "in.csv", rows(120))
    closed = bench.again(folders=Folders([], owner="t1"))
    with pytest.raises(InvalidInput, match="folders"):
        async for _ in closed.run(ADA, MODEL, bench.order("in.csv")):
            pass
