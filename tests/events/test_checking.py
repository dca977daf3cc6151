"""Data that do not fit the schema of their type are refused at the door, with path and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion.core.errors import InvalidInput
from stanchion.events import Event, EventSpec
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
