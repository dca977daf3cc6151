"""What the upstreams would bill is what the ledger holds and the invoices say, through faults, retries and streams."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stanchion.core.errors import StanchionError
from stanchion.gateway import Ask, Gateway
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Call, Fault, Reply, Served, Usage, upstream

CALLS = 240
PRICES = {"first": (3, 15), "second": (1, 5)}  # picodollars a token, in millions


def says(call: Call) -> Reply:
    """Usage that no estimate would guess."""
    number = len(call.prompt)
    return Reply("Noted. " * (1 + number % 3), usage=Usage(tokens_in=100 + 7 * number, tokens_out=11 + number % 13))


def billed(served: list[Served], name: str) -> int:
    into, out = PRICES[name]
    return sum(each.usage.tokens_in * into + each.usage.tokens_out * out for each in served) * 10**6


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
async def test_ledger_invoices_and_upstreams_agree_to_the_last_picodollar(share: float) -> None:
    faults = {Fault("failed"): 0.4 * share, Fault("reset"): 0.3 * share, Fault("overloaded"): 0.3 * share}
    async with upstream("openai", says, faults=faults, seed=5) as first, upstream("anthropic", says) as second:
        app = System("money")
        one = app.upstream("first", kind="openai", url=first.url + "/v1")
        two = app.upstream("second", kind="anthropic", url=second.url)
        app.language_model("one", upstream=one, input_price="3", output_price="15")
        app.language_model("two", upstream=two, input_price="1", output_price="5")
        app.route("notes", primary="one", fallbacks=["two"], attempts=2)
        async with offline(app) as running:
            gateway = running.door(Gateway)
            told = sum(await asyncio.gather(*(_cost(gateway, running.ctx, number) for number in range(CALLS))))
            sent = billed(list(first.served), "first") + billed(list(second.served), "second")
            assert told == sent > 0
            today = datetime.now(UTC).date()
            start, end = today - timedelta(days=1), today + timedelta(days=1)
            lines = await gateway.usage(running.ctx, start=start, end=end, by=["provider"])
            assert sum(line.cost for line in lines) == sent
            assert sum(line.requests for line in lines) == len(first.served) + len(second.served) == CALLS
            invoice = await gateway.invoice(running.ctx, start=start, end=end)
            assert invoice.cost == sent


async def _cost(gateway: Gateway, ctx: Any, number: int) -> int:
    body = {"model": "route:notes", "messages": [{"role": "user", "content": "x" * (1 + number % 40)}]}
    if number % 2:
        reply = await gateway.complete(ctx, Ask("chat", json.dumps(body).encode()))
        return reply.account.cost
    cost = 0
    try:
        async for piece in gateway.stream(ctx, Ask("chat", json.dumps({**body, "stream": True}).encode())):
            cost = piece.account.cost if piece.account is not None else cost
    except StanchionError:
        pytest.fail("a fallback could have answered")
    return cost
