"""Live calls never wait for a batch; a batch makes room for them, and still comes to its end."""

from __future__ import annotations

import asyncio

from stanchion.gateway.batches.pacing import Load, Turns


class Bench:
    """Calls of a batch, each of which ends when it is told to."""

    def __init__(self, most: int) -> None:
        self.load = Load()
        self.turns = Turns(self.load, most)
        self.begun: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, count: int) -> None:
        self.tasks += [asyncio.create_task(self._one()) for _ in range(count)]

    async def _one(self) -> None:
        async with self.turns:
            end = asyncio.Event()
            self.begun.append(end)
            with self.load:
                await end.wait()

    async def settled(self) -> int:
        """How many have begun, once all who can have."""
        for _ in range(50):
            await asyncio.sleep(0)
        return len(self.begun)

    async def over(self) -> None:
        while not all(task.done() for task in self.tasks):
            for end in self.begun:
                end.set()
            await asyncio.sleep(0)


async def test_without_live_calls_a_batch_has_all_its_turns() -> None:
    bench = Bench(4)
    bench.start(10)
    assert await bench.settled() == 4
    bench.begun[0].set()
    assert await bench.settled() == 5
    await bench.over()
    assert (bench.turns.running, bench.load.under_way) == (0, 0)


async def test_each_live_call_takes_a_turn_but_the_last_one() -> None:
    bench = Bench(4)
    for _ in range(3):
        bench.load.__enter__()
    bench.start(10)
    assert await bench.settled() == 1
    for _ in range(20):
        bench.load.__enter__()
    bench.begun[0].set()
    assert await bench.settled() == 2
    for _ in range(23):
        bench.load.__exit__()
    assert await bench.settled() == 5
    await bench.over()


async def test_one_who_is_cancelled_while_it_waits_takes_nobodys_turn() -> None:
    bench = Bench(1)
    bench.start(3)
    assert await bench.settled() == 1
    bench.tasks[1].cancel()
    bench.begun[0].set()
    assert await bench.settled() == 2
    await bench.over()
