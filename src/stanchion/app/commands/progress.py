"""Training shown while it runs: a bar on a terminal, plain lines elsewhere, nothing where a machine listens."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from ...core.errors import Unavailable
from ...training import TrainingEvent, TrainingReport


async def follow(events: AsyncIterator[TrainingEvent], model: str, *, quiet: bool) -> TrainingReport:
    """Show each step; the report at the end. Raises what training raises."""
    terminal = sys.stderr.isatty() and not quiet
    report: TrainingReport | None = None
    if terminal:
        report = await _bar(events, model)
    else:
        async for event in events:
            if not quiet:
                sys.stderr.write(f"{model}: {event.fraction:4.0%} {event.message}\n")
            report = event.report or report
    if report is None:
        raise Unavailable(f"the training of {model} ended without a report")
    return report


async def _bar(events: AsyncIterator[TrainingEvent], model: str) -> TrainingReport | None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    report = None
    columns = (TextColumn(f"training {model}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=1.0)
        async for event in events:
            progress.update(task, completed=event.fraction, description=event.message)
            report = event.report or report
    return report


def summary(report: TrainingReport) -> str:
    """The figures of a training, for people."""
    lines = [
        f"{report.model} {report.version}: trained on {report.train_rows:,} rows in {report.seconds:.1f} s",
        f"  hold-out ({report.test_rows:,} rows)   ROC AUC {report.roc_auc:.4f}   Brier {report.brier:.4f}"
        f"   log loss {report.log_loss:.4f}   base rate {report.base_rate:.3f}",
    ]
    if report.simple_roc_auc is not None:
        lines.append(f"  simple model        ROC AUC {report.simple_roc_auc:.4f}")
    lines.append(f"  exported graph differs from the estimator by at most {report.parity:.1e}")
    lines.append("  calibration (mean predicted -> observed, rows):")
    lines += [f"    {b.predicted:6.3f} -> {b.observed:6.3f}  {b.rows:6,}" for b in report.reliability]
    if report.picture is not None:
        lines.append(f"  picture  {report.picture}")
    return "\n".join(lines)
