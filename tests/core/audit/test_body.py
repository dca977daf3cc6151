from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.clock import micros
from stanchion.core.context import Effect
from stanchion.core.security.audit.body import columns, decode, encode, event, make, shortened

anything = st.text(alphabet=st.characters(), max_size=300)  # lone surrogates and NUL too
facts = st.dictionaries(anything, st.none() | st.booleans() | st.integers() | st.floats() | anything, max_size=30)


def effect(**changes: object) -> Effect:
    values: dict[str, object] = {
        "action": "models:promote",
        "kind": "write",
        "resource": "Model::churn",
        "tenant": "acme",
        "principal": "key:anna",
        "request_id": "r1",
        "trace_id": "t1",
    }
    return Effect(**{**values, **changes})  # type: ignore[arg-type]  # a test of odd values


def test_a_body_is_canonical_json() -> None:
    body = make(effect(facts={"z": 1, "a": "ü", "ok": True, "none": None, "rate": 0.5}), "done", seq=7, at=1_000_001)
    text = encode(body)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert decode(text) == body


def test_the_order_in_which_facts_were_noted_does_not_matter() -> None:
    one = make(effect(facts={"a": 1, "b": 2}), "done", seq=0, at=0)
    two = make(effect(facts={"b": 2, "a": 1}), "done", seq=0, at=0)
    assert encode(one) == encode(two)


@given(text=anything, facts=facts)
def test_whatever_a_caller_notes_becomes_a_body(text: str, facts: dict[str, str | int | float | bool | None]) -> None:
    body = make(effect(resource=text, principal=text, tenant=text, facts=facts), "done", seq=3, at=5)
    assert decode(encode(body)) == body
    assert columns(encode(body)).tenant == body.tenant
    assert len(encode(body)) < 30_000
    assert "\0" not in body.tenant


def test_a_long_text_is_told_by_its_digest() -> None:
    name = "x" * 201
    body = make(effect(resource=name, facts={"name": name}), "done", seq=0, at=0)
    assert body.resource == body.facts["name"] == "sha256:" + hashlib.sha256(name.encode()).hexdigest()
    assert shortened("x" * 200) == "x" * 200


def test_facts_past_the_twentieth_are_counted() -> None:
    body = make(effect(facts={f"f{n}": n for n in range(23)}), "done", seq=0, at=0)
    assert len(body.facts) == 21
    assert body.facts["facts_left_out"] == 3


def test_a_fact_key_that_looks_like_data_is_not_kept() -> None:
    body = make(effect(facts={"anna@example.com": 1}), "done", seq=0, at=0)
    assert b"anna@" not in encode(body)
    assert list(body.facts.values()) == [1]


def test_numbers_that_json_cannot_hold_become_text() -> None:
    body = make(effect(facts={"a": float("nan"), "b": float("-inf"), "c": 2**64}), "done", seq=0, at=0)
    assert body.facts == {"a": "nan", "b": "-inf", "c": str(2**64)}


@given(st.datetimes(timezones=st.just(UTC)))
def test_time_is_kept_to_the_microsecond(moment: datetime) -> None:
    assert event(make(effect(), "done", seq=0, at=micros(moment)), b"").at == moment
