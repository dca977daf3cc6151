"""JSON Patch behaves as RFC 6902 says, and a difference applied gives the other document."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput
from stanchion.review.patch import apply, diff, same, touched

# RFC 6902, appendix A: document, patch, result.
GOOD: dict[str, tuple[Any, list[dict[str, Any]], Any]] = {
    "A.1": ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    "A.2": ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    "A.3": ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    "A.4": ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    "A.5": (
        {"baz": "q", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    "A.6": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.10": (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    "A.11": ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    "A.14": ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    "A.16": (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
}
BAD: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "A.9": ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}]),
    "A.12": ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}]),
    "A.15": ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}]),
    "remove nothing": ({}, [{"op": "remove", "path": "/a"}]),
    "beyond the end": ([1], [{"op": "add", "path": "/2", "value": 1}]),
    "leading zero": ([1, 2], [{"op": "remove", "path": "/01"}]),
    "into itself": ({"a": {}}, [{"op": "move", "from": "/a", "path": "/a/b"}]),
    "unknown": ({}, [{"op": "merge", "path": "", "value": 1}]),
    "no value": ({}, [{"op": "add", "path": "/a"}]),
    "no pointer": ({}, [{"op": "add", "path": "a", "value": 1}]),
    "bad escape": ({}, [{"op": "add", "path": "/~2", "value": 1}]),
    "true is no number": ([1], [{"op": "test", "path": "/0", "value": True}]),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_examples_of_the_rfc_give_its_results(name: str) -> None:
    document, patch, result = GOOD[name]
    assert same(apply(document, patch), result)


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_applied_is_refused_and_changes_nothing(name: str) -> None:
    document, patch = BAD[name]
    before = repr(document)
    with pytest.raises(InvalidInput):
        apply(document, patch)
    assert repr(document) == before


def test_a_patch_tells_what_it_touches() -> None:
    assert touched([{"op": "move", "from": "/a", "path": "/b"}, {"op": "remove", "path": "/c"}]) == ["/b", "/a", "/c"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab~/", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=4),
    max_leaves=12,
)


@given(one=JSON, other=JSON)
def test_a_difference_applied_gives_the_other_document(one: Any, other: Any) -> None:
    changes = diff(one, other)
    assert same(apply(one, changes), other)
    assert bool(changes) != same(one, other)
