"""Builds the graph of a sentence encoder from its weights: BERT, the mean over the tokens, length one.

Made here and not by an exporter: what is run is what stands in this file.
Source: Devlin et al. 2019 (BERT); Reimers and Gurevych 2019 (mean pooling).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .safetensors import Weights
from .shape import Shape

if TYPE_CHECKING:
    import onnx

_OPSET = 17
_INPUTS = ("input_ids", "attention_mask")
_HIDDEN = -1e9  # added to the score of a token that is only padding


class _Builder:
    """Nodes and constants as they are added; each step gives the name of its result."""

    def __init__(self, weights: Weights, shape: Shape) -> None:
        from onnx import helper, numpy_helper

        self._helper = helper
        self._constant = numpy_helper.from_array
        self._weights = weights
        self._shape = shape
        self.nodes: list[onnx.NodeProto] = []
        self.held: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def hold(self, name: str, value: NDArray[Any]) -> str:
        """A constant."""
        if name not in self.held:
            self.held[name] = self._constant(np.ascontiguousarray(value), name)
        return name

    def number(self, value: float) -> str:
        """A constant of one number."""
        return self.hold(f"number_{value!r}", np.array(value, dtype=np.float32))

    def whole(self, *values: int) -> str:
        """A constant list of whole numbers."""
        return self.hold("whole_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def weight(self, name: str) -> str:
        """Some weights as they are."""
        return self.hold(name, self._weights[name])

    def dense(self, name: str, x: str) -> str:
        """x times the transposed matrix, plus the bias."""
        matrix = self.hold(f"{name}.matrix", self._weights[f"{name}.weight"].T)
        return self.add("Add", self.add("MatMul", x, matrix), self.weight(f"{name}.bias"))

    def norm(self, name: str, x: str) -> str:
        """Layer normalisation."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=self._shape.layer_norm_eps)

    def heads(self, x: str, order: list[int]) -> str:
        """x cut into attention heads, its axes in that order."""
        size = self._shape
        cut = self.add("Reshape", x, self.whole(0, 0, size.num_attention_heads, size.head_size))
        return self.add("Transpose", cut, perm=order)

    def layer(self, name: str, x: str, mask: str) -> str:
        """One layer of the encoder."""
        query = self.heads(self.dense(f"{name}.attention.self.query", x), [0, 2, 1, 3])
        key = self.heads(self.dense(f"{name}.attention.self.key", x), [0, 2, 3, 1])
        value = self.heads(self.dense(f"{name}.attention.self.value", x), [0, 2, 1, 3])
        scores = self.add("Mul", self.add("MatMul", query, key), self.number(1 / math.sqrt(self._shape.head_size)))
        shares = self.add("Softmax", self.add("Add", scores, mask), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", shares, value), perm=[0, 2, 1, 3])
        joined = self.add("Reshape", mixed, self.whole(0, 0, self._shape.hidden_size))
        attended = self.add("Add", self.dense(f"{name}.attention.output.dense", joined), x)
        x = self.norm(f"{name}.attention.output.LayerNorm", attended)
        grown = self.gelu(self.dense(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", self.add("Add", self.dense(f"{name}.output.dense", grown), x))

    def gelu(self, x: str) -> str:
        """Gaussian error linear unit, exact."""
        risen = self.add("Add", self.add("Erf", self.add("Div", x, self.number(math.sqrt(2)))), self.number(1.0))
        return self.add("Mul", self.add("Mul", x, risen), self.number(0.5))

    def embedded(self) -> str:
        """Word, place and kind of each token; all are of the first kind, as a sentence alone is."""
        length = self.add("Gather", self.add("Shape", "input_ids"), self.whole(1))
        places = self.add("Slice", self.weight("embeddings.position_embeddings.weight"), self.whole(0), length)
        kind = self.hold("kind", self._weights["embeddings.token_type_embeddings.weight"][0])
        words = self.add("Gather", self.weight("embeddings.word_embeddings.weight"), "input_ids")
        return self.norm("embeddings.LayerNorm", self.add("Add", self.add("Add", words, places), kind))

    def pooled(self, x: str, mask: str) -> str:
        """The mean over the tokens that are no padding, made one long."""
        wide = self.add("Unsqueeze", mask, self.whole(2))
        total = self.add("ReduceSum", self.add("Mul", x, wide), self.whole(1), keepdims=0)
        count = self.add("Max", self.add("ReduceSum", mask, self.whole(1), keepdims=1), self.number(1e-9))
        mean = self.add("Div", total, count)
        length = self.add("ReduceL2", mean, axes=[1], keepdims=1)
        return self.add("Div", mean, self.add("Max", length, self.number(1e-12)))


def built(weights: Weights, shape: Shape) -> bytes:
    """The graph as an ONNX document: `input_ids` and `attention_mask` (rows by tokens) in, `vectors` out."""
    from onnx import TensorProto, helper

    make = _Builder(weights, shape)
    mask = make.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden = make.add("Mul", make.add("Sub", make.number(1.0), mask), make.number(_HIDDEN))
    hidden = make.add("Unsqueeze", hidden, make.whole(1, 2))
    x = make.embedded()
    for layer in range(shape.num_hidden_layers):
        x = make.layer(f"encoder.layer.{layer}", x, hidden)
    make.nodes.append(helper.make_node("Identity", [make.pooled(x, mask)], ["vectors"]))
    graph = helper.make_graph(
        make.nodes,
        "encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"]) for name in _INPUTS],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["rows", shape.hidden_size])],
        list(make.held.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    document: bytes = model.SerializeToString()
    return document
