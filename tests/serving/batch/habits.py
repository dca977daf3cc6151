"""Features of the shape that a fraud model reads: windows over a stream of payments, and a transform of the request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batch_bench import ADA, COLUMNS, WEIGHTS, Bench, Customer, Risk, opened
from pydantic import BaseModel

from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.features import Features, OnDemandSpec, Row, ServiceSpec, SourceSpec, ViewSpec, count, mean
from stanchion.features.backends.duck import Duck
from stanchion.features.backends.log import SqlLog
from stanchion.features.backends.tables import SCHEMA
from stanchion.features.offline.relations import Relations
from stanchion.features.offline.service import Historical
from stanchion.features.offline.spine import Limits
from stanchion.features.online.catalogue import Catalogue
from stanchion.features.service import FeatureService
from stanchion.serving import Lookup, Options, ServedSpec
from stanchion.serving.backends.onnx import OnnxRuntime
from stanchion.serving.batch.service import Engines
from stanchion.serving.pool import Pool
from stanchion.testing.clock import FakeClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
READ = ("payments_1h", "mean_1d", "over_mean")


class Paid(BaseModel):
    card: str
    at: datetime
    id: int
    amount: float


class Spending(BaseModel):
    payments_1h: int
    mean_1d: float | None


class Charge(BaseModel):
    charges: float


class Compared(BaseModel):
    over_mean: float | None


def compared(inputs: Mapping[str, Any]) -> Compared:
    return Compared(over_mean=inputs["charges"] / inputs["mean_1d"] if inputs["mean_1d"] else None)


_PAID = SourceSpec("payments", Paid, "at", event="id")
_WINDOWS = {"payments_1h": count(hours=1), "mean_1d": mean("amount", days=1)}
DECLARED: Sequence[object] = (
    _PAID,
    ViewSpec("spending", Spending, "card", 48 * HOUR, _PAID, {}, _WINDOWS),
    OnDemandSpec("compared", ["spending"], Charge, Compared, compared),
    ServiceSpec("habits", ["spending"], ["compared"]),
)


def lookup(**changes: Any) -> Lookup:
    given = {"service": "habits", "entities": {"card": "customer_id"}, "fields": READ, "request": ("charges",)}
    return Lookup(**{**given, **changes})


def spec(*, rule: Any = None, default: Any = None, **changes: Any) -> ServedSpec:
    options = Options(features=lookup(**changes))
    return ServedSpec("churn", Customer, Risk, rule=rule, default=default, options=options)


@asynccontextmanager
async def store(folder: Path, clock: FakeClock, declared: Sequence[object] = DECLARED) -> AsyncIterator[FeatureService]:
    """A feature store whose rows and values are kept in the folder."""
    database = open_database(f"sqlite:///{folder}/features.db")
    keyvalue = open_keyvalue(f"sqlite:///{folder}/values.db", clock=clock)
    await database.prepare(SCHEMA)
    catalogue, rows = Catalogue(declared), SqlLog(database)
    engine = Duck(folder=folder / "spill", home=folder, memory_mb=256, threads=1)

    async def no_secret(name: str) -> str:
        raise AssertionError(name)

    plans = [shape.plan for shape in catalogue.shapes.values()]
    relations = Relations(plans, tenant="t1", resolve=no_secret, log=rows)
    services = [each for each in declared if isinstance(each, ServiceSpec)]
    yield FeatureService(
        catalogue,
        store=keyvalue,
        clock=clock,
        rows=rows,
        engine=engine,
        historical=Historical(
            services, catalogue.transforms, relations=relations, engine=engine, limits=Limits(8, 100_000)
        ),
    )
    await keyvalue.close()
    await database.close()


async def pay(features: Features, clock: FakeClock, card: str, number: int, amount: float, *, age: float = 0) -> None:
    """A payment made `age` seconds ago becomes known now."""
    at = clock.now() - timedelta(seconds=age)
    values: Any = {"card": card, "at": at.isoformat(), "id": number, "amount": amount}
    await features.push(ADA, "spending", [Row(card, values, at)])


@asynccontextmanager
async def running(
    folder: Path, clock: FakeClock, served: ServedSpec, features: Features, *, pinned: str = ""
) -> AsyncIterator[Bench]:
    """A bench whose model `churn` reads the habits of a card beside its own fields."""
    async with opened(folder, served) as bench:
        columns = [*COLUMNS, *({"name": name, "kind": "number", "categories": []} for name in READ)]
        about: dict[str, Any] = {"columns": columns}
        if pinned:
            about["features"] = {"service": "habits", "fingerprint": pinned, "fields": list(READ)}
        weights = [*WEIGHTS, 0.5, 0.002, 0.03]
        if not await bench.registry.models(ADA):
            await bench.register(weights, about=about)
        engines = Engines(bench.registry, OnnxRuntime(), Pool(threads=1, waiting=4), 1, features)
        bench.service = bench.again(engines=engines)
        yield bench
