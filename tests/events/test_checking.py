"""Data that do not fit the schema of their type are refused at the door, with path and reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion.core.context import Context
from stanchion.core.errors import InvalidInput, NotAllowed
from stanchion.core.storage.open import open_database
from stanchion.events import Commit, Event, EventSpec, HandlerSpec, Outcome, Selection, stage
from stanchion.testing.event_contract import event as made
from stanchion.testing.event_contract import eventually
from stanchion.testing.events import caller, running, sqlite_url

TOTAL = '{"type":"object","required":["total"],"properties":{"total":{"type":"number","minimum":0}}}'
LINES = '{"type":"object","properties":{"lines":{"type":"array","items":{"type":"string"}}}}'


def placed(value: Any, *, kind: str = "order.placed") -> Event:
    return Event.of(kind, "/shop", value)


class Order(BaseModel):
    number: int


async def test_data_are_held_against_the_newest_schema_of_their_type(tmp_path: Path) -> None:
    ctx = caller()
    async with running(sqlite_url(tmp_path)) as events:
        await events.register(ctx, "order.placed", TOTAL)
        assert len(await events.publish(ctx, [placed({"total": 3}), placed({"n": 1}, kind="other.made")])) == 2
        with pytest.raises(InvalidInput) as refused:
            await events.publish(ctx, [placed({"total": 3}), placed({"total": -1.5})])
        (fault,) = refused.value.fields
        assert (fault.path, fault.message) == ("$[1].data.total", "breaks minimum: 0")
        assert "-1.5" not in refused.value.detail
        with pytest.raises(InvalidInput, match=r"\$\.data 'total' is a required property"):
            await events.publish(ctx, [placed({})])
        # Another tenant has other schemas, or none.
        assert len(await events.publish(caller("other"), [placed({})])) == 1


async def test_data_that_are_no_json_do_not_fit_and_places_in_lists_are_told(tmp_path: Path) -> None:
    ctx = caller()
    async with running(sqlite_url(tmp_path)) as events:
        await events.register(ctx, "order.placed", LINES)
        for event, told in (
            (Event(type="order.placed", source="/s", data=b"x"), r"\$\.data are no JSON"),
            (Event(type="order.placed", source="/s", data=b"x", content_type="text/plain"), "are text/plain"),
            (Event(type="order.placed", source="/s"), r"\$\.data breaks type"),
            (placed({"lines": ["a", 1]}), r'\$\.data\.lines\[1\] breaks type: "string"'),
        ):
            with pytest.raises(InvalidInput, match=told):
                await events.publish(ctx, [event])
        many = [placed({"lines": ["a"]}) for _ in range(30)]
        assert len(await events.publish(ctx, many)) == 30
        with pytest.raises(InvalidInput, match=r"lines\[0\]"):
            await events.publish(ctx, [*many, placed({"lines": [1]})])


async def test_a_declared_type_is_checked_too_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    spec = EventSpec(type="order.placed", data=Order)
    async with running(sqlite_url(tmp_path), spec) as events:
        with pytest.raises(InvalidInput, match=r"\$\.data\.number breaks type"):
            await events.publish(caller(), [placed({"number": "three"})])
    async with running(sqlite_url(tmp_path), spec, schemas="ignore") as events:
        assert len(await events.publish(caller(), [placed({"number": "three"})])) == 1


AVRO = '{"type":"record","name":"Order","fields":[{"name":"total","type":"double"}]}'


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else sqlite_url(tmp_path)


async def test_data_of_avro_schemas_are_looked_into(url: str) -> None:
    ctx = caller()
    async with running(url) as events:
        await events.register(ctx, "order.placed", AVRO, kind="avro")
        binary = Event(type="order.placed", source="/s", data=bytes(8), content_type="application/avro")
        await events.publish(ctx, [placed({"total": 1.5}), binary])
        with pytest.raises(InvalidInput, match=r"version 1 .* \$\.data\.total ends too early"):
            await events.publish(ctx, [replace(binary, data=bytes(7))])
        with pytest.raises(InvalidInput, match=r"\$\[1\]\.data\.total is no double"):
            await events.publish(ctx, [binary, placed({"total": "much"})])


@pytest.mark.parametrize("way", ["returned", "published", "staged"])
async def test_what_a_handler_publishes_is_held_too_and_nothing_of_its_handling_is_kept(url: str, way: str) -> None:
    ctx = caller()

    async def handle(ctx: Context, given: Event, commit: Commit) -> Event | None:
        follows = placed({"total": given.json()["n"]})
        if way == "staged":
            commit.write(lambda connection: stage(connection, ctx, [follows]))
        elif way == "published":
            commit.publish(follows)
        else:
            return follows
        return None

    spec = HandlerSpec(name="places", types=("test.*",), function=handle)
    async with running(url, spec) as events:
        await events.register(ctx, "order.placed", TOTAL)
        await events.publish(ctx, [made(-1, "k"), made(2, "k")])
        [letter] = await eventually(lambda: events.dead(ctx), lambda found: len(found) == 1)
        assert (letter.event.json(), letter.attempts) == ({"n": -1}, 1)
        assert "do not fit version 1 of the schema of order.placed: $.data.total breaks minimum: 0" in letter.error
        chosen = Selection(types=("order.*",))
        found = await eventually(lambda: events.recent(ctx, selection=chosen), lambda found: len(found) == 1)
        assert (await events.recall(ctx, found[0].place)).event.json() == {"total": 2}


async def test_who_settles_with_events_that_do_not_fit_is_told_and_may_settle_again(url: str) -> None:
    ctx = caller()
    async with running(url) as events:
        await events.register(ctx, "order.placed", TOTAL)
        await events.take(ctx, "puller", types=("test.*",))
        await events.publish(ctx, [made(1)])
        [taken] = await events.take(ctx, "puller", wait=30)
        with pytest.raises(InvalidInput, match="breaks minimum"):
            await events.settle(
                ctx, "puller", [Outcome(token=taken.token, verdict="done", publish=(placed({"total": -1}),))]
            )
        good = Outcome(token=taken.token, verdict="done", publish=(placed({"total": 1}),))
        assert [each.result for each in await events.settle(ctx, "puller", [good])] == ["done"]


async def test_what_is_staged_is_held_in_its_transaction_but_not_what_the_house_tells_of_itself(url: str) -> None:
    ctx = caller()
    database = open_database(url)

    async def staged(*given: Event) -> None:
        await database.write(ctx, lambda c: stage(c, ctx, given))

    async with running(url) as events:
        await staged(placed({"total": -1}))  # there is no schema yet
        await events.register(ctx, "order.placed", TOTAL)
        await events.register(ctx, "run.ended", TOTAL)
        with pytest.raises(InvalidInput, match="breaks minimum"):
            await staged(placed({"total": 1}), placed({"total": -2}))
        await events.register(ctx, "order.placed", "{}", compatibility="none")
        await staged(placed({"total": -3}), placed({"total": -4}, kind="run.ended"))
        found = await events.recent(ctx)
        values = [(await events.recall(ctx, each.place)).event.json()["total"] for each in found]
        assert sorted(values) == [-4, -3, -1]
    await database.close()


@pytest.mark.parametrize("returned", [True, False])
async def test_what_only_the_house_may_tell_is_no_follow_up_of_a_handler(url: str, returned: bool) -> None:
    ctx = caller()

    async def handle(ctx: Context, given: Event, commit: Commit) -> Event | None:
        commit.publish(placed({"total": 1}))
        forged = placed({}, kind="run.ended")
        if not returned:
            commit.publish(forged)
        return forged if returned else None

    async with running(url, HandlerSpec(name="p", types=("test.*",), function=handle)) as events:
        await events.publish(ctx, [made(1)])
        [letter] = await eventually(lambda: events.dead(ctx), bool)
        assert (letter.attempts, letter.error) == (1, "events of type run.ended tell what the house itself did")
        assert [each.type for each in await events.recent(ctx)] == ["test.made"]


async def test_what_only_the_house_may_tell_is_not_published_by_who_settles(url: str) -> None:
    ctx = caller()
    async with running(url) as events:
        await events.take(ctx, "puller", types=("test.*",))
        await events.publish(ctx, [made(1)])
        [taken] = await events.take(ctx, "puller", wait=30)
        forged = Outcome(token=taken.token, verdict="done", publish=(placed({}, kind="review.decided"),))
        with pytest.raises(NotAllowed):
            await events.settle(ctx, "puller", [forged])
        await events.settle(ctx, "puller", [Outcome(token=taken.token, verdict="done")])
        assert [each.type for each in await events.recent(ctx)] == ["test.made"]


async def test_settings_that_let_data_through_do_so_for_what_handlers_publish_and_stage(url: str) -> None:
    ctx = caller()

    async def handle(ctx: Context, given: Event, commit: Commit) -> Event:
        commit.write(lambda connection: stage(connection, ctx, [placed({"total": -1})]))
        return placed({"total": -2})

    async with running(url, HandlerSpec(name="p", types=("test.*",), function=handle), schemas="ignore") as events:
        await events.register(ctx, "order.placed", TOTAL)
        await events.publish(ctx, [made(1)])
        chosen = Selection(types=("order.*",))
        await eventually(lambda: events.recent(ctx, selection=chosen), lambda found: len(found) == 2)
        assert not await events.dead(ctx)
