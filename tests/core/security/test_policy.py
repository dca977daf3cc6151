"""Policies: what roles and scopes permit, what a tenant may add, and that nothing crosses the wall."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stanchion
from stanchion.core.clock import micros
from stanchion.core.context import Context, Rights, scope_covers, system_context
from stanchion.core.contract import Action, methods
from stanchion.core.errors import Conflict, InvalidInput, Misconfigured
from stanchion.core.security.contract import Keys, Policies
from stanchion.core.security.policy.engine import Engine, Resource
from stanchion.core.security.policy.schema import cedar_schema
from stanchion.core.security.policy.service import PolicyService
from stanchion.core.security.roles import ROLES, lacking
from stanchion.core.security.tables import policy_sets
from stanchion.core.storage.contract import Database
from stanchion.testing.clock import FakeClock


def contract_actions() -> Iterator[Action]:
    for module in pkgutil.walk_packages(stanchion.__path__, "stanchion."):
        if module.name.endswith(".contract"):
            for value in vars(importlib.import_module(module.name)).values():
                for function in vars(value).values() if isinstance(value, type) else ():
                    mark = getattr(function, "__stanchion_action__", None)
                    if isinstance(mark, Action):
                        yield mark


ACTIONS = {action.name: action for action in contract_actions()}
PREDICT = Action("serving:predict", "read", "Model", "name")
PROMOTE = Action("registry:promote", "write", "Model", "name")
TELL = Action("agents:tell", "outward", "Agent", "name")
for extra in (PREDICT, PROMOTE, TELL):
    ACTIONS.setdefault(extra.name, extra)
PUT = next(m.action for m in methods(Policies) if m.name == "put")
LIST = next(m.action for m in methods(Keys) if m.name == "list")
ENGINE = Engine(ACTIONS.values())


def caller(*roles: str, scopes: tuple[str, ...] = (), limit: frozenset[str] | None = None) -> Context:
    rights = Rights(frozenset(roles), frozenset(scopes), limit)
    return Context(tenant="acme", principal="key:abc", rights=rights)


def permitted(rights: Rights) -> set[str]:
    ctx = replace(caller(), rights=rights)
    return {
        name
        for name, action in ACTIONS.items()
        if ENGINE.decide(ENGINE.built_in, ctx, action, Resource(action.resource, "x", "acme", {})).allowed
    }


@pytest.fixture
async def service(memory: Database, clock: FakeClock) -> PolicyService:
    made = PolicyService(memory, actions=ACTIONS.values(), clock=clock)
    await made.refresh()
    return made


def test_the_built_in_policies_hold_against_the_schema() -> None:
    assert ENGINE.faults(ENGINE.text) == []


def test_every_role_permits_what_the_roles_under_it_permit() -> None:
    for name, role in ROLES.items():
        for under in role.over:
            assert permitted(Rights(frozenset({under}))) <= permitted(Rights(frozenset({name}))), (name, under)


def test_roles_permit_what_their_descriptions_say() -> None:
    everything = set(ACTIONS)
    reads = {name for name, action in ACTIONS.items() if action.effect == "read"}
    assert permitted(Rights(frozenset({"admin"}))) == everything
    predictor = {"serving:predict", "serving:read", "serving:advise"}
    predictor |= {"gateway:complete", "gateway:read", "gateway:batch", "gateway:score"}
    assert permitted(Rights(frozenset({"predictor"}))) == predictor & everything
    operator = permitted(Rights(frozenset({"operator"})))
    content = {"telemetry:read_content", "serving:read_journal", "pipelines:read_content"}
    content |= {"review:see", "review:claim", "review:export", "review:erase"}
    own = {"keys:create", "keys:rotate", "keys:revoke", "policies:write", "serving:drill", *content}
    assert everything - operator == own & everything
    viewer = permitted(Rights(frozenset({"viewer"})))
    assert viewer == {name for name in reads if not name.startswith(("keys:", "audit:"))} - content
    assert permitted(Rights(frozenset({"auditor"}))) == reads - content
    assert permitted(Rights()) == permitted(Rights(frozenset({"nobody"}))) == set()


def test_the_system_role_is_worth_nothing_to_anybody_but_the_system() -> None:
    assert permitted(Rights(frozenset({"system"}))) == set()
    ctx = system_context("acme", task="flush")
    assert ENGINE.decide(ENGINE.built_in, ctx, PROMOTE, Resource("Model", "m", "acme", {})).allowed


@given(st.frozensets(st.sampled_from(["*", "keys:*", "keys:list", "serving:predict", "nothing:here"])))
def test_scopes_permit_what_they_cover_and_a_limit_takes_the_rest_away(scopes: frozenset[str]) -> None:
    covered = {name for name in ACTIONS if any(scope_covers(scope, name) for scope in scopes)}
    assert permitted(Rights(scopes=scopes)) == covered
    assert permitted(Rights(roles=frozenset({"admin"}), limit=scopes)) == covered


SCOPES = st.frozensets(st.sampled_from(["*", "keys:*", "serving:*", "keys:list", "serving:predict"]), max_size=3)
GIVEN_ROLES = st.frozensets(st.sampled_from(sorted(ROLES)), max_size=2)


@given(st.builds(Rights, GIVEN_ROLES, SCOPES, st.none() | SCOPES), st.builds(Rights, GIVEN_ROLES, SCOPES))
def test_a_created_key_is_permitted_nothing_that_its_maker_is_not(maker: Rights, wanted: Rights) -> None:
    if not lacking(maker, wanted):
        assert permitted(wanted) <= permitted(maker)


@given(st.sampled_from(sorted(ROLES)), st.sampled_from(sorted(ACTIONS)))
def test_no_role_reaches_into_another_tenant(role: str, action: str) -> None:
    own = ENGINE.parse("permit (principal, action, resource);")
    acted_on = Resource(ACTIONS[action].resource, "x", "rival", {})
    verdict = ENGINE.decide(own, caller(role, scopes=("*",)), ACTIONS[action], acted_on)
    assert not verdict.allowed
    assert verdict.reasons == ("tenant-wall",)


def test_names_with_quotes_and_line_ends_are_decided_or_denied_but_never_confused() -> None:
    own = ENGINE.parse('permit (principal == Caller::"user:root", action, resource);')
    for name in ('user:root"', 'x" || true || "', "user:root\n", "user:\\root", "user:é", "user:root\0"):
        ctx = replace(caller(), principal=name)
        assert not ENGINE.decide(own, ctx, PREDICT, Resource("Model", 'm"\n', "acme", {})).allowed


async def test_before_the_first_refresh_everything_is_denied(memory: Database, clock: FakeClock) -> None:
    service = PolicyService(memory, actions=ACTIONS.values(), clock=clock)
    assert not service.permits(caller("admin"), PREDICT, "m")
    before = service.generation
    await service.refresh()
    assert service.permits(caller("admin"), PREDICT, "m")
    assert service.generation > before


async def test_a_tenants_policies_take_effect_at_once_and_in_its_own_tenant_only(service: PolicyService) -> None:
    text = '@id("night") permit (principal, action == Action::"serving:predict", resource == Model::"churn");'
    before = service.generation
    await service.put(caller("admin"), text, version=0)
    assert service.generation > before
    assert service.permits(caller(), PREDICT, "churn")
    assert not service.permits(caller(), PREDICT, "other")
    assert not service.permits(replace(caller(), tenant="rival"), PREDICT, "churn")
    verdict = await service.check(caller("admin"), roles=[], scopes=[], action="serving:predict", resource="churn")
    assert verdict.allowed
    assert verdict.reasons == ("tenant:night",)


async def test_a_forbid_wins_over_every_role(service: PolicyService) -> None:
    await service.put(caller("admin"), 'forbid (principal, action == Action::"registry:promote", resource);', version=0)
    assert not service.permits(caller("admin", scopes=("*",)), PROMOTE, "m")
    assert service.permits(caller("admin"), PREDICT, "m")


async def test_other_processes_follow_at_their_next_refresh(database: Database, clock: FakeClock) -> None:
    here, there = (PolicyService(database, actions=ACTIONS.values(), clock=clock) for _ in range(2))
    await here.refresh()
    await there.refresh()
    first = await here.put(caller("admin"), 'permit (principal, action, resource == Model::"a");', version=0)
    await there.refresh()
    assert there.permits(caller(), PREDICT, "a")
    await there.put(caller("admin"), "", version=first.version)
    generation = here.generation
    await here.refresh()
    assert here.generation > generation
    assert not here.permits(caller(), PREDICT, "a")
    assert (await here.get(caller("viewer"))).version == 2
    generation = here.generation
    await here.refresh()
    assert here.generation == generation


async def test_a_change_from_an_old_version_is_a_conflict(service: PolicyService) -> None:
    await service.put(caller("admin"), "", version=0)
    for version in (0, 2, -1):
        with pytest.raises(Conflict):
            await service.put(caller("admin"), "", version=version)
    assert (await service.get(caller("admin"))).version == 1
    assert (await service.get(replace(caller("admin"), tenant="rival"))).version == 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("permit (principal, action", "parse error"),
        ('permit (principal, action == Action::"serving:pray", resource);', "unrecognized action"),
        ("permit (principal, action, resource) when { resource.colour == 1 };", "colour"),
        ("permit (principal == ?principal, action, resource);", "template"),
        ("//" + "x" * 70_000, "longer"),
    ],
)
async def test_policies_with_a_fault_are_refused_and_the_fault_is_told(
    service: PolicyService, text: str, fault: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await service.put(caller("admin"), text, version=0)
    assert fault in caught.value.fields[0].message


async def test_a_set_that_locks_its_author_out_is_refused(service: PolicyService) -> None:
    for text in ("forbid (principal, action, resource);", 'forbid (principal == Caller::"key:abc", action, resource);'):
        with pytest.raises(InvalidInput, match="lock"):
            await service.put(caller("admin"), text, version=0)
    assert service.permits(caller("admin"), PUT, "*")


async def test_a_stored_set_that_cannot_be_read_denies_all_but_its_repair(
    service: PolicyService, memory: Database, clock: FakeClock
) -> None:
    row = {"tenant": "acme", "version": 1, "text": "nonsense", "changed_at": micros(clock.now()), "changed_by": "x"}
    await memory.write(caller(), lambda connection: connection.execute(policy_sets.insert().values(row)))
    await service.refresh()
    assert not service.permits(caller("admin"), PREDICT, "m")
    assert service.permits(replace(caller("admin"), tenant="rival"), PREDICT, "m")
    assert service.permits(caller("admin"), PUT, "*")
    await service.put(caller("admin"), "", version=1)
    assert service.permits(caller("admin"), PREDICT, "m")


async def test_a_check_of_an_unknown_action_is_refused(service: PolicyService) -> None:
    with pytest.raises(InvalidInput):
        await service.check(caller("admin"), roles=["admin"], scopes=[], action="a:b", resource="*")
    assert not (
        await service.check(caller("admin"), roles=["viewer"], scopes=[], action=LIST.name, resource="*")
    ).allowed


def test_an_engine_error_denies() -> None:
    engine = Engine([PREDICT], attributes={"Model": {"level": "Long"}})
    own = engine.parse("forbid (principal, action, resource) when { resource.level > 3 };")
    for attributes, allowed in (({"level": 1}, True), ({"level": 9}, False), ({}, False)):
        verdict = engine.decide(own, caller("admin"), PREDICT, Resource("Model", "m", "acme", attributes))
        assert verdict.allowed is allowed


def test_an_action_with_two_effects_has_no_schema() -> None:
    with pytest.raises(Misconfigured):
        cedar_schema([PREDICT, replace(PREDICT, effect="write")])
    with pytest.raises(Misconfigured):
        cedar_schema([PREDICT], {"Model": {"x": "Set<Long>"}})
