"""What must not leave does not leave, whatever the shape of the call; what was replaced comes back to its owner."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanchion.core.context import Context, system_context
from stanchion.core.errors import InvalidInput, Misconfigured, NotAllowed
from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage.contract import Database
from stanchion.core.storage.open import open_database
from stanchion.core.storage.schema import Schema
from stanchion.gateway.contract.privacy import PrivacySpec, Treatment
from stanchion.gateway.privacy.detect import Detector
from stanchion.gateway.privacy.guard import Guard
from stanchion.gateway.privacy.recognisers import Span
from stanchion.gateway.privacy.stream import AnswerStream
from stanchion.gateway.privacy.tables import metadata, tokens
from stanchion.gateway.privacy.tokens import Tokens
from stanchion.testing.clock import FakeClock

CTX: Context = system_context("acme", task="test")
OTHER: Context = system_context("other", task="test")
fixed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)

CANARIES = {
    "email": "ann.lee@example.org",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ssn": "536-90-4399",
    "ip": "10.0.0.12",
    "phone": "+44 20 7946 0958",
    "secret": "sk-abcdefghijklmnop1234",
}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Database]:
    """A database with the table of tokens."""
    urls = {"memory": lambda: "memory:", "sqlite": lambda: f"sqlite://{tmp_path / 'tokens.db'}"}
    opened = open_database(urls.get(request.param, lambda: request.getfixturevalue("postgres_url"))())
    async with with_tables(opened) as ready:
        yield ready


@asynccontextmanager
async def with_tables(opened: Database) -> AsyncIterator[Database]:
    await opened.prepare(SECURITY_SCHEMA)
    await opened.prepare(Schema("gateway", metadata))
    try:
        yield opened
    finally:
        await opened.close()


def guard_on(database: Database, spec: PrivacySpec) -> Guard:
    vault = Vault(database, MasterKeys.single(b"m" * 32), clock=FakeClock())
    return Guard(spec, Detector(spec), Tokens(database, vault, tokens, FakeClock()))


@pytest.fixture
async def memory() -> AsyncIterator[Database]:
    async with with_tables(open_database("memory:")) as ready:
        yield ready


def everything(treatment: Treatment) -> Mapping[str, Treatment]:
    return dict.fromkeys(CANARIES, treatment)


plain = st.text(st.sampled_from("abc xyz.\n,é漢 "), max_size=20)
words = st.tuples(plain, st.sampled_from(sorted(CANARIES.values())), plain).map(lambda t: f"{t[0]} {t[1]} {t[2]}")
leaves = words | plain | st.integers(-5, 5) | st.booleans() | st.none()
documents = st.dictionaries(
    st.sampled_from(["messages", "content", "input", "text", "arguments", "type", "url"]),
    st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner)),
    max_size=4,
)


@fixed
@given(document=documents, treatment=st.sampled_from(["redact", "tokenise"]))
async def test_nothing_that_is_taken_out_is_left_anywhere_in_a_document(
    memory: Database, document: dict[str, Any], treatment: Treatment
) -> None:
    verdict = await guard_on(memory, PrivacySpec(ask=everything(treatment))).ask(CTX, document)
    told = json.dumps(verdict.document, ensure_ascii=False)
    assert not [canary for canary in CANARIES.values() if canary in told]
    held = sum(json.dumps(document, ensure_ascii=False).count(canary) for canary in CANARIES.values())
    assert sum(verdict.treated.values()) == held == sum(verdict.found.values())
    assert verdict.changed == bool(held)
    assert verdict.label == "internal"


@pytest.mark.parametrize(("kind", "value"), sorted(CANARIES.items()))
async def test_what_is_left_in_a_call_gives_it_its_class(memory: Database, kind: str, value: str) -> None:
    guard = guard_on(memory, PrivacySpec(labels={"ip": "restricted"}))
    verdict = await guard.ask(CTX, {"messages": [{"role": "user", "content": f"It is {value}, I think."}]})
    assert verdict.found == {kind: 1}
    assert verdict.label == ("confidential" if kind in ("email", "phone") else "restricted")


async def test_a_blocked_kind_refuses_the_call_and_is_not_repeated_in_the_refusal(memory: Database) -> None:
    guard = guard_on(memory, PrivacySpec(ask={"card": "block"}))
    with pytest.raises(NotAllowed) as refused:
        await guard.ask(CTX, {"input": CANARIES["card"]})
    assert "card (1)" in refused.value.detail
    assert "4111" not in refused.value.detail


async def test_names_and_bare_numbers_count_though_they_cannot_be_replaced(memory: Database) -> None:
    guard = guard_on(memory, PrivacySpec(ask=everything("redact")))
    assert (await guard.ask(CTX, {"input": {CANARIES["email"]: 1}})).label == "confidential"
    assert (await guard.ask(CTX, {"input": {"number": 4111111111111111}})).label == "restricted"


@pytest.mark.parametrize("where", ['{{"to": "{}"}}', '{{"{}": 1, "a": 1, "a": 2}}', 'The tool said {{"to": "{}"}}.'])
async def test_a_call_hides_nothing_behind_the_escapes_of_json_text(memory: Database, where: str) -> None:
    guard, value = guard_on(memory, PrivacySpec(ask={"email": "tokenise"})), CANARIES["email"]
    hidden = "".join(f"\\u{ord(letter):04x}" for letter in value)
    turns = [{"role": "tool", "tool_call_id": "c1", "content": where.format(hidden)}]
    verdict = await guard.ask(CTX, {"messages": turns})
    [(token, meaning)] = verdict.tokens.items()
    assert meaning == value
    assert verdict.document["messages"][0]["content"] == where.format(token)
    assert await guard.answered(CTX, f'{{"a": "{token}"}}', verdict, json=True) == f'{{"a": "{value}"}}'
    plain = await guard.ask(CTX, {"messages": [{"role": "user", "content": value}]})
    assert plain.tokens == verdict.tokens


async def test_labels_of_touched_data_are_not_lowered_by_the_callers_word(memory: Database) -> None:
    guard = guard_on(memory, PrivacySpec())
    assert (await guard.ask(CTX.labelled("restricted"), {"input": "hello"}, "public")).label == "restricted"
    assert (await guard.ask(CTX, {"input": "hello"}, "public")).label == "public"
    assert (await guard.ask(CTX, {"input": "hello"})).label == "internal"
    with pytest.raises(InvalidInput, match="no sensitivity"):
        await guard.ask(CTX, {"input": "hello"}, "secret-ish")


async def test_what_cannot_be_looked_through_counts_as_restricted(memory: Database) -> None:
    spec = PrivacySpec()

    def broken(text: str) -> Any:
        raise RuntimeError(text)

    vault = Vault(memory, MasterKeys.single(b"m" * 32), clock=FakeClock())
    guard = Guard(spec, Detector(spec, [broken]), Tokens(memory, vault, tokens, FakeClock()))
    verdict = await guard.ask(CTX, {"input": "hello"}, "public")
    assert (verdict.label, verdict.failed) == ("restricted", True)
    pictured = {"image_url": {"url": "data:image/png;base64," + "A" * 400}}
    verdict = await guard_on(memory, spec).ask(CTX, {"content": [pictured]}, "public")
    assert (verdict.label, verdict.opaque) == ("confidential", 1)


@fixed
@given(
    text=st.lists(st.sampled_from([*CANARIES.values(), "and", "EMAIL_", "A", "so on."]), max_size=6).map(" ".join),
    cuts=st.lists(st.integers(0, 120), max_size=8),
)
async def test_tokens_turn_back_wherever_a_stream_is_cut(memory: Database, text: str, cuts: list[int]) -> None:
    guard = guard_on(memory, PrivacySpec(ask=everything("tokenise")))
    verdict = await guard.ask(CTX, {"input": text})
    sent = verdict.document["input"]
    stream = AnswerStream(guard, CTX, verdict)
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    got = [await stream.feed(sent[a:b]) for a, b in pairwise(places)]
    assert "".join([*got, await stream.end()]) == text
    assert await guard.answered(CTX, sent, verdict) == text


async def test_a_token_is_the_same_in_later_calls_and_means_nothing_to_another_tenant(database: Database) -> None:
    spec = PrivacySpec(ask={"email": "tokenise"})
    first = await guard_on(database, spec).ask(CTX, {"input": CANARIES["email"]})
    later = guard_on(database, spec)
    token = first.document["input"]
    nothing = await later.ask(CTX, {"input": "hello"})
    assert (await later.ask(CTX, {"input": CANARIES["email"]})).document["input"] == token
    assert await later.answered(CTX, f"Dear {token}!", nothing) == f"Dear {CANARIES['email']}!"
    assert await later.answered(OTHER, f"Dear {token}!", nothing) == f"Dear {token}!"
    assert (await later.ask(OTHER, {"input": CANARIES["email"]})).document["input"] != token


@fixed
@given(
    text=st.lists(st.sampled_from([*CANARIES.values(), "and", "7", "so on.", "x" * 150]), max_size=8).map(" ".join),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
async def test_a_streamed_answer_never_shows_what_the_rules_take_out(
    memory: Database, text: str, cuts: list[int]
) -> None:
    guard = guard_on(memory, PrivacySpec(answer=everything("redact")))
    nothing = await guard.ask(CTX, {"input": "hello"})
    stream = AnswerStream(guard, CTX, nothing)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    got = [await stream.feed(text[a:b]) for a, b in pairwise(places)]
    told = "".join([*got, await stream.end()])
    assert not [canary for canary in CANARIES.values() if canary in told]


def test_where_a_class_may_go_follows_the_rules() -> None:
    guard = PrivacySpec(regions={"internal": frozenset({"eu-west-1"})})
    assert "on premises" in guard.why_not("restricted", on_premises=False, region="eu-west-1")
    assert guard.why_not("restricted", on_premises=True, region="") == ""
    assert guard.why_not("internal", on_premises=False, region="eu-west-1") == ""
    assert "unnamed region" in guard.why_not("internal", on_premises=False, region="")
    assert guard.why_not("public", on_premises=False, region="anywhere") == ""


def test_a_wrong_word_in_the_rules_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(Misconfigured) as refused:
        PrivacySpec(ask={"emial": "redact"})
    assert "'email'" in refused.value.hint
    with pytest.raises(Misconfigured, match="everywhere"):
        PrivacySpec(patterns={"badge": "x*"})
    with pytest.raises(Misconfigured, match="tokenised"):
        PrivacySpec(answer={"email": "tokenise"})


@pytest.mark.parametrize(
    "text",
    [
        "The order 20261121123456 of 12:30:45 came to 1,234,567.89 for 3.14159 units.",
        "The password is required, and the token expires; version v1.2.3 of 2026-11-21.",
        "Rooms 12-14, pages 120-240, ISBN 978-3-16-148410-0.",
    ],
)
def test_ordinary_numbers_and_words_are_left_alone(text: str) -> None:
    assert Detector(PrivacySpec()).find(text) == []


def test_overlapping_finds_are_one_of_the_gravest_kind() -> None:
    found = Detector(PrivacySpec(patterns={"line": r"mail .*"}, labels={"line": "public"})).find(
        f"mail {CANARIES['email']} now"
    )
    assert found == [Span("email", 0, len(f"mail {CANARIES['email']} now"))]
