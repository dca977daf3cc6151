"""Policies turned into store filters admit exactly what the policies permit, or are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, create_engine, select

from stanchion.core.context import Context, Rights
from stanchion.core.contract import Action
from stanchion.core.errors import NotAllowed
from stanchion.core.security.policy.engine import Engine, Resource
from stanchion.core.security.policy.filters import ID, Always, Columns, Filter, matches, to_sql
from stanchion.core.security.policy.residuals import filter_of

READ = Action("docs:read", "read", "Document", "name")
TYPES = {"owner": "String?", "region": "String", "level": "Long", "secret": "Bool", "acl": "Set<String>"}
ENGINE = Engine([READ], attributes={"Document": TYPES})
NAMES = st.sampled_from(["a", "b", "é'\"%"])


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def setting(values: list[str]) -> str:
    return "[" + ", ".join(quoted(v) for v in values) + "]"


ATOMS = st.one_of(
    NAMES.map(lambda n: f"resource.region == {quoted(n)}"),
    NAMES.map(lambda n: f"{quoted(n)} != resource.region"),
    NAMES.map(lambda n: f"(resource has owner && resource.owner == {quoted(n)})"),
    NAMES.map(lambda n: f"resource.acl.contains({quoted(n)})"),
    st.lists(NAMES, max_size=2).map(lambda n: f"resource.acl.containsAny([{', '.join(map(quoted, ['a', *n]))}])"),
    st.lists(NAMES, max_size=2).map(lambda n: f"resource.acl.containsAll([{', '.join(map(quoted, ['b', *n]))}])"),
    st.lists(NAMES, min_size=1, max_size=2).map(lambda n: f"{setting(n)}.contains(resource.region)"),
    st.integers(-1, 1).map(lambda n: f"resource.level == {n}"),
    st.sampled_from(["resource.secret", "resource.secret == false", "true", "false", "principal.scopes.isEmpty()"]),
    st.sampled_from(["resource.acl.containsAny(principal.roles)", "principal.roles.contains(resource.region)"]),
    NAMES.map(lambda n: f"resource == Document::{quoted(n)}"),
    st.just("resource is Document"),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda c: f"!({c})"),
    ),
    max_leaves=4,
)
POLICIES = st.lists(
    st.tuples(
        st.sampled_from(["permit", "permit", "forbid"]),
        st.sampled_from(["resource", "resource is Document", 'resource == Document::"a"']),
        st.sampled_from(["when", "unless"]),
        CONDITIONS,
    ).map(lambda p: f"{p[0]} (principal, action, {p[1]}) {p[2]} {{ {p[3]} }};"),
    max_size=3,
).map("\n".join)
RESOURCES = st.fixed_dictionaries(
    {
        ID: NAMES,
        "tenant": st.sampled_from(["acme", "acme", "rival"]),
        "owner": st.none() | NAMES,
        "region": NAMES,
        "level": st.integers(-1, 1),
        "secret": st.booleans(),
        "acl": st.lists(NAMES, max_size=2, unique=True),
    }
)
CALLERS = st.builds(
    Context,
    tenant=st.just("acme"),
    principal=st.sampled_from(["key:a", 'user:"x"', "user:o'é\n\\\u200b"]),
    rights=st.builds(Rights, st.frozensets(NAMES, max_size=2), st.frozensets(st.sampled_from(["docs:*", "x:y"]))),
)


def filter_from(text: str, ctx: Context) -> Filter:
    return filter_of(ENGINE.residuals(ENGINE.parse(text), ctx, READ), "Document")


def decided(text: str, ctx: Context, row: dict[str, object]) -> bool:
    present = {name: value for name, value in row.items() if name in TYPES and value is not None}
    resource = Resource("Document", str(row[ID]), str(row["tenant"]), present)  # type: ignore[arg-type]  # plain values
    return ENGINE.decide(ENGINE.parse(text), ctx, READ, resource).allowed


META = MetaData()
DOCS = Table(
    "docs",
    META,
    Column("id", String),
    Column("tenant", String),
    Column("owner", String),
    Column("region", String),
    Column("level", Integer),
    Column("secret", Boolean),
)
ACL = Table("acl", META, Column("doc", String), Column("name", String))
COLUMNS = Columns(
    scalars={ID: DOCS.c.id, **{name: DOCS.c[name] for name in ("tenant", "owner", "region", "level", "secret")}},
    sets={"acl": lambda name: select(ACL.c.doc).where(ACL.c.doc == DOCS.c.id, ACL.c.name == name).exists()},
)
SQLITE = create_engine("sqlite://")
META.create_all(SQLITE)


def found_by_sql(condition: Filter, row: dict[str, object]) -> bool:
    with SQLITE.connect() as connection, connection.begin() as transaction:
        connection.execute(DOCS.insert().values(id=row[ID], **{k: v for k, v in row.items() if k not in (ID, "acl")}))
        for name in row["acl"]:  # type: ignore[attr-defined]  # a list of names
            connection.execute(ACL.insert().values(doc=row[ID], name=name))
        found = connection.execute(select(DOCS.c.id).where(to_sql(condition, COLUMNS))).all()
        transaction.rollback()
    return len(found) == 1


@settings(max_examples=300, deadline=None)
@given(POLICIES, CALLERS, RESOURCES)
def test_a_filter_admits_exactly_what_the_policies_permit(text: str, ctx: Context, row: dict[str, object]) -> None:
    assert ENGINE.faults(text) == []
    condition = filter_from(text, ctx)
    truth = decided(text, ctx, row)
    assert matches(condition, row) == truth
    assert found_by_sql(condition, row) == truth


@pytest.mark.parametrize(
    "condition",
    [
        "resource.level > 0",
        "resource.level + 1 == 2",
        'resource.region like "a*"',
        'resource in Document::"a"',
        "if resource.secret then true else resource.level == 1",
        "resource.acl == principal.roles",
        "resource.region == resource.tenant",
        "resource.acl.isEmpty()",
    ],
)
def test_what_no_store_can_be_asked_is_refused(condition: str) -> None:
    ctx = Context(tenant="acme", principal="key:a", rights=Rights(scopes=frozenset({"*"})))
    for effect in ("permit", "forbid"):
        with pytest.raises(NotAllowed):
            filter_from(f"{effect} (principal, action, resource) when {{ {condition} }};", ctx)


def test_a_caller_without_rights_finds_nothing() -> None:
    nobody = Context(tenant="acme", principal="key:a")
    assert not matches(filter_from("", nobody), {ID: "a", "tenant": "acme"})
    barred = "forbid (principal, action, resource);"
    assert filter_from(barred, nobody) == Always(False)


def test_a_store_without_the_attribute_refuses() -> None:
    ctx = Context(tenant="acme", principal="key:a", rights=Rights(scopes=frozenset({"*"})))
    bare = Columns(scalars={"tenant": DOCS.c.tenant}, sets={})
    for condition in ('resource.region == "a"', 'resource.acl.contains("a")', "resource has owner"):
        text = f"forbid (principal, action, resource) when {{ {condition} }};"
        with pytest.raises(NotAllowed):
            to_sql(filter_from(text, ctx), bare)
