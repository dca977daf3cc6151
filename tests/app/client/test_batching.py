"""Batching at the client: one request for many callers, and each caller's own fate."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from stanchion.core.errors import InvalidInput, Misconfigured, PayloadTooLarge, Unavailable


def answers(request: httpx2.Request) -> httpx2.Response:
    """Each instance's own number as its outcome; a negative one is refused, as the server would."""
    instances = json.loads(request.content)["instances"]
    fault = {"code": "invalid_input", "detail": "negative", "errors": [{"path": "$.instances[0].n", "message": "no"}]}
    if len(instances) == 1 and instances[0]["n"] < 0:
        return httpx2.Response(422, json=fault)
    told = [{"n": each["n"]} if each["n"] >= 0 else {"error": fault} for each in instances]
    return httpx2.Response(200, json={"request_id": "r", "model_id": "m", "predictions": told})


def sizes(script: Any) -> list[int]:
    return [len(json.loads(request.content)["instances"]) for request in script.requests]


@pytest.fixture
def replies(script: Any) -> Callable[[int], None]:
    def add(count: int) -> None:
        script.replies += [answers] * count

    return add


async def test_what_many_ask_travels_together_and_comes_back_to_each(
    async_client: Any, script: Any, replies: Any
) -> None:
    replies(10)
    async with async_client() as calling, calling.batching("m", size=4, wait_ms=1) as batch:
        found = await asyncio.gather(*(batch.predict({"n": number}) for number in range(10)))
    assert [each.value["n"] for each in found] == list(range(10))
    assert sizes(script) == [4, 4, 2]


async def test_a_faulty_item_fails_its_own_caller_only(async_client: Any, replies: Any) -> None:
    replies(3)
    async with async_client() as calling, calling.batching("m", size=3, wait_ms=1) as batch:
        found = await asyncio.gather(*(batch.predict({"n": n}) for n in (1, -1, 2, -5)), return_exceptions=True)
    assert [type(each) for each in found][1::2] == [InvalidInput, InvalidInput]
    assert [found[0].value["n"], found[2].value["n"]] == [1, 2]


async def test_an_item_without_a_form_in_json_never_joins_a_batch(async_client: Any, script: Any, replies: Any) -> None:
    replies(1)
    async with async_client() as calling, calling.batching("m", size=3, wait_ms=1) as batch:
        good, bad = await asyncio.gather(
            batch.predict({"n": 1}), batch.predict({"n": object()}), return_exceptions=True
        )
    assert good.value["n"] == 1
    assert isinstance(bad, InvalidInput)
    assert sizes(script) == [1]


async def test_a_failure_of_the_request_is_each_callers_own_error(async_client: Any, script: Any) -> None:
    script.replies += [httpx2.Response(503) for _ in range(4)]
    async with async_client() as calling, calling.batching("m", size=2, wait_ms=1) as batch:
        first, second = await asyncio.gather(*(batch.predict({"n": 1}) for _ in range(2)), return_exceptions=True)
    assert isinstance(first, Unavailable)
    assert isinstance(second, Unavailable)
    assert first is not second


async def test_a_batch_that_is_too_large_together_is_sent_in_parts(async_client: Any, script: Any) -> None:
    def picky(request: httpx2.Request) -> httpx2.Response:
        return answers(request) if len(json.loads(request.content)["instances"]) <= 2 else httpx2.Response(413)

    script.replies += [picky] * 10
    async with async_client() as calling, calling.batching("m", size=5, wait_ms=1) as batch:
        found = await asyncio.gather(*(batch.predict({"n": number}) for number in range(5)))
    assert [each.value["n"] for each in found] == list(range(5))
    script.replies[:] = [httpx2.Response(413)]
    async with async_client() as calling, calling.batching("m", size=1) as batch:
        with pytest.raises(PayloadTooLarge):
            await batch.predict({"n": 1})


async def test_whoever_gives_up_before_the_batch_leaves_is_not_in_it(
    async_client: Any, script: Any, replies: Any
) -> None:
    replies(1)
    async with async_client() as calling, calling.batching("m", size=10, wait_ms=60_000) as batch:
        gone, stays = asyncio.create_task(batch.predict({"n": 1})), asyncio.create_task(batch.predict({"n": 2}))
        await asyncio.sleep(0)
        gone.cancel()
    assert (await stays).value["n"] == 2
    assert sizes(script) == [1]


async def test_leaving_sends_what_still_waits(async_client: Any, script: Any, replies: Any) -> None:
    replies(1)
    async with async_client() as calling, calling.batching("m", size=100, wait_ms=60_000) as batch:
        waiting = [asyncio.create_task(batch.predict({"n": number})) for number in range(3)]
        await asyncio.sleep(0)
    assert [(await each).value["n"] for each in waiting] == [0, 1, 2]
    assert sizes(script) == [3]


def test_threads_share_requests_too(client: Any, script: Any, replies: Any) -> None:
    replies(50)
    with client() as calling, calling.batching("m", size=8, wait_ms=20) as batch, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: batch.submit({"n": number}), range(-4, 20)))
        values = [None if each.exception() else each.result().value["n"] for each in found]
    assert values == [None] * 4 + list(range(20))
    assert sum(sizes(script)) == 24
    assert len(script.requests) < 24


def test_leaving_answers_every_thread(client: Any, replies: Any) -> None:
    replies(3)
    with client() as calling, calling.batching("m", size=100, wait_ms=60_000) as batch:
        futures = [batch.submit({"n": number}) for number in range(3)]
    assert [each.result(1).value["n"] for each in futures] == [0, 1, 2]
    with pytest.raises(Misconfigured):
        batch.submit({"n": 1})
    assert not [each for each in threading.enumerate() if each.name == "stanchion-batching"]


def test_an_unforeseen_failure_reaches_whoever_waits(client: Any, script: Any) -> None:
    script.replies.append(httpx2.Response(200, json={"nothing": "expected"}))
    with client() as calling, calling.batching("m", size=1) as batch, pytest.raises(KeyError):
        batch.predict({"n": 1})


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 20_000}, {"wait_ms": -1}])
def test_a_batch_of_an_impossible_size_is_refused(options: Any, client: Any) -> None:
    with client() as calling, pytest.raises(Misconfigured):
        calling.batching("m", **options)
