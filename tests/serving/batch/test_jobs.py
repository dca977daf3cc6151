"""Jobs from end to end: what is predicted, what is set aside, and that a job is done once whatever happens."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from batch_bench import ADA, MODEL, WEIGHTS, Bench, Customer, opened, parts_of, read, rows, write_csv, write_parquet
from pydantic import BaseModel

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, InvalidInput, NotFound, StanchionError
from stanchion.serving import ServedSpec
from stanchion.serving.intake import Intake
from stanchion.serving.package import Column, Outcomes, package_of


async def answers(bench: Bench, given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the request path makes of the same rows, one by one."""
    version = await bench.registry.resolve(ADA, MODEL)
    package = package_of(version)
    intake = Intake(version.input_schema, [Column(c.name, c.kind, c.categories) for c in package.columns])
    from stanchion.serving.backends.onnx import OnnxRuntime

    pieces = [p async for p in bench.registry.artifact(ADA, MODEL, version.version, "model.onnx")]
    graph = OnnxRuntime().load(b"".join(pieces), input_name="features", output_name="probabilities", columns=5)
    told = []
    for row in given:
        item = intake.checked({name: value for name, value in row.items() if value is not None or name == "score"})
        told.append(dict(Outcomes(package).of(graph.probabilities([intake.row(item)]))[0]))
    return told


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
async def test_every_row_gets_what_the_request_path_gives_it(bench: Bench, suffix: str, output: str) -> None:
    given = rows(457)
    write = write_csv if suffix == "csv" else write_parquet
    write(bench.files / f"in.{suffix}", given)
    job = await bench.run(bench.order(f"in.{suffix}", output))
    assert (job.state, job.rows, job.quarantined, job.chunks) == ("done", 457, 0, 5)
    expected = await answers(bench, given)
    if output.endswith("csv"):
        import csv

        with (bench.files / output).open() as file:
            found: list[dict[str, Any]] = [
                {**row, "probability": float(row["probability"]), "row_number": int(row["row_number"])}
                for row in csv.DictReader(file)
            ]
    else:
        found = read(bench.files / output)
    assert [row["row_number"] for row in found] == list(range(1, 458))
    assert [row["customer_id"] for row in found] == [row["customer_id"] for row in given]
    assert [row["prediction"] for row in found] == [row["prediction"] for row in expected]
    for got, want in zip(found, expected, strict=True):
        assert math.isclose(got["probability"], want["probability"], abs_tol=1e-6)
    assert parts_of(bench) == sorted([f"in.{suffix}", output, "out.report.json"])


async def test_bad_rows_are_set_aside_with_their_number_and_the_exact_reason(bench: Bench) -> None:
    given = rows(250)
    given[3]["months"] = -1
    given[104]["contract"] = "weekly"
    given[105]["customer_id"] = None
    given[249]["charges"] = float("nan")
    write_parquet(bench.files / "in.parquet", given)
    job = await bench.run(bench.order("in.parquet"))
    assert job.report is not None
    assert (job.report.rows, job.report.predicted, job.report.quarantined) == (250, 246, 4)
    bad = read(job.report.quarantine)
    assert [(row["row_number"], row["problems"]) for row in bad] == [
        (4, "months: Expected `int` >= 0"),
        (105, 'contract: Expected one of "monthly", "yearly"'),
        (106, "customer_id: Required, and missing"),
        (250, "charges: Not a finite number: leave the value out instead"),
    ]
    assert bad[0]["months"] == -1
    good = {row["row_number"] for row in read(bench.files / "out.parquet")}
    assert good == set(range(1, 251)) - {4, 105, 106, 250}
    assert job.report.problems["months: Expected `int` >= 0"] == 1


async def test_a_broken_line_of_a_csv_file_is_set_aside_as_it_came(bench: Bench) -> None:
    write_csv(bench.files / "in.csv", rows(150))
    lines = (bench.files / "in.csv").read_text().splitlines()
    lines.insert(8, "a,b")
    lines.insert(121, "1,2,3,4,5,6,7")
    (bench.files / "in.csv").write_text("\n".join(lines) + "\n")
    job = await bench.run(bench.order("in.csv"))
    assert job.report is not None
    assert (job.report.rows, job.report.quarantined) == (152, 2)
    bad = read(bench.files / "out.quarantine.parquet") if job.report.quarantine.endswith("parquet") else []
    assert [(row["row_number"], row["problems"], row["raw"]) for row in bad] == [
        (8, "Expected 6 cells, got 2", "a,b"),
        (121, "Expected 6 cells, got 7", "1,2,3,4,5,6,7"),
    ]
    assert {row["row_number"] for row in read(bench.files / "out.parquet")} == set(range(1, 153)) - {8, 121}


async def test_the_same_job_again_is_the_same_job(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(120))
    first = await bench.run(bench.order("in.parquet"))
    changed = (bench.files / "out.parquet").stat().st_mtime_ns
    second = await bench.run(bench.order("in.parquet"))
    assert (second.id, second.reused, first.reused) == (first.id, True, False)
    assert (bench.files / "out.parquet").stat().st_mtime_ns == changed
    assert second.report == first.report


async def test_a_key_stands_for_one_job_only(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(120))
    write_parquet(bench.files / "other.parquet", rows(120, seed=2))
    await bench.run(bench.order("in.parquet", key="nightly"))
    assert (await bench.run(bench.order("in.parquet", key="nightly"))).reused
    with pytest.raises(Conflict, match="another job"):
        await bench.run(bench.order("other.parquet", key="nightly"))


async def test_an_output_that_exists_is_not_replaced_unasked(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(120))
    (bench.files / "out.parquet").write_text("mine")
    with pytest.raises(Conflict, match="exists"):
        await bench.run(bench.order("in.parquet"))
    assert (bench.files / "out.parquet").read_text() == "mine"
    job = await bench.run(bench.order("in.parquet", overwrite=True))
    assert len(read(job.order.output)) == 120


async def test_too_many_bad_rows_fail_the_job_with_the_commonest_reasons(bench: Bench) -> None:
    given = rows(300)
    for row in given[:200]:
        row["months"] = 5000
    write_parquet(bench.files / "in.parquet", given)
    with pytest.raises(InvalidInput, match="200 of 300") as caught:
        await bench.run(bench.order("in.parquet"))
    assert caught.value.fields[0].message == "200 rows: months: Expected `int` <= 1200"
    assert parts_of(bench) == ["in.parquet"]
    [job] = await bench.service.newest(ADA, 10)
    assert (job.state, job.problem is not None and job.problem.code) == ("failed", "invalid_input")
    done = await bench.run(bench.order("in.parquet", most_bad=0.9))
    assert len(read(done.order.output)) == 100


async def test_the_report_lies_beside_the_output(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(300))
    job = await bench.run(bench.order("in.parquet", picture=True))
    assert job.report is not None
    told = json.loads((bench.files / "out.report.json").read_text())
    assert (told["model"], told["version"], told["rows"]) == (MODEL, "1.0.0", 300)
    assert sum(told["histogram"]) == 300
    assert sum(told["labels"].values()) == 300
    assert told["mean"] == pytest.approx(sum(r["probability"] for r in read(job.order.output)) / 300)
    assert (bench.files / "out.report.png").read_bytes()[:4] == b"\x89PNG"


async def test_other_tenants_see_nothing_of_it(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(120))
    job = await bench.run(bench.order("in.parquet"))
    eve = Context("t2", "eve")
    assert list(await bench.service.newest(eve, 10)) == []
    for act in (bench.service.show(eve, job.id), bench.service.cancel(eve, job.id)):
        with pytest.raises(NotFound):
            await act
    with pytest.raises(InvalidInput, match="folders"):
        await bench.run(bench.order("in.parquet"), ctx=eve)


class Doubled(BaseModel):
    probability: float
    words: list[str] | None = None


async def doubled(items: Sequence[Customer]) -> list[Doubled]:
    if any(item.months == 99 for item in items):
        raise RuntimeError("ninety-nine")
    return [Doubled(probability=item.months / 200, words=[item.contract]) for item in items]


async def test_a_declared_function_predicts_tables_too(tmp_path: Path) -> None:
    spec = ServedSpec("doubled", Customer, Doubled, function=doubled, default=Doubled(probability=0))
    given = [row for row in rows(250) if row["months"] != 99]
    given[7]["charges"] = -3.0
    async with opened(tmp_path, spec) as bench:
        write_parquet(bench.files / "in.parquet", given)
        job = await bench.run(bench.order("in.parquet"), model="doubled")
        assert (job.version, job.quarantined) == ("declared", 1)
        found = read(job.order.output)
        kept = given[:7] + given[8:]
        assert [row["probability"] for row in found] == [row["months"] / 200 for row in kept]
        assert json.loads(found[0]["words"]) == [given[0]["contract"]]
        given[9]["months"] = 99
        write_parquet(bench.files / "other.parquet", given)
        with pytest.raises(StanchionError):
            await bench.run(bench.order("other.parquet", "other-out.parquet"), model="doubled")
        assert not (bench.files / "other-out.parquet").exists(), "the default stands in for no row of a batch"


async def test_an_unknown_model_or_version_is_not_found(bench: Bench) -> None:
    write_parquet(bench.files / "in.parquet", rows(120))
    for model in ("nowhere", "churn@9.0.0"):
        with pytest.raises(NotFound):
            await bench.run(bench.order("in.parquet"), model=model)


async def test_features_of_a_service_are_columns_of_the_table(bench: Bench) -> None:
    version = await bench.registry.resolve(ADA, MODEL)
    columns = [*version.metadata["columns"], {"name": "visits", "kind": "number", "categories": []}]  # type: ignore[misc]  # a list
    features = {"service": "visitors", "fingerprint": "f1", "fields": ["visits"]}
    await bench.register([*WEIGHTS, 0.01], about={"columns": columns, "features": features})
    given = rows(200)
    write_parquet(bench.files / "bare.parquet", given)
    with pytest.raises(InvalidInput, match="visits: The column is missing"):
        await bench.run(bench.order("bare.parquet"))
    write_parquet(bench.files / "in.parquet", [{**row, "visits": float(place)} for place, row in enumerate(given)])
    job = await bench.run(bench.order("in.parquet"))
    assert (job.state, job.rows, job.quarantined) == ("done", 200, 0)
