"""A view over a table, materialised: what the tests of materialisation and its crashing child have in common."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stanchion.core.clock import Clock, micros
from stanchion.core.context import Context, Effect
from stanchion.core.storage import Database, KeyValue
from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.features import Aggregate, SourceSpec, Table, ViewSpec
from stanchion.features.backends.duck import Duck
from stanchion.features.backends.jobs import SqlJobs
from stanchion.features.backends.log import SqlLog
from stanchion.features.backends.tables import SCHEMA
from stanchion.features.materialise.service import Materialise, Pace
from stanchion.features.offline.relations import Relations
from stanchion.features.online.catalogue import Catalogue
from stanchion.features.online.changes import Changes
from stanchion.features.online.values import OnlineValues

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CTX = Context("t1", "ada")


class Payment(BaseModel):
    card: str
    at: datetime
    known: datetime
    id: str
    amount: float


class Spending(BaseModel):
    amount: float
    count_1d: int
    sum_2d: float
    most_2d: float | None


def payments(rows: int, seed: int = 1) -> list[dict[str, Any]]:
    """Payments of three days, some late, some corrected."""
    chance = random.Random(seed)
    made: list[dict[str, Any]] = []
    for number in range(rows):
        at = NOW - timedelta(seconds=chance.randrange(3 * 86_400))
        known = at + timedelta(seconds=chance.choice([0, 1, 9_000]))
        row = {"card": f"c{chance.randrange(20)}", "at": at, "known": known, "id": f"e{number}"}
        made.append({**row, "amount": chance.randrange(1, 10_000) / 100})
        if chance.random() < 0.1:
            made.append({**row, "known": known + HOUR, "amount": 1.25})
    return [row for row in made if row["known"] <= NOW]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "payments") -> None:
    """The rows as a Parquet file of the table."""
    import pyarrow
    import pyarrow.parquet

    (folder / "table").mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "table" / f"{name}.parquet")


def view(folder: Path, *, known: str | None = "known", place: Table | None = None) -> ViewSpec:
    """The view over the folder's table."""
    table = place or Table("parquet", str(folder / "table" / "*.parquet"))
    aggregates = {
        "count_1d": Aggregate("count", timedelta(days=1)),
        "sum_2d": Aggregate("sum", timedelta(days=2), "amount"),
        "most_2d": Aggregate("max", timedelta(days=2), "amount"),
    }
    source = SourceSpec("payments", Payment, "at", known, table, "id")
    return ViewSpec("spending", Spending, "card", timedelta(days=10), source, {}, aggregates)


@dataclass
class Running:
    """A materialisation over its stores."""

    materialise: Materialise
    values: OnlineValues
    catalogue: Catalogue
    database: Database
    keyvalue: KeyValue
    jobs: SqlJobs

    async def run(self, **options: Any) -> list[Any]:
        """The progress of a whole run."""
        effect = Effect("features:write", "write", "FeatureView::spending", "t1", "ada", "r", "t")
        return [each async for each in self.materialise.materialise(CTX.within(effect), "spending", **options)]

    async def read(self, at: datetime = NOW) -> Mapping[str, Any]:
        """What every card's values are at a moment."""
        shape = self.catalogue.shape("spending")
        keys = [f"c{number}" for number in range(20)]
        found = await self.values.get("t1", shape, keys)
        return {key: shape.state.read(key, each, micros(at)) for key, each in zip(keys, found, strict=True)}


@asynccontextmanager
async def running(
    folder: Path, clock: Clock, *, spec: ViewSpec | None = None, stores: str | None = None, journal: Any = None
) -> AsyncIterator[Running]:
    """The parts over stores in the folder, or in memory."""
    database = open_database("memory:" if stores == "memory" else f"sqlite://{folder}/state.db", journal=journal)
    await database.prepare(SCHEMA)
    keyvalue = open_keyvalue("memory:" if stores == "memory" else f"sqlite://{folder}/kv.db", clock=clock)
    catalogue = Catalogue([spec or view(folder)])
    values = OnlineValues(keyvalue, clock, Changes(keyvalue, ["spending"], poll_seconds=60))

    async def secret(name: str) -> str:
        return f"sqlite:///{folder}/{name.removeprefix('store:')}.db"

    plans = [shape.plan for shape in catalogue.shapes.values()]
    relations = Relations(plans, tenant="t1", resolve=secret, log=SqlLog(database))
    engine = Duck(folder=folder / "spill", home=folder, memory_mb=256, threads=1)
    jobs = SqlJobs(database)
    made = Materialise(
        catalogue.shapes,
        values,
        relations=relations,
        engine=engine,
        jobs=jobs,
        clock=clock,
        pace=Pace(4 * HOUR, timedelta(seconds=60)),
    )
    try:
        yield Running(made, values, catalogue, database, keyvalue, jobs)
    finally:
        await keyvalue.close()
        await database.close()
