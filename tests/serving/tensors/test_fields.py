"""A model of named fields seen as tensors: one row is read as one of many is, by a shorter way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from stanchion.core.errors import StanchionError
from stanchion.serving.contract.tensors import DATATYPES, Tensor
from stanchion.serving.tensors.fields import Fields


class Given(BaseModel):
    number: float
    whole: int
    maybe: int | None = None
    flag: bool = False
    text: str = ""
    several: list[int] = []


class Told(BaseModel):
    number: float
    maybe: int | None
    text: str


FIELDS = Fields(Given.model_json_schema(), Told.model_json_schema(mode="serialization"))
VALUES = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.sampled_from(["", "a", "1", "[1]"]))
SENT = st.tuples(
    st.sampled_from([*Given.model_fields, "other"]), st.sampled_from([*sorted(DATATYPES), "FP8"]), VALUES, st.booleans()
)


def instances(sent: Sequence[tuple[str, str, Any, bool]], rows: int) -> list[Any]:
    made = [Tensor(n, t, (rows, 1) if flat else (rows,), (value,) * rows) for n, t, value, flat in sent]
    return list(map(repr, FIELDS.instances(made)))


@settings(max_examples=500)
@given(st.lists(SENT, min_size=1, max_size=4))
def test_one_row_is_read_as_each_of_two_equal_ones(sent: list[tuple[str, str, Any, bool]]) -> None:
    try:
        expected = instances(sent, 2)
    except StanchionError as error:
        places = [field.path for field in getattr(error, "fields", ())]
        try:
            instances(sent, 1)
        except StanchionError as same:
            assert type(same) is type(error)
            assert [field.path for field in getattr(same, "fields", ())] == places
            return
        raise AssertionError(f"two rows were refused and one was not: {sent}") from error
    assert instances(sent, 1) == expected[:1]


@given(st.floats(allow_nan=False), st.none() | st.integers(-9, 9), st.text())
def test_one_row_is_told_as_each_of_two_equal_ones(number: float, maybe: int | None, text: str) -> None:
    row = {"number": number, "maybe": maybe, "text": text}
    names = FIELDS.chosen(())
    one, two = FIELDS.tensors([row], names), FIELDS.tensors([row, row], names)
    assert [(each.name, each.datatype, repr(each.data)) for each in one] == [
        (each.name, each.datatype, repr((each.data or ())[:1])) for each in two
    ]
    assert {each.shape for each in one} == {(1, 1)}
