"""The time limit of handlers."""

from __future__ import annotations

import asyncio

import pytest

from stanchion.events.workers.within import within


async def at_once() -> str:
    return "done"


async def later() -> str:
    for _ in range(3):
        await asyncio.sleep(0)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(0, "done"))
    return task.result()


async def refused() -> None:
    await asyncio.sleep(0)
    raise ValueError("no")


async def test_what_a_coroutine_returns_comes_back_with_and_without_waiting() -> None:
    assert [await within(work, 60) for work in (at_once(), later())] == ["done", "done"]


@pytest.mark.parametrize("before", [0, 1])
async def test_its_error_comes_through(before: int) -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await within(refused() if before else fails(), 60)


async def test_one_that_waits_too_long_is_cancelled() -> None:
    told: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("ended")

    with pytest.raises(TimeoutError):
        await within(endless(), 0.01)
    assert told == ["ended"]


async def test_one_that_catches_its_own_timeout_goes_on() -> None:
    async def patient() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return "caught"
        return "never"

    assert await within(patient(), 60) == "caught"


async def test_the_caller_may_be_cancelled() -> None:
    begun, told = asyncio.Event(), []

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    task = asyncio.create_task(within(endless(), 60))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cancelled"]
