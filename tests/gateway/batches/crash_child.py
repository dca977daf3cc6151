"""Works batches off until it is killed. Run as a program by test_crash.py: its arguments are a folder and an upstream's
address. It says `ready` once batches can be taken up, and with `order` as a third argument it begins one first.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.settings import HouseSettings
from stanchion.gateway import CallBatchOrder, Gateway
from stanchion.gateway.module import GatewaySettings
from stanchion.system import System
from stanchion.system.house import House

LINES = 60
CTX = Context("t1", "key:author", Rights(roles=frozenset({"predictor"})))


def system(url: str) -> System:
    app = System("crash")
    hosted = app.upstream("hosted", kind="openai", url=url + "/v1")
    app.language_model("gpt", upstream=hosted, model="gpt-4o-mini")
    return app


@asynccontextmanager
async def opened(folder: Path, url: str) -> AsyncIterator[House]:
    house = await House.open(
        HouseSettings.model_validate({"tenant": "t1"}),
        folder,
        clock=SystemClock(),
        environment={},
        declared=system(url),
        module_settings={"gateway": GatewaySettings(batch_parallel=4, batch_lease_seconds=0.5)},
    )
    try:
        await house.start()
        yield house
    finally:
        await house.close()


async def order(gateway: Gateway) -> str:
    """Begin a batch; its id."""
    lines = [
        {
            "custom_id": f"q{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt", "messages": [{"role": "user", "content": f"line {n}"}]},
        }
        for n in range(LINES)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = await gateway.add_file(CTX, "calls.jsonl", content)
    return (await gateway.create_batch(CTX, CallBatchOrder(file.id, "/v1/chat/completions"))).id


async def main(folder: str, url: str, *more: Any) -> None:
    async with opened(Path(folder), url) as house:
        if more:
            print(await order(house.door(Gateway)), flush=True)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
