"""What the gateway adds to the time of a call while 200 come each second, whether or not earlier ones are answered.

Run: python benchmarks/gateway/steady.py [--rate 200] [--rounds 5] [--seconds 5]. An open loop over 32 kept connections:
the time of a call runs from the moment at which it was due. The upstream answers at once; it is asked directly, through
the least that passes calls on, and through the gateway, in turn. What is added is the difference to the direct calls of
the same round; told are the medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from statistics import median

import sides
from real_time import Call, percentile, stream
from sides import CHAT, Load, chat

WARM_SECONDS = 2


def measured(load: Load, *, rate: float, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    asked = [Call("chat", load.body) for _ in range(int(rate * seconds))]
    asyncio.run(stream(load.server, asked, rate, load.path))
    times = [call.seconds * 1000 for call in asked]
    return percentile(times, 50), percentile(times, 99)


def added(loads: dict[str, Load], *, rate: float, rounds: int, seconds: float) -> dict[str, float]:
    """Percentiles of each, and what is added to the direct ones."""
    for each in loads.values():
        measured(each, rate=rate, seconds=WARM_SECONDS)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in loads}
    for _ in range(rounds):
        for name, each in loads.items():
            found[name].append(measured(each, rate=rate, seconds=seconds))
    figures: dict[str, float] = {}
    for place, words in enumerate(("p50", "p99")):
        for name, rows in found.items():
            figures[f"{name}_{words}_ms"] = median(times[place] for times in rows)
            if name != "direct":
                more = [times[place] - bare[place] for times, bare in zip(rows, found["direct"], strict=True)]
                figures[f"{name}_added_{words}_ms"] = median(more)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=200, help="calls a second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    asked = parser.parse_args()
    with sides.upstream() as direct, sides.passing(direct) as passing, sides.gateway(direct) as ours:
        body = chat("route:at-once")
        loads = {
            "direct": Load(direct, "/0" + CHAT, body),
            "passing": Load(passing, "/0" + CHAT, body),
            "stanchion": Load(ours, CHAT, body),
        }
        figures = added(loads, rate=asked.rate, rounds=asked.rounds, seconds=asked.seconds)
    print(json.dumps({"benchmark": "gateway/steady", **{name: round(each, 3) for name, each in figures.items()}}))


if __name__ == "__main__":
    main()
