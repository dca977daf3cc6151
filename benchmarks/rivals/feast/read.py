"""Reads features online with Feast, as often as it is told on stdin: the far side of features/feast_online.py.

Started with Feast's own Python: read.py sqlite|redis FOLDER [REDIS_URL]. It fills the store, prints a ready line, and
answers each line `{"keys": [...], "times": n}` with its CPU and wall time a read and the values of the last one.
Reading is `get_online_features(...).to_dict()` with a feature service, as Feast's quickstart does it. The registry is a
file, which Feast keeps in memory for ten minutes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

os.environ["FEAST_USAGE"] = "False"

import pandas
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RepoConfig,
    ValueType,
)
from feast.types import Float64

ENTITIES = 1_000
NAMES = [f"f{number}" for number in range(10)]


def opened(kind: str, folder: Path, redis: str) -> tuple[FeatureStore, FeatureService]:
    """A filled store of one view with ten numbers."""
    place = urlsplit(redis)
    online = (
        {"type": "redis", "connection_string": f"{place.hostname}:{place.port},db=1"}
        if kind == "redis"
        else {"type": "sqlite", "path": str(folder / "online.db")}
    )
    registry = {"registry_type": "file", "path": str(folder / "registry.db"), "cache_ttl_seconds": 600}
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=registry,
            online_store=online,
            offline_store={"type": "file"},
            entity_key_serialization_version=3,
        )
    )
    rows = pandas.DataFrame({"customer": [f"c{number}" for number in range(ENTITIES)]})
    for place_of, name in enumerate(NAMES):
        rows[name] = [number + place_of / 10 for number in range(ENTITIES)]
    rows["at"] = datetime.now(UTC)
    rows.to_parquet(folder / "rows.parquet")
    customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.STRING)
    source = PushSource(name="pushed", batch_source=FileSource(path=str(folder / "rows.parquet"), timestamp_field="at"))
    view = FeatureView(
        name="spending",
        entities=[customer],
        ttl=timedelta(days=1),
        schema=[Field(name=name, dtype=Float64) for name in NAMES],
        source=source,
    )
    service = FeatureService(name="ten", features=[view])
    store.apply([customer, source, view, service])
    store.write_to_online_store("spending", rows)
    return store, store.get_feature_service("ten")


def main(kind: str, folder: Path, redis: str) -> None:
    store, service = opened(kind, folder, redis)
    print(json.dumps({"event": "ready"}), flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        rows = [{"customer": key} for key in ask["keys"]]
        told: dict[str, list[float]] = {}
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(ask["times"]):
            told = store.get_online_features(features=service, entity_rows=rows).to_dict()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        values = [[told[name][row] for name in NAMES] for row in range(len(rows))]
        each = 1e6 / ask["times"]
        print(json.dumps({"cpu_us": cpu * each, "us": wall * each, "values": values}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
