"""A module for which nothing is declared: its lists are empty, and anything else wakes its service, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from stanchion.core.context import Context
from stanchion.core.contract import action
from stanchion.core.dormant import Dormant

CTX = Context("acme", "user:ada")


class Shelf(Protocol):
    @action("shelf:read", effect="read", resource="Shelf")
    async def titles(self, ctx: Context) -> Sequence[str]: ...

    @action("shelf:read", effect="read", resource="Shelf")
    async def title(self, ctx: Context, place: int, *, loud: bool = False) -> str: ...

    @action("shelf:read", effect="read", resource="Shelf")
    def lines(self, ctx: Context, place: int) -> AsyncIterator[str]: ...


class Woken:
    def __init__(self, told: list[str]) -> None:
        self.told = told

    async def start(self) -> None:
        self.told.append("start")

    async def stop(self) -> None:
        self.told.append("stop")

    async def titles(self, ctx: Context) -> Sequence[str]:
        raise AssertionError("nothing is declared")

    async def title(self, ctx: Context, place: int, *, loud: bool = False) -> str:
        return f"{ctx.tenant} {place} {loud}"

    async def lines(self, ctx: Context, place: int) -> AsyncIterator[str]:
        try:
            for number in range(place):
                yield str(number)
        finally:
            self.told.append("closed")


def shelf(told: list[str]) -> Any:
    async def build() -> Woken:
        told.append("build")
        await asyncio.sleep(0)
        return Woken(told)

    return Dormant(Shelf, build, empty=("titles",))


async def test_its_lists_are_empty_without_waking_it_and_a_stop_before_that_does_nothing() -> None:
    told: list[str] = []
    sleeper = shelf(told)
    assert list(await sleeper.titles(CTX)) == []
    await sleeper.stop()
    assert told == []


async def test_the_first_use_wakes_it_once_however_many_come_at_a_time() -> None:
    told: list[str] = []
    sleeper = shelf(told)
    answers = await asyncio.gather(*(sleeper.title(CTX, at, loud=True) for at in range(3)))
    assert answers == [f"acme {at} True" for at in range(3)]
    await sleeper.stop()
    assert told == ["build", "start", "stop"]


async def test_a_stream_that_is_left_early_is_closed() -> None:
    told: list[str] = []
    sleeper = shelf(told)
    stream = sleeper.lines(CTX, 5)
    assert await anext(stream) == "0"
    await stream.aclose()
    assert told == ["build", "start", "closed"]


async def test_a_caller_who_leaves_while_it_wakes_leaves_no_half_of_it_behind() -> None:
    told: list[str] = []
    sleeper = shelf(told)
    leaves = asyncio.create_task(sleeper.title(CTX, 1))
    while not told:
        await asyncio.sleep(0)
    leaves.cancel()
    assert await sleeper.title(CTX, 2) == "acme 2 False"
    await sleeper.stop()
    assert told == ["build", "start", "stop"]
