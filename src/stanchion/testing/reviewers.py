"""A made-up reviewer for tests of systems that ask people: takes what waits and decides it by a function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from stanchion.core.context import Rights
from stanchion.review import Case, Reviews, Settled, Submission

from .offline import Offline

Judge = Callable[[Case], Mapping[str, Any]]
SCOPES = frozenset({"review:read", "review:see", "review:claim", "review:decide"})


def approve(case: Case) -> Mapping[str, Any]:
    """Whatever is proposed."""
    return {"verdict": "approve"}


@asynccontextmanager
async def reviewer(
    running: Offline, judge: Judge = approve, *, queue: str = "", name: str = "user:reviewer"
) -> AsyncIterator[list[Settled]]:
    """While the block runs, a person decides items as `judge` says: `verdict` and what `Submission` has besides.

    Gives the list of what became of each decision; it grows. An error of the judge ends the block with it.
    """
    ctx = replace(running.ctx, principal=name, rights=Rights(scopes=SCOPES))
    reviews, settled = running.door(Reviews), list[Settled]()

    async def work() -> None:
        while True:
            for case in await reviews.claim(ctx, queue=queue):
                item, said = case.item, {"verdict": "approve", **judge(case)}
                decision = Submission(item.id, item.version, case.digest, case.token or 0, **said)
                settled.extend(await reviews.decide(ctx, [decision]))
            await asyncio.sleep(0.01)  # nothing tells a reviewer of new items but another look

    working = asyncio.create_task(work())
    try:
        yield settled
    finally:
        if not working.done():
            working.cancel()
        with suppress(asyncio.CancelledError):
            await working
