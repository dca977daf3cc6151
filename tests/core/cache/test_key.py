from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.cache import CacheKey
from stanchion.core.context import Context, Rights
from stanchion.core.errors import InvalidInput

CTX = Context(tenant="acme", principal="key:1", rights=Rights(scopes=frozenset({"a:read", "b:read"})))


def test_a_key_is_the_same_in_every_process():
    assert CacheKey("answers", policy="3").key(CTX, "q", {"b": 1, "a": [1.5, None]}) == (
        "acme:f18ce8a5794aa816b3cb49f877fd3638"
    )


def test_the_order_of_a_mapping_does_not_matter():
    keys = CacheKey("s")
    assert keys.key(CTX, {"a": 1, "b": 2}) == keys.key(CTX, {"b": 2, "a": 1})


def test_whoever_asks_in_a_trace_or_request_of_their_own_gets_the_same_key():
    keys = CacheKey("s")
    assert keys.key(CTX, 1) == keys.key(Context(tenant="acme", principal="key:2", rights=CTX.rights), 1)


def test_tenant_rights_versions_space_and_parts_each_make_another_key():
    narrow = replace(CTX, rights=Rights(scopes=frozenset({"a:read"})))
    roles = replace(CTX, rights=replace(CTX.rights, roles=frozenset({"admin"})))
    made = [
        CacheKey("s").key(CTX, "x"),
        CacheKey("s").key(replace(CTX, tenant="other"), "x"),
        CacheKey("s").key(narrow, "x"),
        CacheKey("s").key(roles, "x"),
        CacheKey("s").key(replace(CTX, rights=CTX.rights.narrowed(frozenset())), "x"),
        CacheKey("t").key(CTX, "x"),
        CacheKey("s", policy="1").key(CTX, "x"),
        CacheKey("s", policy="2").key(CTX, "x"),
        CacheKey("s").key(CTX, "x", None),
        CacheKey("s").key(CTX, ["x"]),
        CacheKey("s").key(CTX, 1),
        CacheKey("s").key(CTX, 1.0),
        CacheKey("s").key(CTX, True),
        CacheKey("s").key(CTX, "1"),
        CacheKey("s").key(CTX, {"1": 0}),
    ]
    assert all(a != b for a, b in combinations(made, 2))


@pytest.mark.parametrize("part", [object(), 1 << 70, {1: 0}])
def test_a_part_without_a_stable_form_is_refused(part):
    with pytest.raises(InvalidInput):
        CacheKey("s").key(CTX, part)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN, PLAIN)
def test_equal_parts_give_equal_keys_and_others_do_not(one, other):
    keys = CacheKey("s")
    same = repr(one) == repr(other)
    if same:
        assert keys.key(CTX, one) == keys.key(CTX, other)
    elif one != other:
        assert keys.key(CTX, one) != keys.key(CTX, other)
