"""A check by column gives what the check of single instances gives, for any table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pydantic import BaseModel, Field

from stanchion.core.errors import InvalidInput
from stanchion.serving.batch.cells import instance_of
from stanchion.serving.batch.checking import Checker
from stanchion.serving.batch.fields import rules_of
from stanchion.serving.batch.pieces import Piece
from stanchion.serving.intake import Intake
from stanchion.serving.package import Column
from stanchion.training import identifier


class Wide(BaseModel):
    """A field of every kind that a column check knows, and some that it does not."""

    key: Annotated[str, Field(min_length=1, max_length=5), identifier]
    whole: int = Field(ge=-3, lt=100)
    real: float = Field(gt=0, le=1000)
    kind: Literal["a", "b", "c"] = "b"
    flag: bool = True
    maybe: float | None = None
    maybe_flag: bool | None = None
    step: Literal[1, 2, 4] = 2
    code: Annotated[str, Field(pattern="^[a-z]+$")] = "abc"
    even: int = Field(0, multiple_of=2)


SCHEMA = Wide.model_json_schema()
COLUMNS = [
    Column("whole", "number"),
    Column("real", "number"),
    Column("kind", "category", ("c", "a", "b")),
    Column("flag", "number"),
    Column("maybe", "number"),
    Column("maybe_flag", "number"),
    Column("step", "number"),
    Column("even", "number"),
]
INTAKE = Intake(SCHEMA, COLUMNS)
RULES = {rule.name: rule for rule in rules_of(SCHEMA)}

number = some.one_of(
    some.integers(-5, 105),
    some.floats(allow_nan=True, allow_infinity=True, width=32),
    some.sampled_from([1e39, -1e300]),
)
cells: Mapping[str, Any] = {
    "key": some.one_of(some.none(), some.text(max_size=7)),
    "whole": some.one_of(some.none(), some.integers(-5, 105), some.integers(-(2**63), 2**63 - 1)),
    "real": some.one_of(some.none(), number.map(float)),
    "kind": some.sampled_from(["a", "b", "c", "d", "", None]),
    "flag": some.one_of(some.none(), some.booleans()),
    "maybe": some.one_of(some.none(), number.map(float)),
    "maybe_flag": some.one_of(some.none(), some.booleans()),
    "step": some.sampled_from([1, 2, 3, 4, None]),
    "code": some.sampled_from(["abc", "ABC", "", "a\n", None]),
    "even": some.one_of(some.none(), some.integers(-4, 4)),
}
TYPES: Mapping[str, Any] = {
    "key": pyarrow.string(), "whole": pyarrow.int64(), "real": pyarrow.float64(), "kind": pyarrow.string(),
    "flag": pyarrow.bool_(), "maybe": pyarrow.float64(), "maybe_flag": pyarrow.bool_(), "step": pyarrow.int8(),
    "code": pyarrow.string(), "even": pyarrow.int32(),
}  # fmt: skip
row = some.fixed_dictionaries(dict(cells))


def one_by_one(table: pyarrow.Table) -> list[list[float] | None]:
    """What the check of single instances makes of each row."""
    found: list[list[float] | None] = []
    for cells_of_row in table.to_pylist():
        try:
            found.append([float(v) for v in INTAKE.row(INTAKE.checked(instance_of(cells_of_row, RULES)))])
        except InvalidInput:
            found.append(None)
    return found


def same(table: pyarrow.Table) -> None:
    checker = Checker(SCHEMA, COLUMNS)
    piece = Piece(table, numpy.arange(1, table.num_rows + 1))
    admitted = checker.admit(piece, table.column_names)
    expected = one_by_one(table)
    assert admitted.sound.tolist() == [place for place, values in enumerate(expected) if values is not None]
    assert list(admitted.bad) == [place for place, values in enumerate(expected) if values is None]
    assert all(admitted.reasons)
    wanted = numpy.array([values for values in expected if values is not None], dtype=numpy.float32)
    assert numpy.array_equal(admitted.matrix, wanted.reshape(-1, len(COLUMNS)), equal_nan=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.lists(row, min_size=1, max_size=12))
def test_typed_columns_are_checked_as_single_instances_are(given_rows: list[dict[str, Any]]) -> None:
    same(pyarrow.table({n: pyarrow.array([r[n] for r in given_rows], TYPES[n]) for n in TYPES}))


text = some.one_of(
    some.none(),
    some.text(min_size=1, max_size=6),
    some.sampled_from([
        "1", "2", "-3", "99", "100", " 7 ", "1.0", "1e2", "1.", ".5", "+5", "1e400", "nan", "inf", "-Infinity", "1_0",
        "0x10", "00012", "true", "FALSE", " True", "0", "yes", "a", "b ", "abc", "9007199254740993", "٣",
    ]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(some.lists(some.fixed_dictionaries(dict.fromkeys(TYPES, text)), min_size=1, max_size=10))
def test_columns_of_text_are_checked_as_single_instances_are(given_rows: list[dict[str, Any]]) -> None:
    same(pyarrow.table({n: pyarrow.array([r[n] for r in given_rows], pyarrow.string()) for n in TYPES}))


@settings(max_examples=50, deadline=None)
@given(some.lists(row, min_size=1, max_size=8))
def test_dictionaries_are_read_as_their_values(given_rows: list[dict[str, Any]]) -> None:
    table = pyarrow.table({n: pyarrow.array([r[n] for r in given_rows], TYPES[n]) for n in TYPES})
    for name in ("key", "kind", "code"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table.column(name).dictionary_encode())
    same(table)


def test_whole_numbers_that_are_stored_as_fractions_are_whole_numbers() -> None:
    table = pyarrow.table({"key": ["a", "b", "c"], "whole": [1.0, 2.5, None], "real": [1.0, 1.0, 1.0]})
    admitted = Checker(SCHEMA, COLUMNS).admit(Piece(table, numpy.arange(1, 4)), table.column_names)
    assert admitted.sound.tolist() == [0]
    assert list(admitted.reasons) == ["whole: Expected `int`, got `float`", "whole: Required, and missing"]


def test_an_absent_column_takes_the_declared_default() -> None:
    table = pyarrow.table({"key": ["a"], "whole": [1], "real": [1.0]})
    admitted = Checker(SCHEMA, COLUMNS).admit(Piece(table, numpy.arange(1, 2)), table.column_names)
    expected = [1.0, 1.0, 2.0, 1.0, math.nan, math.nan, 2.0, 0.0]
    assert numpy.array_equal(admitted.matrix[0], numpy.array(expected, dtype=numpy.float32), equal_nan=True)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("flag", [1, 0]),
        ("whole", [True, False]),
        ("key", [1, 2]),
        ("real", [[1.0], [2.0]]),
        ("maybe", [b"1", b"2"]),
    ],
)
def test_a_column_whose_type_can_hold_no_value_of_its_field_is_refused_as_a_whole(name: str, column: list[Any]) -> None:
    given_columns: dict[str, Any] = {"key": ["a", "b"], "whole": [1, 2], "real": [1.0, 2.0], name: column}
    table = pyarrow.table(given_columns)
    with pytest.raises(InvalidInput, match=name):
        Checker(SCHEMA, COLUMNS).admit(Piece(table, numpy.arange(1, 3)), table.column_names)
