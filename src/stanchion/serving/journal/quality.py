"""How good each version is, by what came back: plain measures over the newest labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from ...core.clock import Clock, micros
from ...core.errors import FieldProblem, InvalidInput
from ...core.storage import Database
from ..contract import Bin, Mean, ModelQuality, VersionQuality
from .tables import predictions, truths

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Numbers = NDArray[numpy.float64]

_NEWEST = 50_000
_BINS = 10
_LONGEST = 365


class _Read(NamedTuple):
    counts: Sequence[Row[Any]]
    labels: Sequence[Row[Any]]
    means: Sequence[Row[Any]]


class Quality:
    """Reads a model's versions out of the journal's tables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def of(self, tenant: str, model: str, *, days: int) -> ModelQuality:
        """What the contract says."""
        if not 1 <= days <= _LONGEST:
            raise InvalidInput(f"days is 1 to {_LONGEST}", fields=[FieldProblem("$.days", f"Expected 1 to {_LONGEST}")])
        since = self._clock.now() - timedelta(days=days)
        read = await self._database.read(lambda connection: _read(connection, tenant, model, micros(since)))
        kept = {(row.version, row.arm): row.kept for row in read.counts}
        keys = {*kept, *((row.version, row.arm) for row in (*read.labels, *read.means))}
        return ModelQuality(model, since, [_version(key, kept.get(key, 0), read) for key in sorted(keys)])


def _read(connection: Connection, tenant: str, model: str, since: int) -> _Read:
    p, t = predictions.c, truths.c
    counts = (
        select(p.version, p.arm, func.count().label("kept"))
        .where(p.tenant == tenant, p.model == model, p.at >= since, p.rung != "refused")
        .group_by(p.version, p.arm)
    )
    of_model = (t.tenant == tenant, t.model == model, t.predicted_at >= since)
    labels = (
        select(t.version, t.arm, t.score, t.predicted, t.number, t.label)
        .where(*of_model, t.metric == "")
        .order_by(t.id.desc())
        .limit(_NEWEST)
    )
    means = (
        select(t.version, t.arm, t.metric, func.count().label("n"), func.avg(t.number).label("mean"))
        .where(*of_model, t.metric != "")
        .group_by(t.version, t.arm, t.metric)
        .order_by(t.metric)
    )
    return _Read(*(connection.execute(query).all() for query in (counts, labels, means)))


def _version(key: tuple[str, str], kept: int, read: _Read) -> VersionQuality:
    version, arm = key
    labels = [row for row in read.labels if (row.version, row.arm) == key]
    means = {row.metric: Mean(row.n, row.mean) for row in read.means if (row.version, row.arm) == key}
    scored = [(row.score, row.number) for row in labels if row.score is not None and row.number in (0.0, 1.0)]
    roc_auc, brier, bins = _probabilities(scored)
    return VersionQuality(
        version=version,
        arm=arm,
        predictions=kept,
        labelled=len(labels),
        accuracy=_accuracy(labels),
        roc_auc=roc_auc,
        brier=brier,
        calibration=bins,
        outcomes=means,
    )


def _accuracy(labels: Iterable[Row[Any]]) -> float | None:
    """The share of right answers: the same class, or a probability on the right side of a half."""
    right = []
    for row in labels:
        if row.label is not None and row.predicted is not None:
            right.append(row.label == row.predicted)
        elif row.number in (0.0, 1.0) and row.score is not None and 0 <= row.score <= 1:
            right.append((row.score >= 0.5) == (row.number == 1.0))
    return sum(right) / len(right) if right else None


def _probabilities(scored: Sequence[tuple[float, float]]) -> tuple[float | None, float | None, Sequence[Bin]]:
    if not scored or any(not 0 <= score <= 1 for score, _ in scored):
        return None, None, ()
    import numpy

    scores, truth = (numpy.array(column, dtype=numpy.float64) for column in zip(*scored, strict=True))
    return roc_auc_of(scores, truth), float(((scores - truth) ** 2).mean()), _bins(scores, truth)


def roc_auc_of(scores: Numbers, truth: Numbers) -> float | None:
    """The chance that a positive scores above a negative, ties counting half (Mann and Whitney, 1947)."""
    import numpy

    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    _, place, count = numpy.unique(scores, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[truth == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _bins(scores: Numbers, truth: Numbers) -> Sequence[Bin]:
    import numpy

    tenth = numpy.minimum((scores * _BINS).astype(int), _BINS - 1)
    found = [(scores[tenth == number], truth[tenth == number]) for number in range(_BINS)]
    return [Bin(float(s.mean()), float(t.mean()), len(s)) for s, t in found if len(s)]
