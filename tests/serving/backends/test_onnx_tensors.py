"""ONNX graphs with the inputs and outputs they have: texts, several of them, and one row at a time."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy
import pytest
from pydantic import BaseModel

from stanchion.core.context import Context
from stanchion.core.errors import InvalidInput
from stanchion.registry import Draft, Lineage
from stanchion.serving import InferRequest, ServedSpec, Tensor
from tests.serving.conftest import Bench, caller

onnx = pytest.importorskip("onnx", reason="the extra `train` is not installed")
from onnx import TensorProto, helper  # noqa: E402 - only if it is there

from stanchion.serving.backends.onnx import OnnxRuntime  # noqa: E402 - needs no extra, but its tests do


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: tuple[Any, ...] = ()) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    content: bytes = made.SerializeToString()
    return content


def value(name: str, kind: int, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def doubled(*, rows: int | str = "n") -> bytes:
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    return model(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        [value("x", TensorProto.FLOAT, rows, 2)],
        [value("y", TensorProto.FLOAT, rows, 2)],
        (two,),
    )


def test_a_graph_tells_what_it_takes_and_gives() -> None:
    nodes = [
        helper.make_node("Identity", ["text"], ["same"]),
        helper.make_node("Cast", ["flag"], ["number"], to=TensorProto.INT32),
    ]
    content = model(
        nodes,
        [value("text", TensorProto.STRING, "n", 1), value("flag", TensorProto.BOOL, 1, "w", 3)],
        [value("same", TensorProto.STRING, "n", 1), value("number", TensorProto.INT32, 1, "w", 3)],
    )
    graph = OnnxRuntime().tensors(content)
    told = [(each.name, each.datatype, each.shape) for each in (*graph.signature.inputs, *graph.signature.outputs)]
    assert told == [
        ("text", "BYTES", (-1, 1)),
        ("flag", "BOOL", (1, -1, 3)),
        ("same", "BYTES", (-1, 1)),
        ("number", "INT32", (1, -1, 3)),
    ]
    texts = numpy.array([["a"], [b"\xc3\xa9"]], dtype=object)
    flags = numpy.array([[[True, False, True]]])
    found = graph.run({"text": texts, "flag": flags}, ["number", "same"])
    assert list(found) == ["number", "same"]
    assert (found["same"].tolist(), found["number"].tolist()) == ([["a"], ["é"]], [[[1, 0, 1]]])


def test_what_no_tensor_of_the_protocol_can_be_is_refused_when_it_is_loaded() -> None:
    content = model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.COMPLEX64, 1)],
        [value("y", TensorProto.COMPLEX64, 1)],
    )
    for broken in (content, b"no graph"):
        with pytest.raises(InvalidInput):
            OnnxRuntime().tensors(broken)


class Vector(BaseModel):
    x: list[float]


class Doubled(BaseModel):
    y: list[float]


@pytest.mark.parametrize("rows", ["n", 1])
async def test_a_real_graph_is_served_even_one_row_at_a_time(bench: Bench, ctx: Context, rows: int | str) -> None:
    content = doubled(rows=rows)
    draft = Draft(
        model="double",
        format="onnx",
        input_schema=Vector.model_json_schema(),
        output_schema=Doubled.model_json_schema(mode="serialization"),
        metrics={},
        parameters={},
        metadata={
            "tensors": {
                "inputs": [{"name": "x", "fields": ["x"], "kind": "tensor", "shape": [2]}],
                "outputs": [{"name": "y", "field": "y"}],
            },
            "rungs": {"primary": "model.onnx"},
        },
        lineage=Lineage("0" * 64, 1, "made up", "git:abc"),
        weights_sha256=hashlib.sha256(content).hexdigest(),
        card="",
    )
    await bench.registry.register(caller(), draft, {"model.onnx": content})
    service = bench.serving(ServedSpec("double", Vector, Doubled), runtime=OnnxRuntime())
    await service.start()
    try:
        answer = await service.predict(ctx, "double", [{"x": [1, 2]}, {"x": [3, 4]}])
        assert [each.values["y"] for each in answer.items] == [[2, 4], [6, 8]]
        tensor = Tensor("x", "FP32", (1, 2), (5.0, 6.0))
        assert (await service.infer(ctx, "double", InferRequest((tensor,)))).outputs[0].data == (10, 12)
        status = await service.describe(ctx, "double")
        assert status.memory is not None
        assert status.memory.bytes >= len(content)
    finally:
        await service.stop()
