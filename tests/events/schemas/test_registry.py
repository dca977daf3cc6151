"""The registry: versions that stay, changes judged by their subject's rule, and schemas made of Python types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion.core.context import Context, system_context
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.core.storage.open import open_database
from stanchion.events import EventSpec, HandlerSpec
from stanchion.events.schemas.deriving import derived, register_derived
from stanchion.events.schemas.service import SchemaService
from stanchion.testing.clock import FakeClock

CTX: Context = system_context("acme", task="test")
OTHER: Context = system_context("other", task="test")


def text(**properties: Any) -> str:
    return json.dumps({"type": "object", "properties": properties, "additionalProperties": False})


V1 = text(a={"type": "integer"})
WIDER = text(a={"type": "number"})
WIDEST = text(a={"type": ["number", "null"]})
BROKEN = text(a={"type": "string"})


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SchemaService]:
    """A registry on each engine in turn."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    else:
        url = "memory:" if request.param == "memory" else f"sqlite://{tmp_path / 'schemas.db'}"
    database = open_database(url)
    yield SchemaService(database, FakeClock())
    await database.close()


async def test_versions_count_up_and_the_same_schema_is_no_new_one(registry: SchemaService) -> None:
    first = await registry.register(CTX, "order.placed", V1)
    again = await registry.register(CTX, "order.placed", json.dumps(json.loads(V1), indent=2))
    second = await registry.register(CTX, "order.placed", WIDER)
    assert (first.version, again.version, second.version) == (1, 1, 2)
    assert await registry.schema(CTX, "order.placed", 1) == first
    assert [each.version for each in await registry.schema_versions(CTX, "order.placed")] == [1, 2]
    assert [(s.name, s.newest, s.compatibility) for s in await registry.subjects(CTX)] == [
        ("order.placed", 2, "backward")
    ]


async def test_a_breaking_change_is_refused_with_reason_and_path_and_changes_nothing(registry: SchemaService) -> None:
    await registry.register(CTX, "order.placed", V1)
    with pytest.raises(Conflict) as refused:
        await registry.register(CTX, "order.placed", BROKEN)
    assert [fault.path for fault in refused.value.fields] == ["#/properties/a/type"]
    assert "type_changed" in refused.value.detail and "version 1" in refused.value.detail
    assert (await registry.schema(CTX, "order.placed")).version == 1
    judged = await registry.judge(CTX, "order.placed", BROKEN)
    assert not judged.compatible and judged.clashes[0].reason == "type_changed"


RULES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    # By rule: which of these may follow V1 and then WIDER.
    "none": ((V1, WIDER, WIDEST, BROKEN), ()),
    "backward": ((WIDER, WIDEST), (V1, BROKEN)),
    "backward_transitive": ((WIDER, WIDEST), (V1, BROKEN)),
    "forward": ((V1, WIDER), (WIDEST, BROKEN)),
    "forward_transitive": ((V1,), (WIDEST, BROKEN)),
    "full": ((WIDER,), (V1, WIDEST, BROKEN)),
    "full_transitive": ((), (V1, WIDEST, BROKEN)),
}


@pytest.mark.parametrize("registry", ["memory"], indirect=True)
@pytest.mark.parametrize("rule", RULES)
async def test_each_rule_admits_what_it_says(rule: Any, registry: SchemaService) -> None:
    await registry.register(CTX, "s", V1, compatibility="none")
    await registry.register(CTX, "s", WIDER)
    await registry.set_compatibility(CTX, "s", rule)
    admitted, refused = RULES[rule]
    for each in admitted:
        assert (await registry.judge(CTX, "s", each)).compatible, each
    for each in refused:
        assert not (await registry.judge(CTX, "s", each)).compatible, each


async def test_a_transitive_rule_looks_at_every_version(registry: SchemaService) -> None:
    for each in (BROKEN, WIDER):
        await registry.register(CTX, "s", each, compatibility="none")
    await registry.set_compatibility(CTX, "s", "backward")
    assert (await registry.judge(CTX, "s", WIDEST)).compatible
    await registry.set_compatibility(CTX, "s", "backward_transitive")
    judged = await registry.judge(CTX, "s", WIDEST)
    assert [clash.against for clash in judged.clashes] == [1]


async def test_one_tenants_schemas_are_not_anothers(registry: SchemaService) -> None:
    await registry.register(CTX, "s", V1)
    with pytest.raises(NotFound):
        await registry.schema(OTHER, "s")
    assert (await registry.register(OTHER, "s", BROKEN)).version == 1
    assert await registry.subjects(system_context("third", task="test")) == []


async def test_of_two_registrations_at_once_one_follows_the_other_or_is_told_to_look_again(
    registry: SchemaService,
) -> None:
    await registry.register(CTX, "s", V1, compatibility="none")
    made = await asyncio.gather(
        *(registry.register(CTX, "s", text(**{f"f{n}": {"type": "string"}})) for n in range(5)), return_exceptions=True
    )
    assert all(isinstance(each, Conflict) or each.version > 1 for each in made if not isinstance(each, AssertionError))
    versions = [each.version for each in await registry.schema_versions(CTX, "s")]
    assert versions == list(range(1, len(versions) + 1)) and len(versions) >= 2


async def test_kinds_do_not_mix_and_nonsense_is_refused(registry: SchemaService) -> None:
    await registry.register(CTX, "s", '"long"', kind="avro")
    with pytest.raises(Conflict, match="kind_changed"):
        await registry.register(CTX, "s", V1)
    with pytest.raises(Conflict, match="type_mismatch"):
        await registry.register(CTX, "s", '"int"', kind="avro")
    for wrong in ("{", "1", '{"type": "strin"}', '{"properties": {"a": {"minLength": -1}}}'):
        with pytest.raises(InvalidInput):
            await registry.register(CTX, "t", wrong)
    with pytest.raises(InvalidInput) as refused:
        await registry.register(CTX, "t", '{"properties": {"a": {"minLength": -1}}}')
    assert refused.value.fields[0].path == "#/properties/a/minLength"
    with pytest.raises(InvalidInput):
        await registry.register(CTX, "a b", V1)


class Order(BaseModel):
    """What was ordered."""

    amount: float
    note: str = ""


class LaterOrder(BaseModel):
    amount: float
    note: str = ""
    urgent: bool = False


class BrokenOrder(BaseModel):
    amount: float
    customer: str


def handler(data: Any, *types: str) -> HandlerSpec:
    return HandlerSpec(name="h", types=types, function=print, data=data)


async def test_a_handlers_typed_parameter_is_a_schema_and_may_only_grow(registry: SchemaService) -> None:
    assert await register_derived(registry, [handler(Order, "order.placed", "order.*")], "acme") == 1
    assert await register_derived(registry, [handler(Order, "order.placed")], "acme") == 1
    assert (await registry.schema(CTX, "order.placed")).version == 1
    await register_derived(registry, [handler(LaterOrder, "order.placed")], "acme")
    with pytest.raises(Conflict) as refused:
        await register_derived(registry, [handler(BrokenOrder, "order.placed")], "acme")
    assert "required_attribute_added: the reader requires 'customer'" in refused.value.detail
    assert refused.value.fields[0].path == "#/required"
    assert (await registry.schema(CTX, "order.placed")).version == 2


def test_a_declared_event_goes_before_a_handlers_parameter() -> None:
    specs = [handler(Order, "a"), EventSpec(type="a", data=LaterOrder), EventSpec(type="b", data=dict[str, int])]
    found = derived(specs)
    assert "urgent" in found["a"] and json.loads(found["b"])["additionalProperties"] == {"type": "integer"}
    assert derived([handler(object(), "c"), handler(None, "d")]) == {}


async def test_the_catalogue_joins_what_is_declared_handled_and_registered(tmp_path: Path) -> None:
    specs = [EventSpec(type="a", data=Order, description="An order."), handler(Order, "a", "b.*")]
    database = open_database("memory:")
    registry = SchemaService(database, FakeClock(), specs)
    await register_derived(registry, specs, "acme")
    found = await registry.catalogue(CTX)
    assert [(e.type, e.description, e.handlers, e.schema is not None) for e in found] == [
        ("a", "An order.", ("h",), True),
        ("b.*", "", ("h",), False),
    ]
    await database.close()
