"""Batch inference against bare ONNX Runtime on the same rows, in one run: rows a second, their ratio, peak memory.

Run: python benchmarks/serving/batch.py [--data FOLDER] [--rows 1000000] [--rounds 2]

The model is the example's. Bare means: the rows lie in memory as one float32 matrix and go through a session with
ONNX Runtime's own defaults (all cores), 65,536 at once; nothing is read, checked, counted or written. Stanchion reads
a Parquet file, checks every value, predicts on as many threads, counts distributions and drift, stores every chunk
durably, and writes Parquet, report and picture. Each side is a process of its own; the best of the rounds counts.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ROOT / "examples" / "churn" / "system.py"
MODEL = "customer-churn-v2"
BLOCK = 65_536


def customers(rows: int, path: Path) -> None:
    """A Parquet file of generated customers, drawn with repetition from 8,000 of them."""
    import numpy
    import pyarrow
    import pyarrow.parquet

    sys.path.insert(0, str(SYSTEM.parent))
    from population import generated

    drawn = generated(3).rows.iloc[numpy.random.default_rng(1).integers(0, 8_000, rows)].reset_index(drop=True)
    drawn.insert(0, "customer_id", [f"c{number:08d}" for number in range(rows)])
    table = pyarrow.Table.from_pandas(drawn, preserve_index=False)
    pyarrow.parquet.write_table(table, path, row_group_size=100_000)


def bare(package: Path, table: Path) -> dict[str, float]:
    """Rows a second of ONNX Runtime alone."""
    import msgspec
    import numpy
    import onnxruntime

    from stanchion.core.declaration import load_declarations
    from stanchion.serving import ServedSpec
    from stanchion.serving.batch.checking import Checker
    from stanchion.serving.batch.opening import source_of
    from stanchion.serving.package import Package

    layout = msgspec.convert(json.loads((package / "package.json").read_text()), Package)
    [spec] = [each for each in load_declarations(SYSTEM).of(ServedSpec) if each.name == MODEL]
    checker, source = Checker(spec.input.model_json_schema(), layout.columns), source_of(table, delimiter=",")
    plan = checker.plan(source.describe(), keep=(), extra="refuse", taken=())
    matrix = numpy.concatenate(
        [checker.admit(piece, plan.fields).matrix for piece in source.pieces(100_000, plan.columns)]
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(package / "model.onnx", options, providers=["CPUExecutionProvider"])
    session.run([layout.output], {layout.input: matrix[:BLOCK]})
    started = time.perf_counter()
    for first in range(0, len(matrix), BLOCK):
        session.run([layout.output], {layout.input: matrix[first : first + BLOCK]})
    return {"rows_per_second": len(matrix) / (time.perf_counter() - started)}


def batch(data: Path, table: Path, output: Path) -> dict[str, float]:
    """Rows a second of a whole job, in a process that has done a small one before, and the process's peak memory."""
    import pyarrow.parquet

    small = table.with_name("small.parquet")
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(table).slice(0, 1_000), small)
    seconds = asyncio.run(_jobs(data, [(small, output.with_name("small-out.parquet")), (table, output)]))
    rows = pyarrow.parquet.ParquetFile(table).metadata.num_rows
    assert pyarrow.parquet.ParquetFile(output).metadata.num_rows == rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"rows_per_second": rows / seconds, "seconds": seconds, "peak_mb": peak}


async def _jobs(data: Path, jobs: list[tuple[Path, Path]]) -> float:
    from stanchion.core.clock import SystemClock
    from stanchion.core.context import Context, Rights
    from stanchion.core.declaration import load_declarations
    from stanchion.core.settings import HouseSettings, ModulesSettings
    from stanchion.serving import BatchOrder, Serving
    from stanchion.serving.module import ServingSettings
    from stanchion.system.house import House

    settings = HouseSettings(modules=ModulesSettings(enabled=("registry", "serving")))
    house = await House.open(
        settings,
        data,
        clock=SystemClock(),
        environment={},
        declared=load_declarations(SYSTEM),
        module_settings={"serving": ServingSettings(batch_folders=(str(jobs[0][0].parent),))},
    )
    seconds = 0.0
    try:
        ctx = Context(settings.tenant, "benchmark", rights=Rights(roles=frozenset({"admin"})))
        for source, output in jobs:
            order = BatchOrder(str(source), str(output), threads=os.cpu_count() or 1, overwrite=True)
            started = time.perf_counter()
            async for _ in house.door(Serving).run_batch(ctx, MODEL, order):
                pass
            seconds = time.perf_counter() - started
    finally:
        await house.close()
    return seconds


def child(*arguments: str | Path) -> dict[str, float]:
    """What one side measured, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    found: dict[str, float] = json.loads(done.strip().splitlines()[-1])
    return found


def compared(data: Path | None, rows: int, rounds: int) -> dict[str, Any]:
    """Both sides in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held = folder / "data"
        if data is not None:
            shutil.copytree(data, held)
        else:
            command = [sys.executable, "-m", "stanchion", "train", SYSTEM, MODEL, "--data", held, "--json"]
            subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, check=True)
        subprocess.run([sys.executable, Path(__file__).with_name("package.py"), held, folder / "package"], check=True)
        table = folder / "customers.parquet"
        customers(rows, table)
        raws, jobs = [], []
        for turn in range(rounds):
            raws.append(child("--bare", folder / "package", table))
            jobs.append(child("--batch", held, table, folder / f"out{turn}.parquet"))
    raw = max(each["rows_per_second"] for each in raws)
    best = max(jobs, key=lambda each: each["rows_per_second"])
    return {
        "rows": rows,
        "onnxruntime_rows_per_second": round(raw),
        "batch_rows_per_second": round(best["rows_per_second"]),
        "ratio": round(best["rows_per_second"] / raw, 3),
        "seconds": round(best["seconds"], 2),
        "peak_mb": round(max(each["peak_mb"] for each in jobs), 1),
    }


def main() -> None:
    if sys.argv[1:2] == ["--bare"]:
        print(json.dumps(bare(Path(sys.argv[2]), Path(sys.argv[3]))))
    elif sys.argv[1:2] == ["--batch"]:
        print(json.dumps(batch(*map(Path, sys.argv[2:5]))))
    else:
        parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
        parser.add_argument("--data", type=Path, help="a data folder with the example's trained model; it is copied")
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--rounds", type=int, default=2)
        asked = parser.parse_args()
        print(json.dumps(compared(asked.data, asked.rows, asked.rounds)))


if __name__ == "__main__":
    main()
