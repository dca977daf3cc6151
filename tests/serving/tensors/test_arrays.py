"""Tensors and arrays are each other's likeness, whatever they hold, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

from stanchion.core.errors import InvalidInput, PayloadTooLarge, StanchionError, Unavailable
from stanchion.serving import Tensor, TensorSpec, packed_bytes, unpacked_bytes
from stanchion.serving.contract.tensors import DATATYPES
from stanchion.serving.tensors.arrays import array_of, chosen, datatype_of, dtype_of, taken, tensor_of

NUMBERS = sorted(DATATYPES - {"BYTES"})


@given(st.data(), st.sampled_from(NUMBERS), st.booleans())
def test_any_array_survives_the_way_there_and_back(data: st.DataObject, datatype: str, binary: bool) -> None:
    kind = dtype_of(datatype)
    array = data.draw(shapes.arrays(kind, shapes.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
    tensor = tensor_of("t", array, binary=binary)
    assert (tensor.datatype, tensor.shape) == (datatype, array.shape)
    numpy.testing.assert_array_equal(array_of(tensor), array)


@given(st.data(), st.sampled_from(NUMBERS))
def test_numbers_and_raw_bytes_say_the_same(data: st.DataObject, datatype: str) -> None:
    array = data.draw(shapes.arrays(dtype_of(datatype), 3))
    plain = tensor_of("t", array, binary=False)
    raw = Tensor("t", datatype, (3,), raw=plain.binary())
    numpy.testing.assert_array_equal(numpy.array(raw.values()), numpy.array(plain.data))
    assert raw.binary() == tensor_of("t", array, binary=True).raw


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_bytes_survive_their_packing(items: list[bytes]) -> None:
    assert unpacked_bytes(packed_bytes(items)) == items


@given(st.binary(max_size=40))
def test_any_bytes_are_a_packing_or_are_refused(raw: bytes) -> None:
    try:
        assert packed_bytes(unpacked_bytes(raw)) == raw
    except InvalidInput:
        return


ANYTHING = st.one_of(
    st.none(),
    st.lists(st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=4)), max_size=6).map(tuple),
)


@given(
    st.one_of(st.sampled_from(sorted(DATATYPES)), st.text(max_size=6)),
    st.lists(st.integers(-2, 6), max_size=4).map(tuple),
    ANYTHING,
    st.binary(max_size=24),
)
def test_whatever_is_sent_is_an_array_or_is_refused(
    datatype: str, shape: tuple[int, ...], data: Any, raw: bytes
) -> None:
    tensor = Tensor("t", datatype, shape, data, raw)
    try:
        array = array_of(tensor)
    except StanchionError as error:
        assert isinstance(error, InvalidInput)
        return
    assert array.shape == shape
    assert datatype_of(array) == datatype


@pytest.mark.parametrize(
    ("tensor", "path"),
    [
        (Tensor("t", "INT8", (1,), (300,)), "$.inputs.data"),
        (Tensor("t", "INT32", (1,), (1.5,)), "$.inputs.data"),
        (Tensor("t", "INT32", (1,), (True,)), "$.inputs.data"),
        (Tensor("t", "BOOL", (1,), (1,)), "$.inputs.data"),
        (Tensor("t", "FP32", (1,), ("1",)), "$.inputs.data"),
        (Tensor("t", "BYTES", (1,), (1,)), "$.inputs.data"),
        (Tensor("t", "FP32", (1,), raw=b"123"), "$.inputs.data"),
        (Tensor("t", "FP32", (2,), (1.0,)), "$.inputs.shape"),
        (Tensor("t", "FP32", (1,) * 17, (1.0,)), "$.inputs.shape"),
        (Tensor("t", "BF16", (1,), (1.0,)), "$.inputs.datatype"),
    ],
)
def test_a_fault_is_told_with_its_place(tensor: Tensor, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        array_of(tensor)
    assert [each.path for each in caught.value.fields] == [path]


def test_a_shape_of_too_many_elements_is_refused_before_anything_is_made() -> None:
    with pytest.raises(PayloadTooLarge):
        array_of(Tensor("t", "FP32", (1 << 20, 1 << 20)))


SPECS = (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "BYTES", (1,)))


def test_every_fault_of_a_request_is_told_at_once() -> None:
    given_ = (
        Tensor("a", "FP64", (1, 2), (1.0, 2.0)),
        Tensor("c", "FP32", (1,), (1.0,)),
    )
    with pytest.raises(InvalidInput) as caught:
        taken(given_, SPECS)
    assert [each.path for each in caught.value.fields] == ["$.inputs[0].datatype", "$.inputs[1].name", "$.inputs"]


def test_what_is_asked_for_is_computed_and_no_more() -> None:
    assert chosen(("b",), SPECS) == ["b"]
    assert chosen((), SPECS) == ["a", "b"]
    with pytest.raises(InvalidInput):
        chosen(("c",), SPECS)


def test_an_array_that_no_tensor_can_be_is_the_graphs_fault() -> None:
    with pytest.raises(Unavailable):
        tensor_of("t", numpy.array([1j]), binary=False)
