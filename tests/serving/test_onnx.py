"""ONNX Runtime behind the port: what it loads, what it refuses, and that it is right."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput

onnx = pytest.importorskip("onnx", reason="the extra `train` is not installed")
from onnx import TensorProto, helper  # noqa: E402 - only if it is there

from stanchion.serving.backends.onnx import OnnxRuntime  # noqa: E402 - needs no extra, but its tests do


def graph(*, columns: int = 2, input_name: str = "features", kind: int = TensorProto.FLOAT, inputs: int = 1) -> bytes:
    """p = sigmoid(x0 - x1), as two columns."""
    names = [input_name, *[f"more{n}" for n in range(inputs - 1)]]
    nodes = [
        helper.make_node("Gather", [input_name, "zero"], ["a"], axis=1),
        helper.make_node("Gather", [input_name, "one"], ["b"], axis=1),
        helper.make_node("Sub", ["a", "b"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
        helper.make_node("Sub", ["unit", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("unit", TensorProto.FLOAT, [1], [1.0]),
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, [None, columns]) for name in names],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    content: bytes = model.SerializeToString()
    return content


def load(content: bytes, **changes: Any) -> Any:
    return OnnxRuntime().load(
        content, **{"input_name": "features", "output_name": "probabilities", "columns": 2, **changes}
    )


def test_rows_are_answered_in_order() -> None:
    found = load(graph()).probabilities([[1, 0], [0, 0], [0.5, 2.5]])
    assert found == pytest.approx([1 / (1 + math.exp(-1)), 0.5, 1 / (1 + math.exp(2))], abs=1e-6)


def test_booleans_and_whole_numbers_are_numbers() -> None:
    assert load(graph()).probabilities([[True, False]]) == load(graph()).probabilities([[1.0, 0.0]])


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        (b"", {}),
        (b"no graph", {}),
        (graph()[:-40], {}),
        (graph(columns=3), {}),
        (graph(input_name="other"), {}),
        (graph(inputs=2), {}),
        (graph(kind=TensorProto.DOUBLE), {}),
        (graph(), {"output_name": "label"}),
    ],
)
def test_a_file_that_is_no_such_graph_is_refused(content: bytes, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        load(content, **changes)
