"""Handlings are spans in the traces of their causes, and what is traced has a tree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Trace
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.spans import SpanRecorder
from stanchion.core.telemetry.tables import TELEMETRY_SCHEMA, spans
from stanchion.events import Commit, Event, HandlerSpec
from stanchion.testing.event_contract import Seen, event, eventually
from stanchion.testing.events import caller, running, sqlite_url


def traced(*, sampled: bool = True) -> Context:
    return replace(caller(), trace=Trace.new(sampled=sampled))


async def test_a_handling_is_a_span_below_what_published_its_event_and_above_what_it_publishes(tmp_path: Path) -> None:
    database = open_database(f"sqlite://{tmp_path}/telemetry.db")
    await database.prepare(TELEMETRY_SCHEMA)
    recorder = SpanRecorder(database, SystemClock())
    seen, contexts = Seen(), []

    async def lead(ctx: Context, given: Event, commit: Commit) -> Event:
        contexts.append(ctx)
        return event(2, kind="follow.made")

    first = HandlerSpec(name="lead", types=("lead.made",), function=lead)
    author = traced()
    async with running(sqlite_url(tmp_path), first, seen.spec(types=("follow.made",)), spans=recorder) as events:
        await events.publish(author, [event(1, kind="lead.made")])
        await events.publish(traced(sampled=False), [event(3, kind="follow.made")])
        await seen.until(2)
    await recorder.flush()
    kept = await database.read(lambda c: c.execute(select(spans)).mappings().all())
    by_name = {row["name"]: row for row in kept}
    assert sorted(by_name) == ["handler lead", "handler seen"] and len(kept) == 2
    assert {row["trace_id"] for row in kept} == {author.trace.trace_id}
    assert by_name["handler lead"]["parent_id"] == author.trace.span_id
    assert contexts[0].trace.span_id == by_name["handler lead"]["span_id"] == by_name["handler seen"]["parent_id"]
    await database.close()


async def test_a_batch_and_a_failure_are_told_in_the_trace_of_each_event(tmp_path: Path) -> None:
    database = open_database(f"sqlite://{tmp_path}/telemetry.db")
    await database.prepare(TELEMETRY_SCHEMA)
    recorder = SpanRecorder(database, SystemClock())
    sizes: list[int] = []

    async def handle(ctx: Context, given: Sequence[Event], commit: Commit) -> None:
        sizes.append(len(given))
        if len(sizes) == 1:
            raise RuntimeError("once")

    spec = HandlerSpec(name="many", types=("test.*",), function=handle, batch=2, base=0.01, maximum=0.02)
    authors = [traced(), traced()]
    url = sqlite_url(tmp_path)
    async with running(url, spec, workers=False) as events:
        for number, author in enumerate(authors):
            await events.publish(author, [event(number, f"k{number}")])
    async with running(url, spec, spans=recorder):
        await eventually(lambda: _number(sizes), lambda number: sum(sizes) >= 4 or (number >= 3 and sizes[0] == 1))
    await recorder.flush()
    kept = await database.read(lambda c: c.execute(select(spans)).mappings().all())
    assert {row["trace_id"] for row in kept} == {author.trace.trace_id for author in authors}
    failed = [row for row in kept if row["status"] == "internal_error"]
    assert len(failed) == sizes[0] and len(kept) == sum(sizes)
    await database.close()


async def test_the_spans_of_a_batch_lead_to_the_one_that_its_handler_ran_in(tmp_path: Path) -> None:
    database = open_database(f"sqlite://{tmp_path}/telemetry.db")
    await database.prepare(TELEMETRY_SCHEMA)
    recorder, contexts = SpanRecorder(database, SystemClock()), list[Context]()

    async def handle(ctx: Context, given: Sequence[Event], commit: Commit) -> None:
        contexts.append(ctx)

    spec = HandlerSpec(name="many", types=("test.*",), function=handle, batch=3)
    authors, url = [traced() for _ in range(3)], sqlite_url(tmp_path)
    async with running(url, spec, workers=False) as events:
        for number, author in enumerate(authors):
            await events.publish(author, [event(number, "one key")])
    async with running(url, spec, spans=recorder):
        await eventually(lambda: _number(contexts), lambda number: number > 0)
    await recorder.flush()
    kept = await database.read(lambda c: c.execute(select(spans)).mappings().all())
    await database.close()
    here = contexts[0].trace
    links = {row["span_id"]: json.loads(row["attributes"]).get("stanchion.link") for row in kept}
    assert links.pop(here.span_id) is None
    assert list(links.values()) == [f"{here.trace_id}-{here.span_id}"] * 2


async def test_a_lone_event_has_a_tree_if_it_is_traced_or_failed(tmp_path: Path) -> None:
    seen = Seen()
    seen.faults = {2: [RuntimeError("once")]}
    async with running(sqlite_url(tmp_path), seen.spec()) as events:
        told = [event(1, "a"), event(2, "b")]
        await events.publish(traced(), told[:1])
        await events.publish(traced(sampled=False), told[1:])
        await seen.until(2)
        for one, attempts in zip(told, (1, 2), strict=True):
            (hop,) = await events.tree(caller(), one.id)
            assert (hop.id, hop.cause) == (one.id, "")
            assert [(each.consumer, each.state, each.attempts) for each in hop.handled] == [("seen", "done", attempts)]


async def _number(found: Sequence[object]) -> int:
    return len(found)
