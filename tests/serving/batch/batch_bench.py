"""A batch service over real stores in a folder, and a small real graph: shared by the tests and by the crash child."""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.security.signing import Signer
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.registry import Draft, Lineage, ModelVersion
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA as REGISTRY
from stanchion.registry.packages import Packages
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.serving import BatchJob, BatchOrder, ServedSpec
from stanchion.serving.backends.onnx import OnnxRuntime
from stanchion.serving.batch.paths import Folders
from stanchion.serving.batch.service import BatchService, Engines
from stanchion.serving.batch.store import BatchStore
from stanchion.serving.module import MODULE
from stanchion.serving.pool import Pool
from stanchion.training import identifier

MODEL = "churn"
ADA = Context("t1", "ada", Rights(frozenset({"admin"}), frozenset({"*"})))


class Customer(BaseModel):
    customer_id: Annotated[str, Field(min_length=1, max_length=64), identifier]
    months: int = Field(ge=0, le=1200)
    charges: float = Field(ge=0, lt=10_000)
    contract: Literal["monthly", "yearly"] = "monthly"
    paperless: bool = True
    score: float | None = None


class Risk(BaseModel):
    prediction: Literal["low", "high"]
    probability: float


COLUMNS = [
    {"name": "months", "kind": "number", "categories": []},
    {"name": "charges", "kind": "number", "categories": []},
    {"name": "contract", "kind": "category", "categories": ["monthly", "yearly"]},
    {"name": "paperless", "kind": "number", "categories": []},
    {"name": "score", "kind": "number", "categories": []},
]
WEIGHTS = [-0.01, 0.0005, -1.0, 0.5, 0.0]


def graph(weights: Sequence[float] = WEIGHTS) -> bytes:
    """A logistic regression of the columns; an absent score counts as nothing."""
    import numpy
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("IsNaN", ["features"], ["absent"]),
        helper.make_node("Where", ["absent", "zero", "features"], ["present"]),
        helper.make_node("MatMul", ["present", "weights"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(numpy.array(weights, dtype=numpy.float32).reshape(-1, 1), "weights"),
        numpy_helper.from_array(numpy.array(0, dtype=numpy.float32), "zero"),
        numpy_helper.from_array(numpy.array(1, dtype=numpy.float32), "one"),
    ]
    made = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model.SerializeToString()


@dataclass
class Bench:
    """What a test needs. `folder` holds the stores; `files` is the folder that jobs may use."""

    folder: Path
    registry: RegistryService
    service: BatchService
    database: Any
    specs: Sequence[ServedSpec]

    @property
    def files(self) -> Path:
        return self.folder / "files"

    async def register(
        self, weights: Sequence[float] = WEIGHTS, *, about: Mapping[str, Any] | None = None
    ) -> ModelVersion:
        content = graph(weights)
        metadata = {
            "input": "features", "output": "probabilities", "columns": COLUMNS, "probability": "probability",
            "label": "prediction", "bands": [["low", 0.0], ["high", 0.5]], "rungs": {"primary": "model.onnx"},
            **(about or {}),
        }  # fmt: skip
        draft = Draft(
            model=MODEL, format="onnx", input_schema=Customer.model_json_schema(),
            output_schema=Risk.model_json_schema(mode="serialization"), metrics={}, parameters={}, metadata=metadata,
            lineage=Lineage("0" * 64, 100, "made up", "git:abc"),
            weights_sha256=hashlib.sha256(content).hexdigest(), card="",
        )  # fmt: skip
        return await self.registry.register(ADA, draft, {"model.onnx": content})

    def order(self, source: str, output: str = "out.parquet", **more: Any) -> BatchOrder:
        given = {"chunk_rows": 100, "picture": False, **more}
        return BatchOrder(str(self.files / source), str(self.files / output), **given)

    async def run(self, order: BatchOrder, *, model: str = MODEL, ctx: Context = ADA) -> BatchJob:
        """The job at its end."""
        last = None
        async for job in self.service.run(ctx, model, order):
            last = job
        assert last is not None
        return last

    def again(self, **changes: Any) -> BatchService:
        """Another process's service over the same stores."""
        return service_of(self.registry, self.database, self.files, self.specs, **changes)


def service_of(registry: Any, database: Any, files: Path, specs: Sequence[ServedSpec], **changes: Any) -> BatchService:
    clock = SystemClock()
    runtime = changes.pop("runtime", None) or OnnxRuntime()
    return BatchService(
        **{
            "store": BatchStore(database, clock),
            "engines": Engines(registry, runtime, Pool(threads=1, waiting=4), 1),
            "folders": Folders([str(files)], owner="t1"),
            "specs": specs,
            "owner": "t1",
            "clock": clock,
            "at_once": 1,
            **changes,
        }
    )


@asynccontextmanager
async def opened(folder: Path, *specs: ServedSpec, url: str = "", **changes: Any) -> AsyncIterator[Bench]:
    """A bench whose stores lie in the folder; its model is registered by `register`."""
    clock = SystemClock()
    (folder / "files").mkdir(parents=True, exist_ok=True)
    database = open_database(url or f"sqlite:///{folder}/state.db")
    blobs = open_blobs((folder / "blobs").as_uri())
    assert MODULE.schema is not None
    for schema in (REGISTRY, MODULE.schema()):
        await database.prepare(schema)
    store = SqlStore(database)
    registry = RegistryService(
        store=store,
        packages=Packages(store, blobs, clock=clock, most_bytes=1 << 24, abandoned_after=timedelta(hours=1)),
        seal=Seal(Signer.load_or_create(folder / "signing.key")),
        watch=Watch(store, poll_seconds=0.05),
        clock=clock,
        development=True,
    )
    service = service_of(registry, database, folder / "files", specs, **changes)
    try:
        yield Bench(folder, registry, service, database, specs)
    finally:
        await service.stop()
        await registry.stop()
        await blobs.close()
        await database.close()


def rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Sound customers."""
    chance = random.Random(seed)
    return [
        {
            "customer_id": f"c{number}",
            "months": chance.randrange(100),
            "charges": round(chance.random() * 200, 2),
            "contract": chance.choice(["monthly", "yearly"]),
            "paperless": chance.random() < 0.5,
            "score": None if chance.random() < 0.2 else round(chance.random(), 3),
        }
        for number in range(count)
    ]


def write_parquet(path: Path, given: Sequence[Mapping[str, Any]], **more: Any) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(given)), path, **more)
    return path


def write_csv(path: Path, given: Sequence[Mapping[str, Any]], *, quoting: Any = csv.QUOTE_MINIMAL) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(given[0]), quoting=quoting)
        writer.writeheader()
        writer.writerows([{k: "" if v is None else v for k, v in row.items()} for row in given])
    return path


def read(path: str | Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    found: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return found


def parts_of(bench: Bench) -> list[str]:
    """The names of all that lies in the folder."""
    return sorted(p.name for p in bench.files.iterdir())
