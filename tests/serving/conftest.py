"""A serving service over a real registry in memory, with graphs that do as they are told."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from stanchion.core.clock import Clock
from stanchion.core.context import Context, Rights
from stanchion.core.security.signing import Signer
from stanchion.core.storage import Blobs, Database
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.core.telemetry.metrics import Metrics
from stanchion.registry import Draft, Lineage, ModelVersion
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA
from stanchion.registry.packages import Packages
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.serving import ServedSpec
from stanchion.serving.backends.scripted import ScriptedRuntime
from stanchion.serving.follow import Backoff
from stanchion.serving.pool import Pool
from stanchion.serving.service import ServingService
from stanchion.serving.shelf import Limits
from stanchion.testing.clock import FakeClock
from stanchion.training import identifier


class Customer(BaseModel):
    customer_id: Annotated[str, Field(min_length=1, max_length=64), identifier]
    months: int = Field(ge=0, le=1200)
    charges: float = Field(ge=0, le=10_000)
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


def long_standing(customer: Customer) -> Risk | None:
    return Risk(prediction="low", probability=0.01) if customer.months >= 24 else None


def metadata(*rungs: str) -> dict[str, Any]:
    return {
        "input": "features",
        "output": "probabilities",
        "columns": COLUMNS,
        "probability": "probability",
        "label": "prediction",
        "bands": [["low", 0.0], ["high", 0.5]],
        "rungs": {rung: f"{'model' if rung == 'primary' else rung}.onnx" for rung in rungs or ("primary", "simple")},
    }


def _without(schema: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**schema, "properties": {name: each for name, each in schema["properties"].items() if name not in names}}


def caller(tenant: str = "t1", principal: str = "ada") -> Context:
    return Context(tenant=tenant, principal=principal, rights=Rights(frozenset({"admin"}), frozenset({"*"})))


@dataclass
class Bench:
    """A registry and what it stands on; services are made from it."""

    database: Database
    blobs: Blobs
    registry: RegistryService
    runtime: ScriptedRuntime
    clock: FakeClock
    metrics: Metrics

    async def register(
        self,
        name: str,
        probability: float = 0.7,
        *,
        model: str = "churn",
        tenant: str = "t1",
        files: Mapping[str, bytes] | None = None,
        about: Mapping[str, Any] | None = None,
        promote: bool = False,
        without: Sequence[str] = (),
    ) -> ModelVersion:
        given = {
            "model.onnx": ScriptedRuntime.file(name, probability),
            "simple.onnx": ScriptedRuntime.file(f"{name}-simple", 0.4),
            **(files or {}),
        }
        draft = Draft(
            model=model,
            format="onnx",
            input_schema=_without(Customer.model_json_schema(), without),
            output_schema=Risk.model_json_schema(mode="serialization"),
            metrics={"roc_auc": 0.8},
            parameters={},
            metadata={**metadata(), **(about or {})},
            lineage=Lineage("0" * 64, 100, "made up", "git:abc"),
            weights_sha256=hashlib.sha256(name.encode()).hexdigest(),
            card="",
        )
        version = await self.registry.register(caller(tenant), draft, given)
        if promote:
            await self.registry.promote(caller(tenant), model, version.version, to="production", evidence="compared")
        return version

    def spec(self, **changes: Any) -> ServedSpec:
        default = Risk(prediction="high", probability=0.5)
        return ServedSpec(
            **{"name": "churn", "input": Customer, "output": Risk, "rule": long_standing, "default": default, **changes}
        )

    def serving(self, *specs: ServedSpec, clock: Clock | None = None, **changes: Any) -> ServingService:
        options: dict[str, Any] = {
            "registry": self.registry,
            "runtime": self.runtime,
            "metrics": self.metrics,
            "clock": clock or self.clock,
            "tenant": "t1",
            "pool": Pool(threads=2, waiting=4),
            "limits": Limits(),
            "backoff": Backoff(0.01, 0.05),
            "inline_seconds": 1.0,
            **changes,
        }
        return ServingService(specs=specs or [self.spec()], **options)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    database, blobs, clock = open_database("memory:"), open_blobs("memory:"), FakeClock()
    await database.prepare(SCHEMA)
    store = SqlStore(database)
    registry = RegistryService(
        store=store,
        packages=Packages(store, blobs, clock=clock, most_bytes=1 << 24, abandoned_after=timedelta(hours=1)),
        seal=Seal(Signer.generate()),
        watch=Watch(store, poll_seconds=0.05),
        clock=clock,
        development=True,
    )
    yield Bench(database, blobs, registry, ScriptedRuntime(), clock, Metrics())
    await registry.stop()
    await blobs.close()
    await database.close()


@pytest.fixture
def ctx() -> Context:
    return caller()


@pytest.fixture
def stranger() -> Context:
    return caller("t2", "eve")


@pytest.fixture
def customer() -> dict[str, Any]:
    return {"customer_id": "12345", "months": 12, "charges": 89.99}
