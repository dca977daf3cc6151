"""The churn model out of a data folder, as the two files that the bare handler and the rivals load.

Run: python benchmarks/serving/package.py DATA TARGET. The registry checks signature and digests on the way out.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.settings import HouseSettings, ModulesSettings
from stanchion.registry import Registry
from stanchion.system.house import House

MODEL = "customer-churn-v2"


def unpack(data: Path, target: Path) -> None:
    """Write `model.onnx` and `package.json` (the version's metadata) of the version that is served."""
    graph, metadata = asyncio.run(_read(data))
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnx").write_bytes(graph)
    (target / "package.json").write_text(metadata)


async def _read(data: Path) -> tuple[bytes, str]:
    settings = HouseSettings(modules=ModulesSettings(enabled=("registry",)))
    house = await House.open(settings, data, clock=SystemClock(), environment={})
    try:
        registry = house.door(Registry)
        ctx = Context(settings.tenant, "benchmark", rights=Rights(roles=frozenset({"admin"})))
        version = await registry.resolve(ctx, MODEL)
        metadata = dict(version.metadata)
        rungs = metadata["rungs"]
        assert isinstance(rungs, dict), "a served version names its rungs"
        pieces = [piece async for piece in registry.artifact(ctx, MODEL, version.version, str(rungs["primary"]))]
    finally:
        await house.close()
    return b"".join(pieces), json.dumps(metadata)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
