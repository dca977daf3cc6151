"""Requests and answers of the Open Inference Protocol over HTTP: what is read, what is refused, and where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, MalformedRequest, StanchionError
from stanchion.serving.contract.repository import InferResponse
from stanchion.serving.contract.tensors import DATATYPES, Tensor
from stanchion.serving.protocols.wire import read, write


def body(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def tensor(name: str = "x", shape: Any = (2,), datatype: str = "INT64", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


def behind(head: dict[str, Any], *blobs: bytes) -> tuple[bytes, bytes]:
    start = json.dumps(head).encode()
    return b"".join((start, *blobs)), str(len(start)).encode()


def answer(*outputs: Tensor) -> InferResponse:
    return InferResponse("m", "1.0.0", "primary", outputs)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "expected"),
    [
        ("INT64", (2,), [1, 2], (1, 2)),
        ("INT64", (2, 2), [1, 2, 3, 4], (1, 2, 3, 4)),
        ("INT64", (2, 2), [[1, 2], [3, 4]], (1, 2, 3, 4)),
        ("INT64", (1, 2, 1), [[[1], [2]]], (1, 2)),
        ("FP32", (2,), [1, 2.5], (1.0, 2.5)),
        ("BOOL", (2, 1), [[True], [False]], (True, False)),
        ("BYTES", (1,), ["ü"], ("ü",)),
        ("UINT64", (1,), [2**64 - 1], (2**64 - 1,)),
        ("FP64", (0,), [], ()),
    ],
)
def test_elements_are_read_flat_or_nested(datatype: str, shape: Any, data: Any, expected: Any) -> None:
    [found] = read(body(tensor(shape=shape, datatype=datatype, data=data)), None).request.inputs
    assert found.data == expected
    assert [type(each) for each in found.data or ()] == [type(each) for each in expected]


def test_an_indented_body_is_read_as_well() -> None:
    text = json.dumps({"inputs": [tensor(shape=(2, 1), data=[[1], [2]])]}, indent=8).encode()
    assert read(text, None).request.inputs[0].data == (1, 2)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (tensor(data=[1, True]), "$.inputs[0].data[1]"),
        (tensor(data=[1, 2.0]), "$.inputs[0].data[1]"),
        (tensor(data=["1", 2]), "$.inputs[0].data[0]"),
        (tensor(data=[1, None]), "$.inputs[0].data[1]"),
        (tensor(datatype="BYTES", data=[1, 2]), "$.inputs[0].data[0]"),
        (tensor(datatype="BOOL", data=[1, 0]), "$.inputs[0].data[0]"),
        (tensor(shape=(2, 2), data=[[1, 2], [3]]), "$.inputs[0].data[1]"),
        (tensor(shape=(2, 2), data=[[1, 2]]), "$.inputs[0].data"),
        (tensor(shape=(1, 2, 2), data=[[[1, 2], 3]]), "$.inputs[0].data[0][1]"),
        (tensor(datatype="FP8", data=[1, 2]), "$.inputs[0].datatype"),
        (tensor(datatype="BF16", data=[1, 2]), "$.inputs[0].datatype"),
        (tensor(shape=(-1,), data=[1]), "$.inputs[0].shape[0]"),
        (tensor(shape=[1] * 17, data=[1]), "$.inputs[0].shape"),
        (tensor(), "$.inputs[0].data"),
        (tensor(name="", data=[1, 2]), "$.inputs[0].name"),
        (tensor(data=[1, 2], extra=1), "$.inputs[0]"),
        (tensor(data=[1, 2], parameters={"binary_data_size": 8}), "$.inputs[0].parameters.binary_data_size"),
        (tensor(data=[1, 2], parameters={"shared_memory_region": "x"}), "$.inputs[0].parameters.shared_memory_region"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(given: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(body(given), None)
    assert [each.path for each in refused.value.fields] == [path]


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"parameters": {"sequence_id": 3}}, "$.parameters.sequence_id"),
        ({"parameters": {"timeout": -1}}, "$.parameters.timeout"),
        ({"parameters": {"binary_data_output": "yes"}}, "$.parameters.binary_data_output"),
        ({"outputs": [{"name": "y", "parameters": {"classification": 2}}]}, "$.outputs[0].parameters.classification"),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": 1}}]}, "$.outputs[0].parameters.binary_data"),
        ({"id": 3}, "$.id"),
        ({"model": "x"}, "$"),
    ],
)
def test_what_is_not_offered_is_refused_and_not_ignored(more: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(body(tensor(data=[1, 2]), **more), None)
    assert [each.path for each in refused.value.fields] == [path]


def test_a_timeout_in_microseconds_becomes_seconds() -> None:
    assert read(body(tensor(data=[1, 2]), parameters={"timeout": 250_000}), None).seconds == 0.25
    assert read(body(tensor(data=[1, 2])), None).seconds is None


def test_tensors_behind_the_json_are_cut_by_their_sizes() -> None:
    head = {
        "inputs": [
            tensor("a", parameters={"binary_data_size": 16}),
            tensor("b", (1,), data=[7]),
            tensor("c", (1,), "UINT8", parameters={"binary_data_size": 1}),
        ]
    }
    found = read(*behind(head, b"a" * 16, b"c")).request.inputs
    assert [each.raw for each in found] == [b"a" * 16, b"", b"c"]
    assert found[1].data == (7,)


@pytest.mark.parametrize("size", [0, 15, 17, -1, True, "16"])
def test_a_size_that_is_not_that_of_the_bytes_is_refused(size: Any) -> None:
    head = {"inputs": [tensor("a", parameters={"binary_data_size": size})]}
    with pytest.raises(InvalidInput):
        read(*behind(head, b"a" * 16))


@pytest.mark.parametrize("length", [b"0", b"-1", b"x", b"", b"99999", b"1e2", b"9" * 30, "٣".encode()])
def test_a_header_length_that_is_none_is_refused(length: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(body(tensor(data=[1, 2])), length)


def test_the_json_part_is_as_strict_as_any_body() -> None:
    for text in (b'{"inputs": [], "inputs": []}', b'{"inputs": [NaN]}', b"[" * 100, b"", b"\xff"):
        with pytest.raises(MalformedRequest):
            read(text, None)


@pytest.mark.parametrize("said", ["1", "08:00:00", r"\\u003a", "a\\u003a:b"])
@pytest.mark.parametrize(
    "twice",
    [
        '{"inputs": [], "inputs": [%s]}',
        '{"inputs": [%s], "id": "1", "id": "1"}',
        '{"id": ":", "inputs": [%s], "id": "2"}',
        '{"inputs": [{"name": "a", %s]}',
    ],
)
def test_a_name_that_is_given_twice_is_refused_whatever_the_texts_hold(said: str, twice: str) -> None:
    one = f'{{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["{said}"]}}'
    assert read(f'{{"inputs": [{one}]}}'.encode(), None).request.inputs[0].data == (json.loads(f'"{said}"'),)
    text = twice % (one[1:] if "name" in twice else one)
    with pytest.raises(MalformedRequest):
        read(text.encode(), None)


def test_an_answer_is_json_unless_bytes_are_wanted() -> None:
    told = write(
        read(body(tensor(data=[1, 2]), id="7"), None),
        answer(Tensor("y", "FP64", (2,), (0.5, 1.0)), Tensor("z", "BYTES", (1,), None, b"\x01\x00\x00\x00a")),
    )
    assert told.json_bytes is None
    assert json.loads(told.content) == {
        "model_name": "m",
        "model_version": "1.0.0",
        "parameters": {"served_by": "primary"},
        "outputs": [
            {"name": "y", "datatype": "FP64", "shape": [2], "data": [0.5, 1.0]},
            {"name": "z", "datatype": "BYTES", "shape": [1], "data": ["a"]},
        ],
        "id": "7",
    }


def test_each_output_comes_in_the_form_it_was_asked_for() -> None:
    asked = read(
        body(tensor(data=[1, 2]), outputs=[{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}]), None
    )
    assert (asked.request.outputs, asked.request.binary) == (("y", "z"), True)
    told = write(asked, answer(Tensor("y", "INT32", (2,), (1, 2)), Tensor("z", "INT8", (1,), None, b"\xff")))
    assert told.json_bytes is not None
    head = json.loads(told.content[: told.json_bytes])
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert head["outputs"][1]["data"] == [-1]
    assert told.content[told.json_bytes :] == b"\x01\x00\x00\x00\x02\x00\x00\x00"


NUMBERS = {
    "BOOL": st.booleans(),
    "BYTES": st.text(max_size=8),
    "FP64": st.floats(allow_nan=False, allow_infinity=False),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "UINT64": st.integers(0, 2**64 - 1),
    "INT8": st.integers(-128, 127),
}


@given(st.data())
def test_what_is_written_is_what_is_read_again_in_both_forms(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(sorted(NUMBERS)))
    values = tuple(data.draw(st.lists(NUMBERS[datatype], max_size=6)))
    held = Tensor("y", datatype, (len(values),), values)
    for binary in (False, True):
        asked = read(body(tensor(data=[1, 2]), parameters={"binary_data_output": binary}), None)
        told = write(asked, answer(held))
        size = len(told.content) if told.json_bytes is None else told.json_bytes
        output = json.loads(told.content[:size])["outputs"][0]
        again, length = behind({"inputs": [output]}, told.content[size:])
        [found] = read(again, length).request.inputs
        assert tuple(found.values()) == values


@given(st.binary(max_size=60), st.one_of(st.none(), st.binary(max_size=4)))
def test_no_bytes_whatever_give_another_error_than_a_refusal(content: bytes, length: bytes | None) -> None:
    for text in (content, b'{"inputs":[' + content + b"]}"):
        try:
            read(text, length)
        except InvalidInput:
            continue


def test_every_datatype_of_the_protocol_has_elements() -> None:
    for datatype in DATATYPES:
        value: Any = {"BOOL": True, "BYTES": "a"}.get(datatype, 1)
        assert read(body(tensor(shape=(1,), datatype=datatype, data=[value])), None).request.inputs[0].data == (value,)


ELEMENTS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.text()
LISTS = st.one_of(
    *(st.lists(each, max_size=4) for each in (st.integers(), st.floats(-1e9, 1e9), st.booleans(), st.text(), ELEMENTS))
)
SENT = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", ""]),
        "shape": st.lists(st.integers(-1, 4), max_size=3),
        "datatype": st.sampled_from([*sorted(DATATYPES), "FP8"]),
        "data": LISTS | st.lists(LISTS, max_size=3) | st.none(),
    }
)


@settings(max_examples=500)
@given(st.lists(SENT, max_size=3), st.sampled_from([{}, {"id": "7"}, {"id": None}]))
def test_the_short_way_reads_what_the_long_way_reads(inputs: list[dict[str, object]], more: dict[str, object]) -> None:
    def found(document: dict[str, object]) -> str:
        try:
            asked = read(json.dumps(document).encode(), None)
        except StanchionError as error:
            return repr(error.problem())
        return repr(asked._replace(binary=dict(asked.binary)))

    # A parameter that asks for nothing is beyond the short way.
    assert found({"inputs": inputs, **more}) == found({"inputs": inputs, **more, "parameters": {"x": 0}})
