"""Ending tasks, such as those that lose a cancellation on their way."""

from __future__ import annotations

import asyncio

import pytest

from stanchion.core import tasks
from stanchion.core.tasks import end_tasks


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def works() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(works())
    await asyncio.sleep(0)
    await end_tasks(task)
    assert task.cancelled()
    assert swallowed == 3


async def test_failures_and_what_has_ended_are_nobody_s_concern() -> None:
    async def fails() -> None:
        raise ValueError("as it may")

    failed, waits = asyncio.create_task(fails()), asyncio.get_running_loop().create_future()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await asyncio.sleep(0)
    await end_tasks(None, failed, waits)
    assert failed.done()
    assert waits.cancelled()
    await end_tasks()
    del failed
    assert told == []


async def test_who_ends_tasks_may_be_cancelled_itself() -> None:
    begun = asyncio.Event()

    async def stays() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if begun.is_set():
                    raise
                begun.set()

    task = asyncio.create_task(stays())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end_tasks(task))
    await begun.wait()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await end_tasks(task)
