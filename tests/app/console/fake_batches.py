"""Batch jobs in every state, and what came back of predictions, as the console sees them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from stanchion.serving import (
    BatchJob,
    BatchOrder,
    BatchProblem,
    BatchReport,
    BatchState,
    Bin,
    ColumnDrift,
    Mean,
    ModelQuality,
    VersionQuality,
)
from tests.app.console.fake_features import NOW

STATES: tuple[BatchState, ...] = ("running", "queued", "cancelling", "interrupted", "failed", "cancelled", "done")
HISTOGRAM = (902, 1480, 2210, 2604, 2511, 2203, 1811, 1402, 1104, 902, 760, 610, 480, 380, 290, 190, 110, 60, 20, 3)


def job_id(state: BatchState) -> str:
    """The id that the sample job of a state has."""
    return f"01a1fcc65f447665ece51a{STATES.index(state):02d}"


def sample_job(model: str, state: BatchState, **changes: Any) -> BatchJob:
    """A job of 20,000 rows in that state."""
    done = state == "done"
    rows = 20_032 if done else 0 if state == "queued" else 12_300
    given = {
        "id": job_id(state),
        "key": "5b00d1c2" * 8,
        "model": model,
        "version": "2.1.3",
        "state": state,
        "order": BatchOrder(
            f"/srv/batches/in/customers-of-{state}.csv", f"/srv/batches/out/scores-{state}.parquet", keep=("region",)
        ),
        "requested_by": "key:web-shop",
        "created_at": NOW - timedelta(minutes=7 * STATES.index(state) + 2),
        "updated_at": NOW - timedelta(seconds=3),
        "rows_total": 20_000 if state != "queued" else 0,
        "rows": rows,
        "quarantined": 10 if done else rows // 1000,
        "chunks": 5 if done else rows // 4100,
        "problem": _problem() if state == "failed" else None,
        "report": sample_report() if done else None,
    }
    return BatchJob(**{**given, **changes})


def _problem() -> BatchProblem:
    return BatchProblem("unavailable", "the disk refused: no space left", "Make room, then run it again with `resume`.")


def sample_report(**changes: Any) -> BatchReport:
    """A report with a column in each verdict."""
    given: dict[str, Any] = {
        "rows": 20_032,
        "predicted": 20_022,
        "quarantined": 10,
        "seconds": 4.231,
        "rows_per_second": 4734.6,
        "problems": {"tenure_months: Expected `int` >= 0": 7, "Expected 6 cells, got 2": 2, "contract: Unknown": 1},
        "mean": 0.2714,
        "histogram": HISTOGRAM,
        "labels": {"low_risk": 13_110, "medium_risk": 4_300, "high_risk": 2_612},
        "drift": [
            ColumnDrift("tenure_months", 0.031, "stable", 0.0),
            ColumnDrift("monthly_charges", 0.412, "drifted", 0.0),
            ColumnDrift("contract", 0.142, "shifted", 0.0125),
        ],
        "prediction_drift": ColumnDrift("prediction", 0.152, "shifted", 0.0),
        "reference": "the training of customer-churn-v2 2.1.3",
        "input_sha256": "9f2c" * 16,
        "output_sha256": "51ab" * 16,
        "quarantine": "/srv/batches/out/scores-done.quarantine.parquet",
        "picture": "/srv/batches/out/scores-done.report.png",
        "resumed": 1,
    }
    return BatchReport(**{**given, **changes})


def sample_quality(model: str) -> ModelQuality:
    """A present version, and one in a canary's arm, by several hundred labels."""
    bins = [Bin(0.05 + 0.1 * i, 0.03 + 0.108 * i, 90 - 8 * i) for i in range(10)]
    versions: Sequence[VersionQuality] = [
        VersionQuality("2.1.2", "", 1_204, 0),
        VersionQuality("2.1.3", "", 48_210, 540, 0.7963, 0.8312, 0.1421, bins, {"revenue": Mean(310, 41.25)}),
        VersionQuality("2.2.0", "canary", 4_133, 102, 0.8137, None, None, (), {"revenue": Mean(102, 43.1)}),
    ]
    return ModelQuality(model, NOW - timedelta(days=30), versions)
