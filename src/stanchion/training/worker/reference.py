"""The distributions of training, kept in the version's metadata: what later inputs and predictions are compared with.

    rows         how many rows were counted
    columns      {name: {"edges": [...], "counts": [..., absent]}}; a category is its place among its values
    prediction   the same of the probabilities predicted for the rows held out

A value is in bin i if i edges are at most the value; the last count is of absent values. Ten bins of about equal
size, or one for each value where there are no more than ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...core.values import Json
from .columns import Column
from .graph import matrix

if TYPE_CHECKING:
    import numpy
    import pandas

_BINS = 10


def reference(
    frame: pandas.DataFrame, columns: Sequence[Column], probability: numpy.ndarray[Any, Any]
) -> dict[str, Json]:
    """The distributions of the frame's columns, as the graph reads them, and of the predictions."""
    rows = matrix(frame, columns)
    return {
        "rows": len(rows),
        "columns": {column.name: _binned(rows[:, place]) for place, column in enumerate(columns)},
        "prediction": _binned(probability),
    }


def _binned(values: numpy.ndarray[Any, Any]) -> dict[str, Json]:
    import numpy

    present = values[~numpy.isnan(values)].astype(float)
    distinct = numpy.unique(present)
    if len(distinct) <= _BINS:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = numpy.unique(numpy.quantile(present, numpy.linspace(0, 1, _BINS + 1)[1:-1]))
    places = numpy.searchsorted(edges, present, side="right")
    counts = numpy.bincount(places, minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "counts": [*counts.tolist(), len(values) - len(present)]}
