"""An estimator becomes an ONNX graph with one input, and is held to the estimator's own answers.

skl2onnx makes one input for each column, strings for categories. Reading eighteen inputs costs more than
running the trees, so the graph is packed: one float matrix `features` [rows, columns] in the order of the
columns, a category as its place among its declared values. The packed graph gives bit for bit what the
unpacked one gives; the parity check holds it to the estimator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.errors import InvalidInput
from .boosting import convertible
from .columns import Column

if TYPE_CHECKING:
    import numpy
    import onnx
    import pandas

INPUT, OUTPUT = "features", "probabilities"
TOLERANCE = 1e-4
_OPSET = {"": 18, "ai.onnx.ml": 3}


class Graph(NamedTuple):
    """`content` is the ONNX file; `weights` the SHA-256 of what was learnt, apart from how it is packed."""

    content: bytes
    weights: str


def exported(estimator: Any, columns: Sequence[Column]) -> Graph:
    """The fitted estimator as a packed graph. Raises InvalidInput if ONNX cannot express it."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    kinds = {"number": FloatTensorType, "category": StringTensorType}
    inputs = [(column.name, kinds[column.kind]([None, 1])) for column in columns]
    if all(column.kind == "number" for column in columns) and not _by_name(estimator):
        # An estimator that takes the columns as they stand takes them as one matrix: that is the packed form already.
        inputs = [(INPUT, FloatTensorType([None, len(columns)]))]
    readable = convertible(estimator)
    try:
        model = to_onnx(readable, initial_types=inputs, options={"zipmap": False}, target_opset=_OPSET)
    # skl2onnx raises a dozen types of its own and plain RuntimeError: all mean that it has no way to convert.
    except Exception as error:
        raise InvalidInput(
            f"{type(estimator).__name__} cannot be exported to ONNX: {error}",
            next_step="Use an estimator from the list of skl2onnx, or declare the model as a Python function.",
        ) from error
    weights = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
    return Graph(_packed(model, columns).SerializeToString(deterministic=True), weights)


def _by_name(estimator: Any) -> bool:
    """Whether it picks columns by their names, as a column transformer at its head does."""
    steps = getattr(estimator, "steps", None)
    return hasattr(steps[0][1] if steps else estimator, "transformers")


def matrix(frame: pandas.DataFrame, columns: Sequence[Column]) -> numpy.ndarray[Any, Any]:
    """The rows as the packed graph reads them: float32, categories by place."""
    import numpy

    def coded(column: Column) -> Any:
        if column.kind == "number":
            return frame[column.name].to_numpy()
        places = {value: place for place, value in enumerate(column.categories)}
        return frame[column.name].map(places).to_numpy()

    return numpy.column_stack([coded(column) for column in columns]).astype(numpy.float32)


def probabilities(graph: Graph, rows: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    """What ONNX Runtime answers for the rows: the probability of class 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.content, providers=["CPUExecutionProvider"])
    answer: numpy.ndarray[Any, Any] = session.run([OUTPUT], {INPUT: rows})[0]
    return answer[:, 1]


def checked_parity(
    graph: Graph, estimator: Any, frame: pandas.DataFrame, columns: Sequence[Column], *, tolerance: float = TOLERANCE
) -> float:
    """The largest difference of probability between graph and estimator on the rows.

    The graph computes in float32, the estimator in float64: differences up to 1e-6 are usual.
    Raises InvalidInput above the tolerance: such a graph is another model than the one that was measured.
    """
    import numpy

    difference = numpy.abs(probabilities(graph, matrix(frame, columns)) - estimator.predict_proba(frame)[:, 1])
    largest = float(difference.max())
    if not largest <= tolerance:
        raise InvalidInput(
            f"the exported graph differs from {type(estimator).__name__} by {largest:.2g}, "
            f"more than {tolerance:g}, on {int((difference > tolerance).sum())} of {len(difference)} rows",
            next_step="Use an estimator that exports faithfully: avoid steps that need float64.",
        )
    return largest


class _Packer:
    """Rewrites the inputs of one graph."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._place = {column.name: place for place, column in enumerate(columns)}
        self._categories = {c.name: c.categories for c in columns if c.kind == "category"}
        self._numbers = set(self._place) - set(self._categories)
        self._taken: dict[tuple[str, ...], str] = {}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, node: onnx.NodeProto) -> None:
        """Keep a node, reading from `features` what it read from the columns."""
        from onnx import NodeProto, helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Concat" and all(name in self._numbers for name in node.input):
            self._as(self._taking(tuple(node.input)), node)
        elif node.op_type == "OneHotEncoder" and node.input[0] in self._categories:
            self._encode(node, attributes)
        else:
            copy = NodeProto()
            copy.CopyFrom(node)
            for position, name in enumerate(copy.input):
                if name in self._categories:
                    copy.input[position] = self._text(name)
                elif name in self._place:
                    copy.input[position] = self._taking((name,))
            self.nodes.append(copy)

    def _as(self, source: str, node: onnx.NodeProto) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [source], list(node.output)))

    def _taking(self, names: tuple[str, ...]) -> str:
        """The value that holds these columns, gathered once."""
        if names not in self._taken:
            from onnx import helper

            name = f"stanchion_columns_{len(self._taken)}"
            which = self._constant(f"{name}_places", [self._place[n] for n in names])
            self.nodes.append(helper.make_node("Gather", [INPUT, which], [name], axis=1))
            self._taken[names] = name
        return self._taken[names]

    def _constant(self, name: str, values: Sequence[Any]) -> str:
        import numpy
        from onnx import numpy_helper

        kind = object if values and isinstance(values[0], str) else numpy.int64
        self.constants.append(numpy_helper.from_array(numpy.array(values, dtype=kind), name))
        return name

    def _encode(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> None:
        """One-hot from the places themselves: no string is ever made."""
        from onnx import helper

        places = self._categories[node.input[0]]
        known = [places.index(value.decode()) for value in attributes["cats_strings"]]
        source = self._taking((node.input[0],))
        zeros = attributes.get("zeros", 1)
        self.nodes.append(
            helper.make_node(
                "OneHotEncoder", [source], list(node.output), domain="ai.onnx.ml", cats_int64s=known, zeros=zeros
            )
        )

    def _text(self, name: str) -> str:
        """The category as the string that any other operator expects."""
        from onnx import TensorProto, helper

        text = f"{name}_text"
        if not any(text in node.output for node in self.nodes):
            table = self._constant(f"{name}_values", list(self._categories[name]))
            place = f"{name}_place"
            self.nodes.append(helper.make_node("Cast", [self._taking((name,))], [place], to=TensorProto.INT64))
            self.nodes.append(helper.make_node("Gather", [table, place], [text], axis=0))
        return text


def _packed(model: onnx.ModelProto, columns: Sequence[Column]) -> onnx.ModelProto:
    from onnx import TensorProto, checker, helper

    packer = _Packer(columns)
    for node in model.graph.node:
        packer.add(node)
    read = {name for node in packer.nodes for name in node.input}
    graph = helper.make_graph(
        packer.nodes,
        "model",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(columns)])],
        [output for output in model.graph.output if output.name == OUTPUT],
        [constant for constant in (*model.graph.initializer, *packer.constants) if constant.name in read],
    )
    packed = helper.make_model(graph, opset_imports=model.opset_import, producer_name="stanchion")
    packed.ir_version = model.ir_version
    checker.check_model(packed)
    return packed
