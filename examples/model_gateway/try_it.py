"""Asks the three routes, with scripted servers in place of two providers; then again while the first one fails."""

import asyncio
import os
from pathlib import Path

from stanchion.core.declaration import load_declarations
from stanchion.gateway import Ask, Gateway
from stanchion.testing import offline
from stanchion.testing.upstreams import Fault, upstream

ROUTES = ("simple-classification", "complex-reasoning", "code-generation")
BODY = (
    '{"model": "route:%s", "messages": [{"role": "user", "content": "The shop opens at nine.\\nWhen does it open?"}]}'
)


async def main() -> list[tuple[str, str, str, str]]:
    """One line for each call: what the servers did, the route, who answered, and the cost in dollars."""
    lines = []
    async with upstream("openai", "scripted: at nine") as first, upstream("anthropic", "scripted: at nine") as second:
        os.environ["FIRST_URL"], os.environ["SECOND_URL"] = first.url + "/v1", second.url
        app = load_declarations(Path(__file__).with_name("system.py"))
        async with offline(app) as running:
            gateway = running.door(Gateway)
            for state in ("both well", "first fails", "both fail"):
                first.faults = {} if state == "both well" else {Fault("failed"): 1.0}
                second.faults = {Fault("overloaded"): 1.0} if state == "both fail" else {}
                for route in ROUTES:
                    account = (await gateway.complete(running.ctx, Ask("chat", (BODY % route).encode()))).account
                    who = f"{account.rung}: {account.model} at {account.upstream}"
                    lines.append((state, route, who, f"{account.cost / 10**12:.6f}"))
    return lines


if __name__ == "__main__":
    for line in asyncio.run(main()):
        print("{:12} {:22} {:38} ${}".format(*line))
