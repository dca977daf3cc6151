"""Slow work runs in threads, within bounds; a lane keeps one model's runs in order and goes on by itself."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stanchion.core.errors import Throttled
from stanchion.serving.pool import Pool

PATIENCE = 60


async def test_a_lane_runs_in_order_and_never_more_at_once_than_it_may() -> None:
    pool, done, running = Pool(threads=4, waiting=100), [], []

    def work(number: int) -> int:
        running.append(number)
        done.append((number, len(running)))
        running.remove(number)
        return number * 2

    lane = pool.lane(1)
    assert await asyncio.gather(*(lane.run(work, number) for number in range(50))) == [2 * n for n in range(50)]
    assert done == [(number, 1) for number in range(50)]
    pool.close()


async def test_a_lane_begins_the_next_run_without_the_event_loop() -> None:
    pool, first, second = Pool(threads=2, waiting=4), threading.Event(), threading.Event()
    lane = pool.lane(1)
    waits = asyncio.create_task(lane.run(lambda event: event.wait(PATIENCE), first))
    tells = asyncio.create_task(lane.run(lambda event: event.set(), second))
    await asyncio.sleep(0)
    # Nothing of the loop runs between these two lines.
    first.set()
    assert second.wait(PATIENCE)
    await asyncio.gather(waits, tells)
    pool.close()


async def test_a_run_that_fails_leaves_its_lane_to_the_others() -> None:
    pool = Pool(threads=1, waiting=10)
    lane = pool.lane(1)
    found = await asyncio.gather(
        *(lane.run(lambda by: 6 // by, number) for number in (0, 1, 2)), return_exceptions=True
    )
    assert isinstance(found[0], ZeroDivisionError)
    assert found[1:] == [6, 3]
    pool.close()


async def test_what_waits_in_a_lane_counts_among_the_runs_of_its_pool() -> None:
    pool, release = Pool(threads=1, waiting=1), threading.Event()
    lane = pool.lane(1)
    runs = [asyncio.create_task(lane.run(lambda event: event.wait(PATIENCE), release)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Throttled):
        await pool.run(lambda number: number, 1)
    release.set()
    await asyncio.gather(*runs)
    pool.close()


async def test_nobody_waits_for_a_lane_whose_pool_is_closed() -> None:
    pool, release = Pool(threads=1, waiting=10), threading.Event()
    held = asyncio.create_task(pool.run(lambda event: event.wait(PATIENCE), release))
    await asyncio.sleep(0)
    left = [asyncio.create_task(pool.lane(1).run(lambda number: number, number)) for number in range(3)]
    await asyncio.sleep(0)
    pool.close()
    found = await asyncio.gather(*left, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in found)
    release.set()
    await held
