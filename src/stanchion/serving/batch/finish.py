"""The end of a job: the parts become one file each, and get their names only when all of them are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import Conflict
from ..contract import BatchReport, ColumnDrift
from .checking import Plan
from .parts import Workshop, digest_of_draft, discard, draft_of, publish, put, write_table
from .picture import can_draw, drawn
from .scoring import Scorer
from .source import digest_of
from .store import Chunk, Facts, Held
from .tally import PREDICTION, Reference, added, drift


def quarantine_of(output: Path) -> Path:
    """Where the quarantined rows of a job with this output go."""
    return output.with_name(f"{output.stem}.quarantine{output.suffix}")


def report_of(output: Path) -> Path:
    """Where the report goes."""
    return output.with_name(f"{output.stem}.report.json")


def picture_of(output: Path) -> Path:
    """Where the picture goes."""
    return output.with_name(f"{output.stem}.report.png")


class Finish:
    """Puts the results of one job in place. Everything blocks."""

    def __init__(self, workshop: Workshop, held: Held, plan: Plan, scorer: Scorer, reference: Reference | None) -> None:
        self._workshop = workshop
        self._held = held
        self._plan = plan
        self._scorer = scorer
        self._reference = reference
        self._draws = held.job.order.picture and can_draw()

    def publish(self, chunks: Sequence[Chunk], seconds: Callable[[], float]) -> BatchReport:
        """Write quarantine, report and picture, and last of all the output. Raises Conflict if that is there already.

        Done again after a kill, it gives the same files.
        """
        output, job = self._workshop.output, self._held.job
        quarantine = quarantine_of(output)
        try:
            about = {"job": job.id, "model": job.model, "version": job.version, "input": self._held.fingerprint}
            write_table(output, self._workshop.outputs(len(chunks)), about)
            sha256 = digest_of_draft(output)
            if output.exists() and not job.order.overwrite and digest_of(output) != sha256:
                raise Conflict(f"{output.name} has appeared meanwhile", next_step="Move it away, then resume the job.")
            bad = write_table(quarantine, self._workshop.quarantine(len(chunks)), about)
            total = added(chunk.facts for chunk in chunks)
            report = self._report(total, sha256, str(quarantine) if bad else "", seconds())
            picture = self._picture(report)
            if bad:
                publish(quarantine)
            else:
                # One of an earlier run would be taken for this one's.
                quarantine.unlink(missing_ok=True)
            if picture is not None:
                put(picture_of(output), picture)
            put(report_of(output), _document(report, job.model, job.version, str(output)))
            publish(output)
        finally:
            discard([output, quarantine, report_of(output), picture_of(output)])
        return report

    def _report(self, total: Facts, sha256: str, quarantine: str, seconds: float) -> BatchReport:
        drifts, predicted = self._drift(total)
        return BatchReport(
            rows=total.rows,
            predicted=total.predicted,
            quarantined=total.quarantined,
            seconds=round(seconds, 3),
            rows_per_second=round(total.rows / seconds, 1) if seconds > 0 else 0.0,
            problems=total.problems,
            mean=total.total / total.predicted if total.histogram and total.predicted else None,
            histogram=total.histogram,
            labels=total.labels,
            drift=drifts,
            prediction_drift=predicted,
            reference="" if self._reference is None else self._reference.source,
            input_sha256=self._held.fingerprint.partition("|")[0],
            output_sha256=sha256,
            quarantine=quarantine,
            picture=str(picture_of(self._workshop.output)) if self._draws else "",
            resumed=self._held.resumed,
        )

    def _drift(self, total: Facts) -> tuple[list[ColumnDrift], ColumnDrift | None]:
        reference = self._reference
        if reference is None:
            return [], None
        columns = [
            drift(name, bins, total.bins[name]) for name, bins in reference.columns.items() if name in total.bins
        ]
        if reference.prediction is None or PREDICTION not in total.bins:
            return columns, None
        return columns, drift(PREDICTION, reference.prediction, total.bins[PREDICTION])

    def _picture(self, report: BatchReport) -> bytes | None:
        if not self._draws:
            return None
        expected = None if self._reference is None else self._reference.prediction
        return drawn(f"{self._held.job.model} {self._held.job.version}", report, expected)


def _document(report: BatchReport, model: str, version: str, output: str) -> bytes:
    told: Mapping[str, Any] = {"model": model, "version": version, "output": output, **msgspec.to_builtins(report)}
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def leftovers(output: Path) -> Sequence[Path]:
    """Drafts that a killed process may have left beside an output."""
    return [draft_of(path) for path in (output, quarantine_of(output), report_of(output), picture_of(output))]
