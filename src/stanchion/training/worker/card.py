"""The model card: what the model is for, what it learnt from, how well it does and where its limits are.

Sections follow Mitchell et al., Model Cards for Model Reporting (2019). Nothing in it depends on the clock, so that
the same training gives the same card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..contract import TrainingSpec
from ..ports import Measures
from .columns import Column, Table
from .graph import TOLERANCE


def written(spec: TrainingSpec, table: Table, columns: Sequence[Column], measures: Measures, *, seed: int) -> str:
    """The card as Markdown."""
    how = f"stratified by outcome, seed {seed}" if table.moments is None else "the newest by time"
    parts = [
        f"# {spec.model}",
        "## Intended use",
        spec.card.strip() or "Not declared. Declare it with `card=` before the model is promoted.",
        "## Data",
        f"{len(table.target):,} rows from {table.source}. SHA-256 of the canonical rows: `{table.sha256}`.",
        f"{measures.train_rows:,} rows were learnt from; {measures.test_rows:,} ({spec.test_share:.0%}, {how}) "
        f"were held out and are what every figure below was measured on. "
        f"{measures.base_rate:.1%} of them are positive.",
        "## Features",
        _table(("Feature", "Kind", "Declared values"), [(c.name, c.kind, _values(c)) for c in columns]),
        "## Measured on held-out rows",
        _table(("Measure", "Value"), _measures(measures)),
        "## Reliability",
        "Ten bins of equal size by predicted probability. Where the two rates agree, a probability means what it says.",
        _table(
            ("Predicted", "Observed", "Rows"),
            [(f"{b.predicted:.3f}", f"{b.observed:.3f}", str(b.rows)) for b in measures.reliability],
        ),
        "## Labels",
        _bands(spec),
        "## Limits",
        _limits(measures),
    ]
    return "\n\n".join(parts) + "\n"


def _values(column: Column) -> str:
    if column.kind == "category":
        return ", ".join(column.categories)
    least = "" if column.least is None else f"at least {column.least:g}"
    most = "" if column.most is None else f"at most {column.most:g}"
    return ", ".join(part for part in (least, most, "may be absent" if column.nullable else "") if part)


def _measures(measures: Measures) -> list[tuple[str, str]]:
    rows = [
        ("ROC AUC", f"{measures.roc_auc:.4f}"),
        ("Brier score", f"{measures.brier:.4f}"),
        ("Log loss", f"{measures.log_loss:.4f}"),
        ("Expected calibration error", f"{measures.calibration_error:.4f}"),
        ("Largest difference between the exported graph and the estimator", f"{measures.parity:.1e}"),
    ]
    if measures.simple_roc_auc is not None:
        rows.append(("ROC AUC of the simple model", f"{measures.simple_roc_auc:.4f}"))
    return rows


def _bands(spec: TrainingSpec) -> str:
    if not spec.bands:
        return "None: the probability is served as it is."
    return _table(("Label", "From probability"), [(name, f"{bound:g}") for name, bound in spec.bands.items()])


def _limits(measures: Measures) -> str:
    # Hanley and McNeil (1982): the standard error of an AUC from the two group sizes.
    positives = max(1.0, measures.base_rate * measures.test_rows)
    negatives = max(1.0, measures.test_rows - positives)
    auc = measures.roc_auc
    first, second = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (first - auc * auc) + (negatives - 1) * (second - auc * auc)
    error = (max(0.0, spread) / (positives * negatives)) ** 0.5
    return "\n".join(
        [
            f"- The ROC AUC has a standard error of {error:.3f}: smaller differences between versions mean nothing.",
            "- The figures hold for rows drawn as these were. They say nothing of other populations or later times.",
            "- No figure was broken down by group: fairness has not been assessed here.",
            "- A probability tells what went with the outcome in the data, not what would change it.",
            f"- The graph computes in float32 and is held to {TOLERANCE:g} of the estimator on every held-out row.",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
