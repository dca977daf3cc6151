"""What a job counts, chunk by chunk, and how far that is from a reference: the population stability index.

A reference, as training writes it into the metadata of a version:

    rows         how many rows it was counted on
    columns      {name: {"edges": [...], "counts": [..., absent]}}; a category is its place among the categories
    prediction   the same of the predicted probabilities of rows held out

A value is in bin i if i edges are at most the value; the last count is of absent values.

The index sums (p - q) ln(p / q) over the bins, with half a row added to each so that none is empty. Where nothing has
changed it is not 0 but about (bins - 1) (1/n + 1/m) (Yurdakul 2018): that much is taken off before the customary
limits of 0.1 and 0.25 give the verdict, so that small jobs are not called drifted for being small.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..contract import ColumnDrift
from ..package import Column
from .store import Facts

if TYPE_CHECKING:
    import numpy

BINS = 20
PREDICTION = "prediction"
_DECILES = 10
_SHIFTED, _DRIFTED = 0.1, 0.25
_LISTED = 50


class Bins(msgspec.Struct, frozen=True):
    """One distribution."""

    edges: list[float]
    counts: list[int]


class Reference(msgspec.Struct, frozen=True):
    """The distributions that a job is compared with. `source` says in words where they are from."""

    rows: int
    columns: dict[str, Bins]
    prediction: Bins | None = None
    source: str = ""


def reference_from(metadata: Mapping[str, Any] | None, source: str) -> Reference | None:
    """The reference of a version's metadata; None if it has none that can be read."""
    if metadata is None:
        return None
    try:
        return msgspec.structs.replace(msgspec.convert(metadata, Reference), source=source)
    except msgspec.ValidationError:
        return None


def distributions(matrix: numpy.ndarray[Any, Any], columns: Sequence[Column]) -> dict[str, Bins]:
    """The bins of each column of a matrix: ten of about equal size, or one for each of few values."""
    return {column.name: binned(matrix[:, place]) for place, column in enumerate(columns)}


def binned(values: numpy.ndarray[Any, Any]) -> Bins:
    """The bins of one column."""
    import numpy

    present = values[~numpy.isnan(values)]
    distinct = numpy.unique(present)
    if len(distinct) <= _DECILES:
        edges = (distinct[1:].astype(float) + distinct[:-1].astype(float)) / 2
    else:
        edges = numpy.unique(numpy.quantile(present.astype(float), numpy.linspace(0, 1, _DECILES + 1)[1:-1]))
    return Bins(edges.tolist(), counts(values, edges.tolist()))


def counts(values: numpy.ndarray[Any, Any], edges: Sequence[float]) -> list[int]:
    """How many values lie in each bin, and how many are absent."""
    import numpy

    column = numpy.ascontiguousarray(values)
    absent = int(numpy.isnan(column).sum())
    # A comparison for each edge beats a search for each value: there are at most ten edges.
    above = [int(numpy.count_nonzero(column >= edge)) for edge in edges]
    steps = [len(column) - absent, *above, 0]
    return [*(low - high for low, high in itertools.pairwise(steps)), absent]


def psi(reference: Sequence[int], found: Sequence[int]) -> float:
    """The population stability index of two lists of counts."""
    bins = len(reference)
    total, whole = sum(reference) + bins / 2, sum(found) + bins / 2
    shares = [((a + 0.5) / total, (b + 0.5) / whole) for a, b in zip(reference, found, strict=True)]
    return sum((p - q) * math.log(p / q) for p, q in shares)


def drift(name: str, reference: Bins, found: Sequence[int]) -> ColumnDrift:
    """The drift of one column."""
    value = psi(reference.counts, found)
    rows, known = max(1, sum(found)), max(1, sum(reference.counts))
    bins = sum(1 for a, b in zip(reference.counts, found, strict=True) if a or b)
    beyond = value - max(0, bins - 1) * (1 / rows + 1 / known)
    verdict: Literal["stable", "shifted", "drifted"]
    verdict = "drifted" if beyond > _DRIFTED else "shifted" if beyond > _SHIFTED else "stable"
    return ColumnDrift(name, round(value, 6), verdict, round(found[-1] / rows, 6))


def facts_of(
    rows: int,
    matrix: numpy.ndarray[Any, Any],
    columns: Sequence[Column],
    probability: numpy.ndarray[Any, Any] | None,
    labels: Any,
    reasons: Iterable[str],
    reference: Reference | None,
) -> Facts:
    """What a chunk counted."""
    import numpy

    bins: dict[str, list[int]] = {}
    known = {} if reference is None else reference.columns
    for place, column in enumerate(columns):
        if column.name in known:
            bins[column.name] = counts(matrix[:, place], known[column.name].edges)
    if reference is not None and reference.prediction is not None and probability is not None:
        bins[PREDICTION] = counts(probability, reference.prediction.edges)
    told = list(reasons)
    histogram: list[int] = []
    if probability is not None:
        histogram = numpy.histogram(probability, bins=BINS, range=(0.0, 1.0))[0].tolist()
    return Facts(
        rows=rows,
        predicted=rows - len(told),
        quarantined=len(told),
        problems=dict(Counter(told).most_common(_LISTED)),
        histogram=histogram,
        labels={} if labels is None else _labelled(labels),
        total=0.0 if probability is None else float(probability.sum()),
        bins=bins,
    )


def _labelled(labels: Any) -> dict[str, int]:
    import numpy

    names = labels.dictionary.to_pylist()
    found = numpy.bincount(labels.indices.to_numpy(), minlength=len(names))
    return {name: int(count) for name, count in zip(names, found, strict=True)}


def added(facts: Iterable[Facts]) -> Facts:
    """The sum of the chunks."""
    all_facts = list(facts)
    problems: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    bins: dict[str, list[int]] = {}
    for each in all_facts:
        problems.update(each.problems)
        labels.update(each.labels)
        for name, found in each.bins.items():
            bins[name] = [a + b for a, b in zip(bins.get(name, [0] * len(found)), found, strict=True)]
    histograms = [each.histogram for each in all_facts if each.histogram]
    return Facts(
        rows=sum(each.rows for each in all_facts),
        predicted=sum(each.predicted for each in all_facts),
        quarantined=sum(each.quarantined for each in all_facts),
        problems=dict(problems.most_common(_LISTED)),
        histogram=[sum(bin_) for bin_ in zip(*histograms, strict=True)],
        labels=dict(labels),
        total=math.fsum(each.total for each in all_facts),
        bins=bins,
    )
