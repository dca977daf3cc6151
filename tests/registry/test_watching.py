"""Watchers hear at once of changes made here, by polling of those made elsewhere, and of none twice or never."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput, Unavailable
from stanchion.testing.registry_cases import ADA, FILES, draft


async def test_another_process_s_change_is_seen_by_polling(bench: Any) -> None:
    here, elsewhere = bench.registry(poll_seconds=0.01), bench.registry()
    await here.register(ADA, draft(), FILES)
    waiting = asyncio.create_task(anext(here.watch(ADA, since=1)))
    await elsewhere.register(ADA, draft(weights="w2"), FILES)
    async with asyncio.timeout(60):
        assert (await waiting).version == "1.1.0"


async def test_a_change_made_here_is_seen_without_polling(bench: Any) -> None:
    registry = bench.registry(poll_seconds=60)
    waiting = asyncio.create_task(anext(registry.watch(ADA, since=0)))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await registry.register(ADA, draft(), FILES)
        assert (await waiting).version == "1.0.0"


async def test_many_watchers_each_hear_of_every_change(bench: Any) -> None:
    registry = bench.registry()

    async def cursors() -> list[int]:
        stream, found = registry.watch(ADA, since=0), []
        while len(found) < 30:
            found.append((await anext(stream)).cursor)
        return found

    watching = [asyncio.create_task(cursors()) for _ in range(5)]
    for number in range(30):
        await registry.register(ADA, draft(weights=f"w{number}"), FILES)
    async with asyncio.timeout(60):
        assert await asyncio.gather(*watching) == [list(range(1, 31))] * 5


async def test_stopping_ends_all_watching(registry: Any) -> None:
    waiting = asyncio.create_task(anext(registry.watch(ADA, since=0)))
    await asyncio.sleep(0)
    await registry.stop()
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable):
            await waiting


async def test_a_cursor_that_is_none_is_refused(registry: Any) -> None:
    with pytest.raises(InvalidInput):
        await anext(registry.watch(ADA, since=-2))
