"""What the guarded price earns from the same guests as the base price: `python examples/dynamic_pricing/compare.py`.

Possible only because the guests are generated: of each it is known what the night is worth to him. The model sees
nothing of that. The flag is on for everybody here, so that every guest counts on every side. Trains the model first.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
from nights import situations, worth
from system import ROLLOUT, Price, Room, app, price, sidecar

from stanchion.core.flags import Flags
from stanchion.testing import offline

BASE_PRICE = 120.0


async def compared(guests: int, seed: int) -> dict[str, Any]:
    """Revenue a guest at the base price, at the model's price whatever the guard says, and at the guarded price."""
    draw = numpy.random.default_rng(seed)
    nights = situations(draw, guests)
    pays = numpy.asarray(worth(draw, nights)) * BASE_PRICE
    reasons: Counter[str] = Counter()
    earned = {"base": 0.0, "unguarded": 0.0, "guarded": 0.0}
    async with offline(app, train=["booking"], file=Path(__file__).with_name("system.py")) as running:
        await running.door(Flags).set(running.ctx, ROLLOUT.key, _for_everybody())
        for place, row in enumerate(nights.to_dict("records")):
            room = Room(room_id=f"r{place}", base_price=BASE_PRICE, **row)
            free: Price = await price.predict(running.ctx, room)
            advice = await sidecar.advise(running.ctx, room, BASE_PRICE, unit=f"guest-{place}")
            reasons[advice.reason] += 1
            asked = {"base": BASE_PRICE, "unguarded": free.price, "guarded": float(str(advice.value))}
            for side, amount in asked.items():
                earned[side] += amount if pays[place] >= amount else 0.0
            await sidecar.settle(running.ctx, advice.request_id, asked["guarded"] * (pays[place] >= asked["guarded"]))
        report = await sidecar.report(running.ctx)
    return {
        "guests": guests,
        "revenue_per_guest": {side: round(total / guests, 2) for side, total in earned.items()},
        "guarded_over_base": round(earned["guarded"] / earned["base"], 4),
        "unguarded_over_base": round(earned["unguarded"] / earned["base"], 4),
        "reasons": dict(sorted(reasons.items())),
        "settled": sum(each.settled for each in report.by_reason.values()),
    }


def _for_everybody() -> Any:
    from dataclasses import replace

    return replace(ROLLOUT, rules=(), split={"on": 100, "off": 0})


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(asyncio.run(compared(int(given[0]) if given else 4_000, seed=11))))
