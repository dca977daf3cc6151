"""Who waits for a run hears of it when this process lets it go, and after its time otherwise."""

from __future__ import annotations

import asyncio

from stanchion.pipelines.running.bells import Bells

NEVER = 3_600.0


async def test_all_who_wait_for_a_run_hear_it_and_nobody_else() -> None:
    bells = Bells()
    waiting = [asyncio.create_task(bells.heard("a", NEVER)) for _ in range(3)]
    other = asyncio.create_task(bells.heard("b", NEVER))
    await asyncio.sleep(0)
    bells.ring("a")
    bells.ring("unknown")
    await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert not other.done()
    other.cancel()


async def test_a_bell_that_rang_is_not_heard_by_those_who_come_later() -> None:
    bells = Bells()
    first = asyncio.create_task(bells.heard("a", NEVER))
    await asyncio.sleep(0)
    bells.ring("a")
    later = asyncio.create_task(bells.heard("a", NEVER))
    await asyncio.wait_for(first, 60)
    assert not later.done()
    later.cancel()


async def test_what_does_not_ring_is_left_after_its_time_and_forgotten() -> None:
    bells = Bells()
    await bells.heard("a", 0.01)
    assert len(bells._of) == 0
