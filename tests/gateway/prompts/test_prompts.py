"""A prompt's version is what it was for ever; its gaps take what fits them, and nothing in it is run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.context import Context, system_context
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.core.storage.open import open_database
from stanchion.core.storage.schema import Schema
from stanchion.gateway.contract.prompts import Message, Variable
from stanchion.gateway.prompts.service import PromptService
from stanchion.gateway.prompts.tables import metadata
from stanchion.gateway.prompts.template import fill
from stanchion.testing.clock import FakeClock

CTX: Context = system_context("acme", task="test")
GREETING = [Message("system", "Be kind."), Message("user", "Greet {{ customer }} {{times}} times.")]
VARIABLES = [Variable("customer"), Variable("times", "integer", default=1)]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def prompts(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PromptService]:
    """A service on each engine in turn."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    else:
        url = "memory:" if request.param == "memory" else f"sqlite://{tmp_path / 'prompts.db'}"
    database = open_database(url)
    await database.prepare(Schema("gateway", metadata))
    yield PromptService(database, FakeClock())
    await database.close()


async def test_versions_count_up_and_stay_what_they_were(prompts: PromptService) -> None:
    first = await prompts.add_prompt(CTX, "greeting", GREETING, variables=VARIABLES, note="first")
    second = await prompts.add_prompt(CTX, "greeting", [Message("user", "Say hello.")], after=1)
    assert (first.version, second.version) == (1, 2)
    assert await prompts.prompt(CTX, "greeting", 1) == first
    assert await prompts.prompt(CTX, "greeting") == second
    with pytest.raises(Conflict, match="the newest version of greeting is 2"):
        await prompts.add_prompt(CTX, "greeting", GREETING, variables=VARIABLES, after=1)
    with pytest.raises(NotFound):
        await prompts.prompt(CTX, "greeting", 3)
    assert [(view.name, view.newest) for view in await prompts.prompts(CTX)] == [("greeting", 2)]


async def test_versions_added_at_once_are_all_kept_or_refused(prompts: PromptService) -> None:
    added = await asyncio.gather(
        *(prompts.add_prompt(CTX, "busy", [Message("user", f"number {n}")]) for n in range(10)),
        return_exceptions=True,
    )
    kept = [each.version for each in added if not isinstance(each, BaseException)]
    assert sorted(kept) == list(range(1, len(kept) + 1))
    assert all(isinstance(each, Conflict) for each in added if isinstance(each, BaseException))


async def test_a_label_shows_versions_by_weight_and_keeps_each_unit_on_its_side(prompts: PromptService) -> None:
    for text in ("one", "two"):
        await prompts.add_prompt(CTX, "ab", [Message("user", text)])
    view = await prompts.label_prompt(CTX, "ab", "production", {1: 3.0, 2: 1.0})
    assert view.labels == {"production": {1: 3.0, 2: 1.0}}
    seen = {unit: (await prompts.render_prompt(CTX, "ab", {}, unit=unit)).version for unit in map(str, range(400))}
    assert 0.65 < Counter(seen.values())[1] / 400 < 0.85
    again = {unit: (await prompts.render_prompt(CTX, "ab", {}, unit=unit)).version for unit in seen}
    assert again == seen
    await prompts.label_prompt(CTX, "ab", "production", {2: 1.0})
    assert (await prompts.render_prompt(CTX, "ab", {})).version == 2
    assert (await prompts.render_prompt(CTX, "ab", {}, label="1")).messages == [Message("user", "one")]
    await prompts.label_prompt(CTX, "ab", "production", {})
    with pytest.raises(NotFound, match="no label production"):
        await prompts.render_prompt(CTX, "ab", {})
    with pytest.raises(NotFound):
        await prompts.label_prompt(CTX, "ab", "production", {7: 1.0})


async def test_another_tenant_sees_nothing(prompts: PromptService) -> None:
    await prompts.add_prompt(CTX, "mine", GREETING, variables=VARIABLES)
    other = replace(CTX, tenant="other")
    assert await prompts.prompts(other) == []
    with pytest.raises(NotFound):
        await prompts.prompt(other, "mine", 1)
    with pytest.raises(NotFound):
        await prompts.label_prompt(other, "mine", "production", {})


async def test_a_wrong_value_is_told_by_its_path(prompts: PromptService) -> None:
    await prompts.add_prompt(CTX, "greeting", GREETING, variables=VARIABLES)
    filled = await prompts.render_prompt(CTX, "greeting", {"customer": "Ann"}, label="1")
    assert filled.messages[1].text == "Greet Ann 1 times."
    for values, path in (
        ({}, "$.variables.customer"),
        ({"customer": 7}, "$.variables.customer"),
        ({"customer": "Ann", "times": True}, "$.variables.times"),
        ({"customer": "Ann", "mood": "good"}, "$.variables.mood"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await prompts.render_prompt(CTX, "greeting", values, label="1")
        assert [fault.path for fault in refused.value.fields] == [path]


async def test_a_template_that_could_never_be_filled_is_refused(prompts: PromptService) -> None:
    for messages, variables, said in (
        ([], [], "needs a message"),
        ([Message("user", "  ")], [], "needs words"),
        ([Message("user", "{{gap}}")], [], "do not fit"),
        ([Message("user", "no gap")], [Variable("gap")], "do not fit"),
        ([Message("user", "{{a b}}")], [], "do not fit"),
        ([Message("user", "{{n}}")], [Variable("n", "integer", default="one")], "do not fit"),
    ):
        with pytest.raises(InvalidInput, match=said):
            await prompts.add_prompt(CTX, "wrong", messages, variables=variables)
    assert await prompts.prompts(CTX) == []


@given(st.text(max_size=60))
def test_what_fills_a_gap_is_never_read_as_a_template(text: str) -> None:
    value = text + "{{customer}} {{times}}"
    [filled] = fill([Message("user", "<{{customer}}>")], [Variable("customer")], {"customer": value})
    assert filled.text == f"<{value}>"
