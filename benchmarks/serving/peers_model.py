"""The model of the side-by-side: gradient-boosted trees on twenty numbers, in each form that a server loads.

Run: python benchmarks/serving/peers_model.py TARGET. It trains 100 trees of 31 leaves with LightGBM on 20,000 generated
rows, and writes `booster.txt` (LightGBM's own form), `model.onnx` (the same trees) and `package.json` (the names).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from peers_row import FEATURES, MODEL, ROW
from pydantic import BaseModel

ROWS = 20_000
TREES, LEAVES = 100, 31
INPUT, OUTPUT = "features", "probabilities"
PARITY = 1e-5


def table(seed: int, count: int = ROWS) -> tuple[numpy.ndarray[Any, Any], numpy.ndarray[Any, Any]]:
    """Rows of standard normal numbers, and outcomes that hang on some of them and on how they meet."""
    random = numpy.random.default_rng(seed)
    rows = random.normal(size=(count, len(FEATURES))).astype(numpy.float32)
    score = rows[:, 0] + rows[:, 1] * rows[:, 2] - numpy.abs(rows[:, 3]) + 0.5 * rows[:, 4:10].sum(axis=1)
    outcomes = random.random(count) < 1 / (1 + numpy.exp(-score))
    return rows, outcomes.astype(numpy.int64)


def write(folder: Path, *, seed: int = 7) -> None:
    """Train and write the three files. Raises RuntimeError if the two forms of the model do not agree."""
    import onnxmltools
    import onnxruntime
    from lightgbm import LGBMClassifier
    from onnxmltools.convert.common.data_types import FloatTensorType

    rows, outcomes = table(seed)
    trees = LGBMClassifier(n_estimators=TREES, num_leaves=LEAVES, random_state=seed, verbose=-1, n_jobs=1)
    trees.fit(rows, outcomes)
    shape = [(INPUT, FloatTensorType([None, len(FEATURES)]))]
    graph = onnxmltools.convert_lightgbm(trees, initial_types=shape, zipmap=False, target_opset=15)
    content = graph.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    [told] = session.run([OUTPUT], {INPUT: rows[:1000]})
    apart = float(numpy.abs(told[:, 1] - trees.predict_proba(rows[:1000])[:, 1]).max())
    if apart > PARITY:
        raise RuntimeError(f"the ONNX graph and LightGBM differ by {apart}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    trees.booster_.save_model(str(folder / "booster.txt"))
    (folder / "package.json").write_text(json.dumps({"input": INPUT, "output": OUTPUT, "columns": FEATURES}))


def register(package: Path, data: Path, served: type[BaseModel], given: type[BaseModel], **names: Any) -> None:
    """Put the graph into a data folder's registry, as the version in production of a model of these types.

    `names` may give the model another name (`model`), and its columns (`columns`), twenty in the graph's order.
    """
    asyncio.run(_register((package / "model.onnx").read_bytes(), data, served, given, **names))


async def _register(
    graph: bytes,
    data: Path,
    served: type[BaseModel],
    given: type[BaseModel],
    *,
    model: str = MODEL,
    columns: Sequence[str] = FEATURES,
) -> None:
    from stanchion.core.clock import SystemClock
    from stanchion.core.context import Context, Rights
    from stanchion.core.settings import HouseSettings, ModulesSettings
    from stanchion.registry import Draft, Lineage, Registry
    from stanchion.system.house import House

    digest = hashlib.sha256(graph).hexdigest()
    draft = Draft(
        model=model,
        format="onnx",
        input_schema=served.model_json_schema(),
        output_schema=given.model_json_schema(mode="serialization"),
        metrics={},
        parameters={"trees": TREES, "leaves": LEAVES},
        metadata={
            "input": INPUT,
            "output": OUTPUT,
            "columns": [{"name": name, "kind": "number", "categories": []} for name in columns],
            "probability": "probability",
            "rungs": {"primary": "model.onnx"},
        },
        lineage=Lineage(digest, ROWS, "generated", "benchmark"),
        weights_sha256=digest,
        card="Trees on twenty generated numbers, for measuring servers and nothing else.",
    )
    settings = HouseSettings(modules=ModulesSettings(enabled=("registry",)))
    house = await House.open(settings, data, clock=SystemClock(), environment={})
    try:
        registry = house.door(Registry)
        ctx = Context(settings.tenant, "benchmark", rights=Rights(roles=frozenset({"admin"})))
        version = await registry.register(ctx, draft, {"model.onnx": graph})
        await registry.promote(ctx, model, version.version, to="production", evidence="the graph agrees with LightGBM")
    finally:
        await house.close()


def expected(package: Path) -> float:
    """What LightGBM itself says of the one row that every server is asked for."""
    from lightgbm import Booster

    told = Booster(model_file=str(package / "booster.txt")).predict(numpy.array([ROW]))
    return float(numpy.asarray(told)[0])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
