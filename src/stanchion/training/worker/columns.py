"""The columns of a model, read from the JSON Schema of its input type, and the frame that has exactly those."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...core.errors import FieldProblem, InvalidInput
from ..contract import Dataset

if TYPE_CHECKING:
    import numpy
    import pandas

SMALLEST = 50
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Column:
    """One feature. A category travels as its place in `categories`; an absent nullable number as NaN."""

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    nullable: bool = False
    least: float | None = None
    most: float | None = None


def columns_of(schema: Mapping[str, Any]) -> tuple[Column, ...]:
    """The features in the order of the type's fields, without identifiers and asides.

    Raises InvalidInput for a field that cannot be a feature, such as free text.
    """
    found, faults = [], []
    for name, field in schema.get("properties", {}).items():
        if "role" in field:
            continue
        try:
            found.append(_column(name, field, schema.get("$defs", {})))
        except InvalidInput as error:
            faults.append(FieldProblem(f"$.{name}", error.detail))
    if faults:
        raise InvalidInput(
            f"the input type has fields that cannot be features: {faults[0].path}: {faults[0].message}",
            fields=faults,
            next_step="Give the field a number, bool or Literal type, or mark it with `identifier` or `aside`.",
        )
    if not found:
        raise InvalidInput("the input type has no field that is a feature")
    return tuple(found)


def _column(name: str, field: Mapping[str, Any], defs: Mapping[str, Any]) -> Column:
    branches = [_followed(branch, defs) for branch in field.get("anyOf", [field])]
    real = [branch for branch in branches if branch.get("type") != "null"]
    nullable = len(real) < len(branches)
    if len(real) != 1:
        raise InvalidInput("a union of several types is no feature")
    [kind] = real
    values = kind.get("enum", [kind["const"]] if "const" in kind else None)
    if kind.get("type") in ("number", "integer", "boolean"):
        least = kind.get("minimum", kind.get("exclusiveMinimum"))
        most = kind.get("maximum", kind.get("exclusiveMaximum"))
        return Column(name, "number", nullable=nullable, least=least, most=most)
    if kind.get("type") == "string" and values:
        if nullable:
            raise InvalidInput("a category cannot be null: add a value such as 'unknown' to its Literal")
        return Column(name, "category", tuple(values))
    raise InvalidInput(f"a {kind.get('type', 'value')} without declared values is no feature")


def _followed(field: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = field.get("$ref")
    return defs[str(reference).rsplit("/", 1)[-1]] if reference else field


@dataclass(frozen=True, slots=True)
class Table:
    """A checked dataset: `frame` has the model's columns in order, `target` is 0 or 1, `sha256` covers both.

    `moments` orders the rows by time where the dataset says when each is judged.
    """

    frame: pandas.DataFrame
    target: numpy.ndarray[Any, Any]
    source: str
    sha256: str
    moments: numpy.ndarray[Any, Any] | None = None


def table_of(dataset: Dataset, columns: Sequence[Column]) -> Table:
    """The dataset as the estimator will see it.

    Numbers are rounded to float32, as the exported graph will read them: an estimator that splits between two
    float64 values would otherwise disagree with its own export. Raises InvalidInput and names the columns.
    """
    import numpy
    import pandas

    rows = dataset.rows
    missing = [column.name for column in columns if column.name not in rows.columns]
    if missing:
        raise InvalidInput(
            f"the data has no column {', '.join(missing)}",
            fields=[FieldProblem(f"$.{name}", "the column is missing") for name in missing],
            next_step="Give a column for every feature of the input type, or mark the field as an aside.",
        )
    target = _target(dataset)
    faults: list[FieldProblem] = []
    frame = pandas.DataFrame(
        {c.name: (_numbers if c.kind == "number" else _categories)(rows[c.name], c, faults) for c in columns}
    )
    if faults:
        raise InvalidInput(
            f"the data does not fit the input type: {faults[0].path}: {faults[0].message}",
            fields=faults,
            next_step="Correct the data, or declare what it holds in the input type.",
        )
    digest = hashlib.sha256(frame.assign(__target__=target).to_csv(index=False, lineterminator="\n").encode())
    return Table(frame, numpy.asarray(target), dataset.source, digest.hexdigest(), _moments(dataset))


def _moments(dataset: Dataset) -> numpy.ndarray[Any, Any] | None:
    import pandas

    if dataset.time is None:
        return None
    if dataset.time not in dataset.rows.columns:
        raise InvalidInput(f"the data has no column {dataset.time}, which it names as its time")
    times = dataset.rows[dataset.time]
    if getattr(times.dtype, "tz", None) is None or times.isna().any():
        raise InvalidInput(f"the column {dataset.time} must hold moments with a time zone in every row")
    moments: numpy.ndarray[Any, Any] = pandas.DatetimeIndex(times).as_unit("us").asi8
    return moments


def _target(dataset: Dataset) -> numpy.ndarray[Any, Any]:
    import numpy

    target = numpy.asarray(dataset.target)
    if target.shape != (len(dataset.rows),):
        raise InvalidInput(f"the target has shape {target.shape} for {len(dataset.rows)} rows")
    if len(target) < SMALLEST:
        raise InvalidInput(f"{len(target)} rows are too few: at least {SMALLEST} are needed")
    if set(numpy.unique(target).tolist()) != {0, 1}:
        raise InvalidInput("the target must hold both 0 and 1, and nothing else")
    return target.astype(numpy.int64)


def _numbers(series: pandas.Series[Any], column: Column, faults: list[FieldProblem]) -> Any:
    import numpy
    import pandas

    numbers = pandas.to_numeric(series, errors="coerce").to_numpy(dtype=numpy.float64, na_value=numpy.nan)
    absent = int(numpy.isnan(numbers).sum())
    if absent and not column.nullable:
        faults.append(FieldProblem(f"$.{column.name}", f"{absent} rows hold no number and null is not declared"))
    if (column.least is not None and (numbers < column.least).any()) or (
        column.most is not None and (numbers > column.most).any()
    ):
        span = f"{numpy.nanmin(numbers):g} to {numpy.nanmax(numbers):g}"
        faults.append(FieldProblem(f"$.{column.name}", f"values span {span}, beyond the declared limits"))
    return numbers.astype(numpy.float32).astype(numpy.float64)


def _categories(series: pandas.Series[Any], column: Column, faults: list[FieldProblem]) -> Any:
    strange = sorted({str(value) for value in series.unique()} - set(column.categories))
    if strange:
        listed = ", ".join(repr(value) for value in strange[:_SHOWN])
        faults.append(FieldProblem(f"$.{column.name}", f"values that the input type does not declare: {listed}"))
    return series.astype(str).astype(object)
