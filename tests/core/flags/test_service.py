from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stanchion.core.context import Effect
from stanchion.core.contract import methods
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.core.flags import Flag, Flags, Prerequisite
from stanchion.core.flags.service import SCHEMA, FlagService
from stanchion.core.storage.open import open_database

ON_OFF = {"on": True, "off": False}
DECLARED = Flag(key="declared", variants=ON_OFF, default="on", off="off")


class Journal:
    """Keeps the facts of each effect recorded with a change."""

    def __init__(self):
        self.facts = []

    def record(self, connection, effects):
        self.facts += [dict(effect.facts) for effect in effects]

    def committed(self):
        pass


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture(params=["memory", "postgres"])
async def database(request, journal):
    url = "memory:" if request.param == "memory" else request.getfixturevalue("postgres_url")
    opened = open_database(url, journal=journal)
    await opened.prepare(SCHEMA)
    yield opened
    await opened.close()


@pytest.fixture
def service(database, clock):
    return FlagService(database=database, clock=clock, declared=[DECLARED])


async def value(service, ctx, key="declared", **attributes):
    [found] = await service.evaluate(ctx, [key], attributes)
    return found.value, found.reason


async def test_declared_flags_hold_for_every_tenant(service, ctx):
    assert await value(service, ctx) == (True, "STATIC")
    assert await value(service, replace(ctx, tenant="other")) == (True, "STATIC")


async def test_a_change_holds_at_once_and_for_its_tenant_only(service, ctx):
    other = replace(ctx, tenant="other")
    await value(service, other)
    stored = await service.set(ctx, "declared", replace(DECLARED, default="off"))
    assert stored.version == 1
    assert await value(service, ctx) == (False, "STATIC")
    assert await value(service, other) == (True, "STATIC")


async def test_a_change_made_from_an_old_version_is_refused(service, ctx):
    await service.set(ctx, "declared", DECLARED)
    with pytest.raises(Conflict):
        await service.set(ctx, "declared", DECLARED)
    assert (await service.set(ctx, "declared", replace(DECLARED, version=1))).version == 2


async def test_of_two_changes_at_once_one_wins(service, ctx):
    outcomes = await asyncio.gather(
        *(service.set(ctx, "new", replace(DECLARED, key="new")) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(o).__name__ for o in outcomes) == ["Conflict"] * 4 + ["Flag"]


async def test_the_kill_switch_needs_no_version_and_can_be_taken_back(service, ctx):
    await service.set(ctx, "declared", DECLARED)
    await service.kill(ctx, "declared", True)
    assert await value(service, ctx) == (False, "DISABLED")
    await service.kill(ctx, "declared", False)
    assert await value(service, ctx) == (True, "STATIC")


async def test_a_killed_declared_flag_follows_later_declarations(service, ctx, database, clock):
    await service.kill(ctx, "declared", True)
    await service.kill(ctx, "declared", False)
    later = FlagService(database=database, clock=clock, declared=[replace(DECLARED, default="off")])
    assert await value(later, ctx) == (False, "STATIC")


async def test_an_unknown_flag_cannot_be_killed(service, ctx):
    with pytest.raises(NotFound):
        await service.kill(ctx, "missing", True)


async def test_other_processes_see_a_change_after_refresh(service, ctx, database, clock):
    other = FlagService(database=database, clock=clock, declared=[DECLARED])
    assert await value(other, ctx) == (True, "STATIC")
    await service.kill(ctx, "declared", True)
    assert await value(other, ctx) == (True, "STATIC")
    await other.refresh()
    assert await value(other, ctx) == (False, "DISABLED")


async def test_flags_outlive_the_process(service, ctx, database, clock):
    await service.set(ctx, "new", Flag(key="new", variants={"a": {"limit": 5}}, default="a"))
    again = FlagService(database=database, clock=clock)
    assert await value(again, ctx, "new") == ({"limit": 5}, "STATIC")


async def test_the_list_is_sorted_and_merged(service, ctx):
    await service.set(ctx, "a", replace(DECLARED, key="a"))
    assert [(f.key, f.version) for f in await service.list(ctx)] == [("a", 1), ("declared", 0)]


async def test_a_change_is_audited_in_its_own_transaction(service, ctx, journal):
    effect = Effect(
        action="flags:write",
        kind="write",
        resource="Flag::declared",
        tenant=ctx.tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
    )
    await service.kill(ctx.within(effect), "declared", True)
    assert journal.facts == [{"flag": "declared", "version": 1, "killed": True}]
    with pytest.raises(NotFound):
        await service.kill(ctx.within(replace(effect, facts={})), "missing", True)
    assert len(journal.facts) == 1


@pytest.mark.parametrize(
    ("key", "flag"),
    [
        ("other", DECLARED),
        ("declared", replace(DECLARED, default="missing")),
        ("declared", replace(DECLARED, prerequisites=(Prerequisite(key="declared", variants=("on",)),))),
    ],
)
async def test_a_flag_that_makes_no_sense_is_not_stored(service, ctx, key, flag):
    with pytest.raises(InvalidInput):
        await service.set(ctx, key, flag)
    assert [f.version for f in await service.list(ctx)] == [0]


async def test_splits_are_by_the_principal_unless_a_key_is_given(service, ctx):
    await service.set(ctx, "s", Flag(key="s", variants=ON_OFF, default="off", split={"on": 1, "off": 1}))
    answers = {await value(service, replace(ctx, principal=f"key:{n}"), "s") for n in range(30)}
    assert answers == {(True, "SPLIT"), (False, "SPLIT")}
    same = {await value(service, replace(ctx, principal=f"key:{n}"), "s", targeting_key="u") for n in range(30)}
    assert len(same) == 1


async def test_a_snapshot_answers_without_waiting(service, ctx, clock):
    assert service.snapshot("acme").evaluate("declared", {}, now=clock.now()).value is True
    await service.kill(ctx, "declared", True)
    assert service.snapshot("acme").evaluate("declared", {}, now=clock.now()).reason == "DISABLED"


def test_every_method_names_its_action():
    assert [(m.name, m.action.name, m.action.effect) for m in methods(Flags)] == [
        ("evaluate", "flags:evaluate", "read"),
        ("list", "flags:read", "read"),
        ("set", "flags:write", "write"),
        ("kill", "flags:write", "write"),
    ]
