from __future__ import annotations

from datetime import UTC, datetime

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from stanchion.app.openfeature import FlagProvider
from stanchion.core.flags import Condition, Flag, FlagSet, Rule

FLAGS = FlagSet(
    [
        Flag(key="bool", variants={"on": True, "off": False}, default="on", version=4),
        Flag(key="text", variants={"a": "x"}, default="a"),
        Flag(key="int", variants={"a": 7}, default="a"),
        Flag(key="float", variants={"a": 1.5}, default="a"),
        Flag(key="object", variants={"a": {"limit": 5}}, default="a"),
        Flag(key="split", variants={"a": 1, "b": 2}, default="a", split={"b": 1}),
        Flag(key="killed", variants={"on": True, "off": False}, default="on", off="off", killed=True),
        Flag(
            key="rule",
            variants={"on": True, "off": False},
            default="off",
            rules=(
                Rule(
                    when=(Condition(attribute="since", op="after", value="2026-01-01T00:00:00Z"),),
                    serve="on",
                ),
            ),
        ),
    ]
)


@pytest.fixture
def client(clock):
    api.set_provider(FlagProvider(lambda: FLAGS, clock=clock), "stanchion-test")
    yield api.get_client("stanchion-test")
    api.clear_providers()


def test_each_type_resolves(client):
    assert client.get_boolean_value("bool", False) is True
    assert client.get_string_value("text", "") == "x"
    assert client.get_integer_value("int", 0) == 7
    assert client.get_float_value("float", 0.0) == 1.5
    assert client.get_float_value("int", 0.0) == 7.0
    assert client.get_object_value("object", {}) == {"limit": 5}


def test_details_tell_variant_reason_and_version(client):
    details = client.get_boolean_details("bool", False)
    assert (details.variant, details.reason, details.flag_metadata) == ("on", Reason.STATIC, {"version": 4})
    assert client.get_boolean_details("killed", True).reason == Reason.DISABLED


def test_the_context_targets(client):
    late = EvaluationContext(attributes={"since": datetime(2026, 5, 1, tzinfo=UTC)})
    assert client.get_boolean_details("rule", False, late).reason == Reason.TARGETING_MATCH
    assert client.get_boolean_details("rule", False).reason == Reason.DEFAULT
    assert client.get_integer_details("split", 0, EvaluationContext("user-1")).reason == Reason.SPLIT


@pytest.mark.parametrize(
    ("method", "key", "default", "code"),
    [
        ("boolean", "missing", True, ErrorCode.FLAG_NOT_FOUND),
        ("boolean", "int", True, ErrorCode.TYPE_MISMATCH),
        ("integer", "bool", 3, ErrorCode.TYPE_MISMATCH),
        ("integer", "float", 3, ErrorCode.TYPE_MISMATCH),
        ("float", "bool", 3.0, ErrorCode.TYPE_MISMATCH),
        ("string", "object", "d", ErrorCode.TYPE_MISMATCH),
        ("object", "text", {"d": 1}, ErrorCode.TYPE_MISMATCH),
        ("integer", "split", 3, ErrorCode.TARGETING_KEY_MISSING),
    ],
)
def test_a_fault_gives_the_callers_default_and_its_code(client, method, key, default, code):
    details = getattr(client, f"get_{method}_details")(key, default)
    assert (details.value, details.reason, details.error_code) == (default, Reason.ERROR, code)
