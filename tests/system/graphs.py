"""Small versions of the model `side`, made by hand: no training, and one that is wrong on purpose."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from stanchion.app.commands.office import Options, opened, operator
from stanchion.registry import Draft, Lineage, Registry

MODEL = "side"
SYSTEM = """
from typing import Any, Literal

from pydantic import BaseModel, Field

from stanchion import Dataset, System
from stanchion.serving import LastGood

app = System("releases")


class Point(BaseModel):
    x: float
    y: float


class Side(BaseModel):
    prediction: Literal["left", "right"]
    probability: float = Field(ge=0, le=1)


side = app.trained(
    "side", input=Point, output=Side, bands={"left": 0.0, "right": 0.5},
    default=Side(prediction="left", probability=0.0), last_good=LastGood(),
)


@side.data
def points(source: Any, seed: int) -> Dataset:
    raise RuntimeError("these versions are made by hand")


@side.estimator
def line() -> Any:
    raise RuntimeError("these versions are made by hand")


@side.rule
def far(point: Point) -> Side | None:
    return Side(prediction="left", probability=0.25)
"""


def graph(shift: float, *, broken: bool = False) -> bytes:
    """sigmoid(x + y + shift) as probabilities [rows, 2]; a broken one gives NaN where x is above 0."""
    import onnx
    from onnx import TensorProto, helper

    def constant(name: str, value: float) -> Any:
        return helper.make_tensor(name, TensorProto.FLOAT, [1, 1], [value])

    nodes = [
        helper.make_node("ReduceSum", ["features", "axes"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "shift"], ["moved"]),
        helper.make_node("Sigmoid", ["moved"], ["right"]),
        helper.make_node("Sub", ["one", "right"], ["left"]),
    ]
    last = "right"
    if broken:
        # The logarithm of a negative number: fine for the row of zeros that the server warms up with.
        nodes += [
            helper.make_node("Slice", ["features", "from", "to", "axes"], ["x"]),
            helper.make_node("Sub", ["one", "x"], ["rest"]),
            helper.make_node("Log", ["rest"], ["log"]),
            helper.make_node("Add", ["log", "right"], ["spoilt"]),
        ]
        last = "spoilt"
    nodes.append(helper.make_node("Concat", ["left", last], ["probabilities"], axis=1))
    numbers = [("axes", 1), *((("from", 0), ("to", 1)) if broken else ())]
    made = helper.make_graph(
        nodes,
        "side",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [constant("shift", shift), constant("one", 1.0)]
        + [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in numbers],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(content)
    return content


def prepare(folder: Path, *, versions: int = 3) -> Path:
    """A data folder whose registry holds 1.0.0 in production, then sound ones, and a broken one as the last."""
    (folder / "system.py").write_text(SYSTEM)
    asyncio.run(_register(folder / "data", versions))
    return folder / "data"


async def _register(data: Path, versions: int) -> None:
    async with opened(Options(data=data), only=("registry",)) as house:
        registry = house.door(Registry)
        ctx = operator(house.settings.tenant)
        for number in range(versions):
            broken = number > 0 and number == versions - 1
            files = {"model.onnx": graph(number / 100, broken=broken), "simple.onnx": graph(0.5)}
            await registry.register(ctx, draft(number), files)
        await registry.promote(ctx, MODEL, "1.0.0", to="production", evidence="the first")


def draft(number: int) -> Draft:
    columns = [{"name": name, "kind": "number", "categories": []} for name in ("x", "y")]
    number_schema = {"type": "number"}
    return Draft(
        model=MODEL,
        format="onnx",
        input_schema={
            "type": "object",
            "properties": {"x": number_schema, "y": number_schema},
            "required": ["x", "y"],
        },
        output_schema={
            "type": "object",
            "properties": {"prediction": {"enum": ["left", "right"]}, "probability": number_schema},
        },
        metrics={"roc_auc": 0.8 + number / 100},
        parameters={},
        metadata={
            "input": "features",
            "output": "probabilities",
            "columns": columns,
            "probability": "probability",
            "label": "prediction",
            "bands": [["left", 0.0], ["right", 0.5]],
            "rungs": {"primary": "model.onnx", "simple": "simple.onnx"},
        },
        lineage=Lineage("0" * 64, 100, "made by hand", "none"),
        weights_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        card="",
    )
