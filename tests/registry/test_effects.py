"""Each change is one audit event in its own transaction, with facts and without personal words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from stanchion.core.context import Context, Effect
from stanchion.core.errors import NotAllowed
from stanchion.core.storage import Journal
from stanchion.core.storage.open import open_database
from stanchion.registry.backends.tables import SCHEMA
from stanchion.testing.registry_cases import ADA, BOB, FILES, draft


class Told(Journal):
    """Keeps what it is told, or refuses everything."""

    def __init__(self) -> None:
        self.facts: list[dict[str, Any]] = []
        self.full = False

    def record(self, connection: object, effects: Sequence[Effect]) -> None:
        if self.full:
            raise OSError("no space is left")
        self.facts += [dict(effect.facts) for effect in effects]

    def committed(self) -> None:
        pass


def effect(ctx: Context) -> Context:
    return replace(ctx, effect=Effect("a:b", "write", "Model::m", ctx.tenant, ctx.principal, "r", "t"))


@pytest.fixture
async def told(bench: Any) -> Told:
    journal = Told()
    bench.database = open_database("memory:", journal=journal)
    await bench.database.prepare(SCHEMA)
    return journal


async def test_every_change_is_one_event_with_its_facts(bench: Any, told: Told) -> None:
    registry = bench.registry()
    made = await registry.register(effect(ADA), draft(), FILES)
    await registry.promote(effect(ADA), "churn", "1.0.0", to="staging")
    asked = await registry.promote(effect(ADA), "churn", "1.0.0", to="production", evidence="because of Ann")
    await registry.promote(effect(BOB), "churn", "1.0.0", to="production")
    await registry.alias(effect(ADA), "churn", "mine", "1.0.0")
    registered, _, pending, done, alias = told.facts
    assert registered["manifest_sha256"] == made.manifest_sha256
    assert (pending["status"], pending["promotion"], pending["decided_by"]) == ("pending", asked.id, None)
    assert (done["status"], done["to"], done["replaces"]) == ("done", "production", None)
    assert (done["requested_by"], done["decided_by"]) == ("ada", "bob")
    assert alias == {"model": "churn", "alias": "mine", "version": "1.0.0"}
    assert "Ann" not in str(told.facts)


async def test_a_rollback_s_reason_is_told_by_its_digest_only(bench: Any, told: Told) -> None:
    registry = bench.registry(development=True)
    for weights in ("w1", "w2"):
        made = await registry.register(ADA, draft(weights=weights), FILES)
        await registry.promote(ADA, "churn", made.version, to="production", evidence="good")
    await registry.rollback(effect(ADA), "churn", reason="Ann complained")
    [facts] = told.facts
    assert (facts["version"], facts["replaces"], facts["reason_length"]) == ("1.0.0", "1.1.0", 14)
    assert "Ann" not in str(facts)
    assert (await registry.promotions(ADA, "churn"))[0].evidence == "Rollback: Ann complained"


async def test_what_the_audit_log_cannot_take_does_not_happen(bench: Any, told: Told) -> None:
    registry = bench.registry()
    await registry.register(ADA, draft(), FILES)
    told.full = True
    with pytest.raises(Exception):  # noqa: B017 - whatever the database makes of it
        await registry.promote(effect(ADA), "churn", "1.0.0", to="staging")
    assert (await registry.resolve(ADA, "churn")).stage == "dev"
    assert await registry.promotions(ADA, "churn") == []


async def test_a_refused_decision_is_no_event(bench: Any, told: Told) -> None:
    registry = bench.registry()
    await registry.register(ADA, draft(), FILES)
    await registry.promote(ADA, "churn", "1.0.0", to="staging")
    await registry.promote(ADA, "churn", "1.0.0", to="production", evidence="good")
    with pytest.raises(NotAllowed):
        await registry.promote(effect(ADA), "churn", "1.0.0", to="production")
    assert told.facts == []


async def test_in_development_mode_one_person_is_enough_and_the_record_says_so(bench: Any, told: Told) -> None:
    registry = bench.registry(development=True)
    await registry.register(ADA, draft(), FILES)
    done = await registry.promote(effect(ADA), "churn", "1.0.0", to="production", evidence="good")
    assert (done.status, done.requested_by, done.decided_by) == ("done", "ada", "ada")
    assert told.facts[0]["requested_by"] == told.facts[0]["decided_by"] == "ada"
