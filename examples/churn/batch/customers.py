"""Customers to score, two years on: `python examples/churn/batch/customers.py customers.parquet [COUNT]`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def write(path: Path, count: int) -> None:
    """A Parquet file of generated customers: dearer than those of training, one in a thousand with a faulty tenure."""
    import pyarrow
    import pyarrow.parquet
    from population import generated

    draw = numpy.random.default_rng(2)
    known = generated(3).rows
    rows = known.iloc[draw.integers(0, len(known), count)].reset_index(drop=True)
    rows["monthly_charges"] = (rows["monthly_charges"] * 1.12).round(2)
    rows.loc[draw.random(count) < 0.001, "tenure_months"] = -1
    rows.insert(0, "customer_id", [f"c{number:08d}" for number in range(count)])
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(rows, preserve_index=False), path)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
