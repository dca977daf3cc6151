"""OpenAI's stock client uploads calls, begins a batch, waits, and reads answers and errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import openai
import pytest

from stanchion.core.security.contract import Keys
from stanchion.core.telemetry.contract import Observatory
from stanchion.gateway import BudgetSpec, Gateway, Limit
from stanchion.testing.upstreams import Call, Fault, Reply

from .conftest import chat, declare, ended, file_of, line, rows

pytestmark = pytest.mark.timeout(300)
WINDOW: Any = "24h"


def says(call: Call) -> Reply:
    return Reply(f"You said: {call.prompt}")


@pytest.fixture
async def place(served: Any) -> AsyncIterator[Any]:
    async with served(declare, openai=("openai", says, {})) as servers:
        servers.call = openai.AsyncOpenAI(base_url=servers.url + "/v1", api_key=servers.key, max_retries=0)
        async with servers.call:
            yield servers


async def begun(client: Any, lines: list[str], endpoint: str = "/v1/chat/completions", **more: Any) -> Any:
    file = await client.files.create(file=file_of(lines), purpose="batch")
    return await client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window=WINDOW, **more)


async def text_of(client: openai.AsyncOpenAI, file: str | None) -> str:
    assert file is not None
    return (await client.files.content(file)).text


async def test_a_batch_of_chats_is_answered_line_by_line(place: Any) -> None:
    client = place.call
    made = await begun(client, [line(f"q{n}", chat(f"number {n}")) for n in range(20)], metadata={"job": "nightly"})
    assert (made.object, made.status, made.completion_window) == ("batch", "validating", "24h")
    batch = await ended(client, made.id)
    assert (batch.status, batch.errors, batch.error_file_id) == ("completed", None, None)
    assert batch.metadata == {"job": "nightly"}
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (20, 20, 0)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at < batch.expires_at
    content = await text_of(client, batch.output_file_id)
    found = rows(content)
    assert list(found) == [f"q{n}" for n in range(20)]
    response = found["q7"]["response"]
    assert (found["q7"]["error"], response["status_code"]) == (None, 200)
    assert response["body"]["choices"][0]["message"]["content"] == "You said: number 7"
    assert batch.usage.total_tokens == sum(row["response"]["body"]["usage"]["total_tokens"] for row in found.values())
    told = await client.files.retrieve(batch.output_file_id)
    assert (told.purpose, told.bytes, told.filename) == ("batch_output", len(content), f"{batch.id}_output.jsonl")


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/rerank", {"model": "ranks", "query": "Hello.", "documents": ["Hello.", "Bye."], "top_n": 1}),
        ("/v1/completions", {"model": "gpt", "prompt": "Hello.", "max_tokens": 9}),
        ("/v1/embeddings", {"model": "vectors", "input": ["one", "two"]}),
        ("/v1/responses", {"model": "gpt", "input": "Hello."}),
        ("/v1/messages", {**chat("Hello."), "max_tokens": 9}),
        ("/v1/chat/completions", chat("Hello.", "route:task")),
    ],
)
async def test_every_endpoint_has_batches(place: Any, endpoint: str, body: Any) -> None:
    batch = await ended(place.call, (await begun(place.call, [line("a", body, endpoint)], endpoint)).id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 1)
    answer = rows(await text_of(place.call, batch.output_file_id))["a"]["response"]["body"]
    live = await place.call.post(endpoint.removeprefix("/v1"), cast_to=object, body=body)
    assert answer.keys() == live.keys()


async def test_bad_lines_stand_in_the_error_file_with_line_and_reason(place: Any) -> None:
    lines = [
        line("good", chat("Hello.")),
        "no JSON",
        line("url", chat("Hello."), "/v1/embeddings"),
        "",
        line("stream", chat("Hello.", stream=True)),
        line("good", chat("Again.")),
        line("none", {"messages": []}),
        line("nobody", chat("Hello.", "no-such-model")),
        json.dumps({"custom_id": "x", "method": "GET", "url": "/v1/chat/completions", "body": chat("Hello.")}),
    ]
    batch = await ended(place.call, (await begun(place.call, lines)).id)
    assert batch.status == "completed"
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (8, 1, 7)
    found = [json.loads(row) for row in (await text_of(place.call, batch.error_file_id)).splitlines()]
    told = [(row["error"]["line"], row["custom_id"], row["error"]["code"]) for row in found]
    assert told == [
        (2, None, "invalid_line"),
        (3, "url", "invalid_line"),
        (5, "stream", "invalid_line"),
        (6, "good", "invalid_line"),
        (7, "none", "invalid_line"),
        (8, "nobody", "not_found"),
        (9, "x", "invalid_line"),
    ]
    assert "stands in line 1" in found[3]["error"]["message"]
    assert found[5]["response"]["status_code"] == 404
    assert found[5]["response"]["body"]["error"]["code"] == "not_found"
    assert [call.prompt for call in place.upstreams["openai"].calls] == ["Hello."]


async def test_a_file_without_a_valid_line_fails_with_its_errors(place: Any) -> None:
    batch = await ended(place.call, (await begun(place.call, ["{}", "[]", "hello"])).id)
    assert (batch.status, batch.output_file_id, batch.failed_at is not None) == ("failed", None, True)
    assert [(each.code, each.line) for each in batch.errors.data] == [
        ("no_valid_line", None), ("invalid_line", 1), ("invalid_line", 2), ("invalid_line", 3),
    ]  # fmt: skip
    assert place.upstreams["openai"].calls == []


async def test_what_cannot_be_begun_is_refused(place: Any) -> None:
    client = place.call
    file = await client.files.create(file=file_of([line("a", chat("Hello."))]), purpose="batch")
    with pytest.raises(openai.NotFoundError):
        await client.batches.create(input_file_id="file-0", endpoint="/v1/chat/completions", completion_window=WINDOW)
    for wrong in ({"endpoint": "/v1/models"}, {"completion_window": "1h"}, {"metadata": {"a": "b" * 513}}):
        with pytest.raises(openai.UnprocessableEntityError):
            await client.batches.create(
                **{"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": WINDOW, **wrong}
            )
    with pytest.raises(openai.UnprocessableEntityError):
        await client.files.create(file=("empty.jsonl", b"\n\n"), purpose="batch")
    with pytest.raises(openai.UnprocessableEntityError):
        await client.files.create(file=file_of(["{}"]), purpose="fine-tune")


async def test_files_and_batches_are_listed_in_pages_and_deleted(place: Any) -> None:
    client = place.call
    made = [await client.files.create(file=file_of([line("a", chat(str(n)))]), purpose="batch") for n in range(5)]
    ids = [file.id for file in made]
    assert [file.id async for file in client.files.list(limit=2)] == ids[::-1]
    assert [file.id async for file in client.files.list(limit=2, order="asc", purpose="batch")] == ids
    assert [file.id async for file in client.files.list(purpose="batch_output")] == []
    begun_ = [
        await client.batches.create(input_file_id=each, endpoint="/v1/chat/completions", completion_window=WINDOW)
        for each in ids[:3]
    ]
    assert [each.id async for each in client.batches.list(limit=2)] == [each.id for each in begun_[::-1]]
    for each in begun_:
        await ended(client, each.id)
    assert (await client.files.delete(ids[0])).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            await gone(ids[0])


async def test_a_cancelled_batch_keeps_what_was_answered_and_makes_no_further_call(place: Any) -> None:
    client, first, go = place.call, asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> Reply:
        first.set()
        await go.wait()
        return Reply("Late.")

    place.upstreams["openai"].script = slow
    made = await begun(client, [line(f"q{n}", chat(f"{n}")) for n in range(50)])
    await first.wait()
    with pytest.raises(openai.ConflictError):
        await client.files.delete(made.input_file_id)
    assert (await client.batches.cancel(made.id)).status == "cancelling"
    go.set()
    batch = await ended(client, made.id)
    assert batch.status == "cancelled"
    assert batch.cancelling_at <= batch.cancelled_at
    answered = rows(await text_of(client, batch.output_file_id))
    assert len(answered) == batch.request_counts.completed == len(place.upstreams["openai"].calls) <= 8
    with pytest.raises(openai.ConflictError):
        await client.batches.cancel((await ended(client, (await begun(client, [line("a", chat("b"))])).id)).id)


async def test_nobody_else_finds_a_file_or_a_batch(place: Any) -> None:
    batch = await ended(place.call, (await begun(place.call, [line("a", chat("Hello."))])).id)
    keys, ctx = place.run.door(Keys), place.run.ctx
    others = [await keys.create(ctx, name="other", roles=["predictor"])]
    others.append(await keys.create(replace(ctx, tenant="elsewhere"), name="far", roles=["predictor"]))
    for other in others:
        async with openai.AsyncOpenAI(base_url=place.url + "/v1", api_key=other.secret, max_retries=0) as client:
            assert [each.id async for each in client.files.list()] == []
            assert [each.id async for each in client.batches.list()] == []
            for find, what in (
                (client.files.content, batch.output_file_id),
                (client.files.retrieve, batch.input_file_id),
                (client.files.delete, batch.input_file_id),
                (client.batches.retrieve, batch.id),
                (client.batches.cancel, batch.id),
            ):
                with pytest.raises(openai.NotFoundError):
                    await find(what)
            with pytest.raises(openai.NotFoundError):
                await client.batches.create(
                    input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window=WINDOW
                )


async def test_each_line_stands_in_both_ledgers_as_its_authors(place: Any) -> None:
    made = await begun(
        place.call, [line(f"q{n}", chat(f"{n}")) for n in range(3)], extra_headers={"x-stanchion-tags": "team=law"}
    )
    batch = await ended(place.call, made.id)
    found = rows(await text_of(place.call, batch.output_file_id))
    gateway, ctx = place.run.door(Gateway), place.run.ctx
    today = date.fromtimestamp(batch.created_at)
    days = {"start": today - timedelta(days=1), "end": today + timedelta(days=2)}
    for tag, value in (("batch", batch.id), ("team", "law")):
        used = await gateway.usage(ctx, **days, by=("tag",), tag=tag)
        assert [each.requests for each in used if each.group["tag"] == value] == [3]
    written: list[Any] = []
    while len(written) < 3:
        written = list(await place.run.door(Observatory).requests(ctx, route="BATCH /v1/chat/completions"))
        await asyncio.sleep(0.02)
    assert {row.request_id for row in written} == {row["response"]["request_id"] for row in found.values()}
    assert {(row.outcome, row.version, row.principal[:4]) for row in written} == {("ok", "gpt-4o-mini", "key:")}


async def test_a_policy_that_is_put_later_holds_for_the_lines_that_are_left(place: Any) -> None:
    """The gate is passed by each line, as its author."""
    from stanchion.core.security.contract import Policies

    policies, ctx = place.run.door(Policies), place.run.ctx
    text = 'forbid(principal, action == Action::"gateway:complete", resource);'
    await policies.put(ctx, text, version=(await policies.get(ctx)).version)
    batch = await ended(place.call, (await begun(place.call, [line("a", chat("Hello."))])).id)
    row = rows(await text_of(place.call, batch.error_file_id))["a"]
    assert (row["response"]["status_code"], row["error"]["code"]) == (403, "not_allowed")
    assert place.upstreams["openai"].calls == []


async def test_a_budget_that_never_fits_refuses_the_line_and_one_that_does_not_yet_waits(place: Any) -> None:
    gateway, ctx = place.run.door(Gateway), place.run.ctx
    await gateway.put_budget(ctx, BudgetSpec("month", limits=(Limit("month", requests=1),)))
    batch = await ended(place.call, (await begun(place.call, [line(f"q{n}", chat(f"{n}")) for n in range(3)])).id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 2)
    codes = {row["error"]["code"] for row in rows(await text_of(place.call, batch.error_file_id)).values()}
    assert codes == {"budget_exceeded"}


async def test_a_throttled_line_is_tried_again(place: Any) -> None:
    place.upstreams["openai"].faults = [Fault("throttled", retry_after=0), Fault("failed")]
    batch = await ended(place.call, (await begun(place.call, [line("a", chat("Hello."))])).id)
    assert (batch.request_counts.completed, len(place.upstreams["openai"].calls)) == (1, 3)


async def test_the_lines_that_are_left_when_a_key_is_revoked_fail_as_its_calls_do(place: Any) -> None:
    keys, ctx, second = place.run.door(Keys), place.run.ctx, asyncio.Event()
    key = await keys.create(ctx, name="leaver", roles=["predictor"])

    async def says(call: Call) -> Reply:
        if call.number >= 8:
            second.set()
        await asyncio.sleep(0.02)
        return Reply("Yes.")

    place.upstreams["openai"].script = says
    async with openai.AsyncOpenAI(base_url=place.url + "/v1", api_key=key.secret, max_retries=0) as client:
        made = await begun(client, [line(f"q{n}", chat(f"{n}")) for n in range(60)])
        await second.wait()
        await keys.revoke(ctx, key.info.id)
        called = len(place.upstreams["openai"].calls)
        with pytest.raises(openai.AuthenticationError):
            await client.batches.retrieve(made.id)
    gateway, author = place.run.door(Gateway), replace(ctx, principal=f"key:{key.info.id}")
    while (found := await gateway.batch(author, made.id)).state not in ("completed", "failed"):
        await asyncio.sleep(0.02)
    assert (found.state, found.completed + found.failed) == ("completed", 60)
    # Those under way come to their end, and no other begins.
    assert found.completed <= called + 8 < 60
    assert len(place.upstreams["openai"].calls) == found.completed
    content = b"".join([part async for part in gateway.file_content(author, found.error_file)]).decode()
    told = {(row["response"]["status_code"], row["error"]["code"]) for row in rows(content).values()}
    assert told == {(401, "not_authenticated")}


async def test_a_budget_that_is_put_later_holds_for_the_lines_that_are_left(place: Any) -> None:
    gateway, ctx, some = place.run.door(Gateway), place.run.ctx, asyncio.Event()

    async def says(call: Call) -> Reply:
        some.set()
        await asyncio.sleep(0.02)
        return Reply("Yes.")

    place.upstreams["openai"].script = says
    made = await begun(place.call, [line(f"q{n}", chat(f"{n}")) for n in range(60)])
    await some.wait()
    await gateway.put_budget(ctx, BudgetSpec("month", limits=(Limit("month", requests=1),)))
    batch = await ended(place.call, made.id)
    assert (batch.status, batch.request_counts.total) == ("completed", 60)
    assert 0 < batch.request_counts.completed < 60
    codes = {row["error"]["code"] for row in rows(await text_of(place.call, batch.error_file_id)).values()}
    assert codes == {"budget_exceeded"}


@pytest.mark.parametrize("fault", [Fault("throttled", retry_after=3600), Fault("failed")])
async def test_what_a_batch_meets_at_a_model_keeps_it_from_no_live_call(place: Any, fault: Fault) -> None:
    up = place.upstreams["openai"]
    up.faults = [fault] * 40
    made = await begun(place.call, [line(f"q{n}", chat(f"{n}", "route:task")) for n in range(12)])
    async with asyncio.timeout(60):
        # One that is turned away for an hour may be the only one that is sent.
        while not (await place.run.door(Gateway).routes(place.run.ctx))[0].rungs[0].failures:
            await asyncio.sleep(0.01)
    up.faults = ()
    for _ in range(3):
        live = await place.call.chat.completions.create(**chat("Live.", "route:task"))
        assert live.choices[0].message.content
    [route] = await place.run.door(Gateway).routes(place.run.ctx)
    [rung] = route.rungs
    assert (rung.out, rung.breaker) == (0, "closed")
    assert rung.calls >= rung.failures + 3
    await place.call.batches.cancel(made.id)


async def test_a_live_call_that_is_turned_away_makes_batches_wait(place: Any) -> None:
    up = place.upstreams["openai"]
    up.faults = [Fault("throttled", retry_after=2)]
    with pytest.raises(openai.RateLimitError):
        await place.call.chat.completions.create(**chat("Live.", "route:task"))
    batch = await ended(place.call, (await begun(place.call, [line("a", chat("b", "route:task"))])).id)
    assert batch.request_counts.completed == 1
    live, late = (call.at for call in up.calls)
    assert (late - live).total_seconds() >= 1.9
