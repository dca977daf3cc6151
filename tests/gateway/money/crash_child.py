"""Makes calls for ever, telling on stdout what was settled and what is known to be stored, until it is killed.

Run as a program by test_crash.py: arguments are the URLs of the database and of the key-value store
(where budgets are counted unless it is `memory:`), the limit in dollars,
and a number that no former run had.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.errors import BudgetExceeded
from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.core.storage.schema import Schema
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.contract.money import BudgetSpec, Limit, PriceSpec
from stanchion.gateway.money.service import MoneyService
from stanchion.gateway.money.tables import metadata

COST = 10 * 1_000_000 + 10 * 2_000_000


def tell(*words: object) -> None:
    print(*words, flush=True)


async def one(service: MoneyService, name: str) -> None:
    ctx = Context("t1", "key:a", request_id=name)
    try:
        held = await service.reserve(ctx, provider="a", model="b", tokens=50, most=2 * COST, tags={})
    except BudgetExceeded:
        tell("refused", name)
        await asyncio.sleep(0)
        return
    await asyncio.sleep(0)  # other calls come between
    cost = await service.settle(ctx, held, Usage(10, 10), price=service.prices.price("a", "b"), outcome="ok")
    tell("settled", name, cost)


async def main(url: str, keyvalue: str, limit: str, run: str) -> None:
    clock = SystemClock()
    database = open_database(url)
    await database.prepare(Schema("gateway", metadata))
    price = PriceSpec("a", "b", input="1", output="2")
    service = MoneyService(
        database=database,
        keyvalue=open_keyvalue(keyvalue, clock=clock),
        shared="database" if keyvalue == "memory:" else "keyvalue",
        clock=clock,
        budgets=[BudgetSpec("all", limits=(Limit("month", cost=limit),))],
        prices=[price],
        catalogue=False,
    )
    await service.start()
    tell("ready")
    step = 0
    while True:
        step += 1
        await asyncio.gather(*(one(service, f"{run}-{step}-{i}") for i in range(5)))
        if step % 4 == 0:
            today = clock.now().date()
            await service.usage(Context("t1", "key:a"), start=today, end=today + timedelta(days=1))
            tell("stored", step)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
