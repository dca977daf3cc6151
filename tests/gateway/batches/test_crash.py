"""Killed at any moment, a batch goes on: each line has one result, and only lines under way are called again."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stanchion.gateway import CallBatch, Gateway
from stanchion.testing.upstreams import Call, Reply, upstream

from .crash_child import CTX, LINES, opened

CHILD = Path(__file__).with_name("crash_child.py")
PARALLEL = 4


async def child(folder: Path, url: str, *more: str) -> Any:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), str(folder), url, *more, stdout=asyncio.subprocess.PIPE
    )


async def until_ended(gateway: Gateway, batch: str) -> CallBatch:
    while (found := await gateway.batch(CTX, batch)).state not in ("completed", "failed", "expired"):
        await asyncio.sleep(0.05)
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.soak)])
async def test_kill_9_loses_no_line_and_calls_none_twice_but_those_under_way(tmp_path: Path, kills: int) -> None:
    chance = random.Random(random.randrange(1 << 32))
    heard: Counter[str] = Counter()
    called = asyncio.Event()

    async def says(call: Call) -> Reply:
        heard[call.prompt] += 1
        called.set()
        await asyncio.sleep(0.02)
        return Reply(f"answer to {call.prompt}")

    async with upstream("openai", says) as up:
        batch = ""
        for kill in range(kills):
            process = await child(tmp_path, up.url, *([] if kill else ["order"]))
            if not kill:
                batch = (await process.stdout.readline()).decode().strip()
            assert await process.stdout.readline() == b"ready\n"
            called.clear()
            try:
                await asyncio.wait_for(called.wait(), 60 if kill == 0 else 5)
            except TimeoutError:
                assert heard.total() >= LINES, "nothing was taken up"
            # No condition is waited for: this is the random moment.
            await asyncio.sleep(chance.random() * 0.1)
            process.kill()
            await process.wait()
        async with opened(tmp_path, up.url) as house:
            gateway = house.door(Gateway)
            found = await until_ended(gateway, batch)
            assert (found.state, found.total, found.completed, found.failed) == ("completed", LINES, LINES, 0)
            content = b"".join([part async for part in gateway.file_content(CTX, found.output_file)])
    rows = [json.loads(row) for row in content.splitlines()]
    assert [row["custom_id"] for row in rows] == [f"q{n}" for n in range(LINES)]
    told = [row["response"]["body"]["choices"][0]["message"]["content"] for row in rows]
    assert told == [f"answer to line {n}" for n in range(LINES)]
    assert set(heard) == {f"line {n}" for n in range(LINES)}
    # What is unavoidable: the calls under way when the process died, of which nobody has the answer.
    assert LINES <= heard.total() <= LINES + kills * PARALLEL


async def test_two_processes_share_batches_and_never_a_line(tmp_path: Path) -> None:
    heard: Counter[str] = Counter()

    def says(call: Call) -> Reply:
        heard[call.prompt] += 1
        return Reply("Yes.")

    async with upstream("openai", says) as up, opened(tmp_path, up.url) as house:
        gateway = house.door(Gateway)
        process = await child(tmp_path, up.url, "order")
        try:
            batch = (await process.stdout.readline()).decode().strip()
            found = await until_ended(gateway, batch)
        finally:
            process.kill()
            await process.wait()
    assert (found.state, found.completed) == ("completed", LINES)
    assert set(heard.values()) == {1}
