"""Rights only ever shrink along a call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.context import Rights, scope_covers

SCOPES = st.frozensets(st.sampled_from(["*", "a:*", "b:*", "a:x", "a:y", "b:x"]))
ACTIONS = ("a:x", "a:y", "b:x", "b:y", "c:x")


def within(limit: frozenset[str] | None, action: str) -> bool:
    return limit is None or any(scope_covers(scope, action) for scope in limit)


@given(SCOPES, SCOPES, st.sampled_from(ACTIONS))
def test_a_limit_taken_twice_admits_what_both_admit(first: frozenset[str], second: frozenset[str], action: str) -> None:
    rights = Rights(roles=frozenset({"admin"})).narrowed(first).narrowed(second)
    assert within(rights.limit, action) == (within(first, action) and within(second, action))


def test_a_scope_covers_itself_and_what_is_below_it() -> None:
    assert scope_covers("*", "a:*")
    assert scope_covers("a:*", "a:x")
    assert not scope_covers("a:*", "ab:x")
    assert not scope_covers("a:x", "a:*")
