from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput
from stanchion.core.flags import Condition, Flag, FlagSet, Prerequisite, Rule, flags_from

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ON_OFF = {"on": True, "off": False}


def flag(key="f", **options):
    return Flag(**({"key": key, "variants": ON_OFF, "default": "off"} | options))


def rule(attribute, op, value, **options):
    return Rule(when=(Condition(attribute=attribute, op=op, value=value),), **({"serve": "on"} | options))


def told(flags, attributes=None, key="f"):
    flags = flags if isinstance(flags, FlagSet) else FlagSet([flags])
    found = flags.evaluate(key, attributes or {}, now=NOW)
    return found.variant, found.reason


def test_a_flag_without_rules_is_static():
    assert told(flag()) == ("off", "STATIC")


def test_an_unknown_flag_is_told_as_such():
    found = FlagSet().evaluate("f", {}, now=NOW)
    assert (found.value, found.reason, found.error) == (None, "ERROR", "FLAG_NOT_FOUND")


def test_the_first_rule_that_holds_decides():
    rules = (rule("country", "equals", "DE"), rule("plan", "equals", "free", serve="off"))
    f = flag(rules=rules)
    assert told(f, {"country": "DE", "plan": "free"}) == ("on", "TARGETING_MATCH")
    assert told(f, {"plan": "free"}) == ("off", "TARGETING_MATCH")
    assert told(f, {"country": "FR"}) == ("off", "DEFAULT")


def test_all_conditions_of_a_rule_must_hold():
    both = Rule(
        when=(Condition(attribute="a", op="equals", value=1), Condition(attribute="b", op="equals", value=2)),
        serve="on",
    )
    assert told(flag(rules=(both,)), {"a": 1}) == ("off", "DEFAULT")
    assert told(flag(rules=(both,)), {"a": 1, "b": 2}) == ("on", "TARGETING_MATCH")


@pytest.mark.parametrize(
    ("op", "value", "given", "holds"),
    [
        ("equals", 1, 1, True),
        ("equals", 1, 1.0, True),
        ("equals", 1, True, False),
        ("equals", True, 1, False),
        ("equals", "1", 1, False),
        ("in", ("a", "b"), "b", True),
        ("in", ("a", "b"), "c", False),
        ("prefix", "acme-", "acme-7", True),
        ("prefix", ("x-", "acme-"), "acme-7", True),
        ("prefix", "acme-", 7, False),
        ("semver", ">=2.1 <3", "2.4.1", True),
        ("semver", ">=2.1 <3", "3.0.0", False),
        ("semver", ">=2.1 <3", 2.4, False),
        ("before", "2026-01-01T00:00:00Z", "2025-12-31T23:00:00+00:00", True),
        ("before", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+01:00", True),
        ("after", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", False),
        ("after", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00", False),
        ("after", "2026-01-01T00:00:00Z", "soon", False),
        ("equals", "x", None, False),
        ("in", ("x",), ["x"], False),
    ],
)
def test_conditions(op, value, given, holds):
    expected = ("on", "TARGETING_MATCH") if holds else ("off", "DEFAULT")
    assert told(flag(rules=(rule("x", op, value),)), {"x": given}) == expected


def test_now_is_the_time_of_the_evaluation():
    assert told(flag(rules=(rule("now", "after", "2026-05-31T00:00:00Z"),))) == ("on", "TARGETING_MATCH")
    assert told(flag(rules=(rule("now", "before", "2026-05-31T00:00:00Z"),))) == ("off", "DEFAULT")


def test_a_split_needs_its_unit_and_keeps_it():
    f = flag(split={"on": 30, "off": 70})
    answers = {told(f, {"targeting_key": "user-1"}) for _ in range(5)}
    assert len(answers) == 1
    assert answers.pop()[1] == "SPLIT"
    found = FlagSet([f]).evaluate("f", {}, now=NOW)
    assert (found.value, found.variant, found.reason, found.error) == (False, None, "ERROR", "TARGETING_KEY_MISSING")


def test_two_flags_with_one_salt_split_alike():
    one, other = flag("a", split={"on": 1, "off": 1}, salt="s"), flag("b", split={"on": 1, "off": 1}, salt="s")
    flags = FlagSet([one, other])
    for n in range(50):
        attributes = {"targeting_key": n}
        assert told(flags, attributes, "a") == told(flags, attributes, "b")


def test_a_rule_may_split():
    f = flag(rules=(rule("plan", "equals", "free", serve=None, split={"on": 1}),))
    assert told(f, {"plan": "free", "targeting_key": "u"}) == ("on", "SPLIT")


def test_the_kill_switch_wins_over_everything():
    f = flag(
        variants={"on": 1, "off": 0, "safe": -1},
        off="safe",
        killed=True,
        rules=(Rule(when=(), serve="on"),),
        split={"on": 1},
        prerequisites=(Prerequisite(key="f", variants=("on",)),),
    )
    assert told(f) == ("safe", "DISABLED")


def test_a_failed_prerequisite_serves_off():
    needed, f = (
        flag("n", default="on"),
        flag(default="on", off="off", prerequisites=(Prerequisite(key="n", variants=("on",)),)),
    )
    assert told(FlagSet([needed, f]).check()) == ("on", "DEFAULT")
    assert told(FlagSet([flag("n", default="on", killed=True, off="off"), f])) == ("off", "DEFAULT")
    assert told(FlagSet([f])) == ("off", "DEFAULT")


def needs(key, *others):
    return flag(
        key, default="on", off="off", prerequisites=tuple(Prerequisite(key=o, variants=("on",)) for o in others)
    )


@pytest.mark.parametrize(
    "flags",
    [
        [needs("a", "a")],
        [needs("a", "b"), needs("b", "a")],
        [needs("a", "missing")],
        [needs(str(n), str(n + 1)) for n in range(7)] + [needs("7")],
    ],
)
def test_prerequisites_in_a_circle_missing_or_too_deep_are_refused_and_never_hang(flags):
    with pytest.raises(InvalidInput):
        FlagSet(flags).check()
    assert told(FlagSet(flags), key=flags[0].key) == ("off", "DEFAULT")


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ""},
        {"default": "missing"},
        {"off": "missing"},
        {"split": {"missing": 1}},
        {"split": {"on": 0}},
        {"variants": {}},
        {"rules": (Rule(when=()),)},
        {"rules": (Rule(when=(), serve="on", split={"on": 1}),)},
        {"rules": (Rule(when=(), serve="missing"),)},
        {"rules": (rule("x", "semver", "new"),)},
        {"rules": (rule("x", "before", "2026-01-01"),)},
        {"rules": (rule("x", "prefix", 1),)},
        {"rules": (rule("x", "in", ()),)},
        {"rules": (rule("x", "equals", (1, 2)),)},
    ],
)
def test_a_flag_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InvalidInput):
        FlagSet([flag(**wrong)])


def test_flags_come_from_plain_values():
    [f] = flags_from(
        [
            {
                "key": "f",
                "variants": {"on": True, "off": False},
                "default": "off",
                "rules": [
                    {"when": [{"attribute": "v", "op": "semver", "value": "^1"}], "split": {"on": 10, "off": 90}}
                ],
            }
        ]
    )
    assert f.rules[0].when[0] == Condition(attribute="v", op="semver", value="^1")
    with pytest.raises(InvalidInput, match=r"\$\[0\]\.rules\[0\]"):
        flags_from([{"key": "f", "variants": {}, "default": "x", "rules": [{"when": [{"op": "like"}]}]}])


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v, max_size=2))


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "targeting_key"]), JSON))
def test_evaluation_never_raises_whatever_the_attributes(attributes):
    rules = (
        rule("a", "semver", "^1"),
        rule("b", "after", "2026-01-01T00:00:00Z"),
        rule("c", "prefix", "x"),
    )
    found = FlagSet([flag(rules=rules, split={"on": 1, "off": 1})]).evaluate("f", attributes, now=NOW)
    assert found.value in (True, False)
