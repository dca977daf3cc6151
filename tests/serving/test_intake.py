"""Any JSON is either a checked instance or InvalidInput with the place of the fault."""

from __future__ import annotations

import enum
import json
import math
from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stanchion.core.errors import InvalidInput
from stanchion.serving.intake import Intake
from stanchion.serving.package import Column


class Plan(enum.Enum):
    small = "small"
    large = "large"


class Place(BaseModel):
    city: str
    zone: int = 3


class Order(BaseModel):
    order_id: Annotated[str, Field(min_length=2, max_length=8, pattern=r"^[a-z]+$")]
    amount: float = Field(gt=0, lt=1000)
    count: int = Field(1, ge=1, le=9)
    plan: Plan = Plan.small
    rate: float | None = None
    tags: list[str] = Field(default=["new"], max_length=3)
    place: Place | None = None
    when: datetime | None = None
    kind: Literal["a"] = "a"
    level: Literal[1, 2] = 1
    class_: str = Field("x", alias="class")


INTAKE = Intake(Order.model_json_schema())
GOOD = {"order_id": "abc", "amount": 9.5}


def places(instance: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        INTAKE.checked(instance)
    return [each.path for each in caught.value.fields]


def test_absent_optional_fields_take_their_declared_default() -> None:
    plain = INTAKE.plain(INTAKE.checked(GOOD))
    assert plain == {
        **GOOD, "count": 1, "plan": "small", "rate": None, "tags": ["new"], "place": None, "when": None,
        "kind": "a", "level": 1, "class": "x",
    }  # fmt: skip
    assert Order.model_validate(plain).plan is Plan.small


def test_defaults_of_one_instance_are_not_those_of_the_next() -> None:
    INTAKE.checked(GOOD).f5.append("spoilt")
    assert INTAKE.plain(INTAKE.checked(GOOD))["tags"] == ["new"]


def test_whole_numbers_are_taken_for_floats_and_nothing_else_is_converted() -> None:
    assert INTAKE.checked({**GOOD, "amount": 9}).f1 == 9.0
    assert places({**GOOD, "amount": "9"}) == ["$.features.amount"]
    assert places({**GOOD, "amount": True}) == ["$.features.amount"]
    assert places({**GOOD, "count": 1.5}) == ["$.features.count"]
    assert places({**GOOD, "count": True}) == ["$.features.count"]
    assert places({**GOOD, "amount": None}) == ["$.features.amount"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 10**400])
def test_numbers_that_float32_cannot_hold_are_refused(value: float) -> None:
    assert places({**GOOD, "rate": value}) == ["$.features.rate"]


def test_every_fault_is_named_at_once() -> None:
    found = places({"amount": -1, "count": 10, "plan": "huge", "extra": 1, "place": {"city": 5}, "tags": [1]})
    assert set(found) == {
        "$.features.order_id", "$.features.amount", "$.features.count", "$.features.plan", "$.features.extra",
        "$.features.place.city", "$.features.tags[0]",
    }  # fmt: skip


def test_bounds_lengths_and_patterns_hold() -> None:
    assert places({**GOOD, "amount": 0}) == places({**GOOD, "amount": 1000}) == ["$.features.amount"]
    assert places({**GOOD, "order_id": "a"}) == places({**GOOD, "order_id": "ABC"}) == ["$.features.order_id"]
    assert places({**GOOD, "tags": ["a", "b", "c", "d"]}) == ["$.features.tags"]
    assert places({**GOOD, "place": {"city": "x", "more": 1}}) == ["$.features.place"]


def test_what_a_caller_sent_is_not_repeated_in_the_error() -> None:
    canary = "canary-4242"
    for field in ("plan", "kind", "amount", "count", "when", "order_id", "level"):
        with pytest.raises(InvalidInput) as caught:
            INTAKE.checked({**GOOD, field: [canary]})
        assert canary not in json.dumps(caught.value.problem())
    with pytest.raises(InvalidInput) as caught:
        INTAKE.checked({**GOOD, "plan": canary})
    assert canary not in json.dumps(caught.value.problem())
    assert '"small", "large"' in caught.value.fields[0].message


@pytest.mark.parametrize("instance", [None, 3, "text", [], [GOOD]])
def test_only_an_object_is_an_instance(instance: Any) -> None:
    assert places(instance) == ["$.features"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
NAMES = st.sampled_from(sorted(Order.model_json_schema()["properties"]))
NEAR = st.dictionaries(NAMES, JSON, max_size=4).map(lambda changes: {**GOOD, **changes})
ANY = st.dictionaries(st.text(st.characters(), max_size=9), JSON, max_size=4)


@given(JSON | NEAR | ANY)
def test_any_json_is_checked_or_refused_with_a_place(instance: Any) -> None:
    try:
        item = INTAKE.checked(instance)
    except InvalidInput as error:
        assert error.fields
        assert all(each.path.startswith("$.features") for each in error.fields)
        json.dumps(error.problem()).encode()
    else:
        assert set(instance) <= set(INTAKE.plain(item))


@given(st.fixed_dictionaries({"order_id": st.from_regex(r"\A[a-z]{2,8}\Z"), "amount": st.floats(0.001, 999)}))
def test_what_the_declared_type_admits_is_admitted(instance: dict[str, Any]) -> None:
    assert Order.model_validate(INTAKE.plain(INTAKE.checked(instance))).amount == instance["amount"]


def test_a_category_becomes_its_place_and_an_absent_number_nan() -> None:
    columns = [Column("rate", "number"), Column("plan", "category", ("small", "large")), Column("amount", "number")]
    intake = Intake(Order.model_json_schema(), columns)
    row = intake.row(intake.checked({**GOOD, "plan": "large"}))
    assert math.isnan(row[0])
    assert row[1:] == [1.0, 9.5]


@pytest.mark.parametrize(
    "columns",
    [[Column("missing", "number")], [Column("plan", "category", ("small",))], [Column("order_id", "category", ("a",))]],
)
def test_columns_that_the_schema_does_not_cover_are_refused_when_loaded(columns: list[Column]) -> None:
    with pytest.raises(InvalidInput):
        Intake(Order.model_json_schema(), columns)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"type": "object"},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/nowhere"}}},
        {"type": "object", "properties": {"a": {"enum": [1.5]}}},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/A"}},
            "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}},
        },
        {
            "type": "object",
            "properties": {"a": {"anyOf": [{"type": "object", "properties": {"b": {}}}] * 2}},
        },
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused_when_loaded(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Intake(schema)
