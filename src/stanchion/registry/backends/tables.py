"""The registry's tables, the same on SQLite and PostgreSQL. Times are microseconds since the epoch, in UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

from ...core.storage import Schema

metadata = MetaData()


def _name(name: str, *, key: bool = False) -> Column[str]:
    # PostgreSQL would sort by the language of the database; the contract promises code points, as SQLite does.
    return Column(name, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


# One row for each tenant: every write locks it, and the cursors of changes come from it.
cursors = Table(
    "registry_cursors",
    metadata,
    _name("tenant", key=True),
    Column("last", BigInteger, nullable=False),
)

changes = Table(
    "registry_changes",
    metadata,
    _name("tenant", key=True),
    Column("cursor", BigInteger, primary_key=True, autoincrement=False),
    _name("model"),
    _name("version"),
    Column("kind", String, nullable=False),
    Column("at", BigInteger, nullable=False),
)

models = Table(
    "registry_models",
    metadata,
    _name("tenant", key=True),
    _name("model", key=True),
    Column("updated_at", BigInteger, nullable=False),
)

_IN_PRODUCTION = text("stage = 'production'")

versions = Table(
    "registry_versions",
    metadata,
    _name("tenant", key=True),
    _name("model", key=True),
    _name("version", key=True),
    Column("ordinal", Integer, nullable=False),
    Column("stage", String, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("manifest_sha256", String, nullable=False),
    Column("signature", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("package_sha256", String, nullable=False),
    Index("registry_version_ordinal", "tenant", "model", "ordinal", unique=True),
    Index("registry_version_package", "tenant", "model", "package_sha256", unique=True),
    # The engine itself admits one production version of a model at most.
    Index(
        "registry_version_production",
        "tenant",
        "model",
        unique=True,
        sqlite_where=_IN_PRODUCTION,
        postgresql_where=_IN_PRODUCTION,
    ),
)

aliases = Table(
    "registry_aliases",
    metadata,
    _name("tenant", key=True),
    _name("model", key=True),
    _name("alias", key=True),
    _name("version"),
)

promotions = Table(
    "registry_promotions",
    metadata,
    _name("tenant", key=True),
    _name("id", key=True),
    Column("number", Integer, nullable=False),
    _name("model"),
    _name("version"),
    Column("to", String, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("requested_by", String, nullable=False),
    Column("decided_at", BigInteger),
    Column("decided_by", String),
    Column("replaces", String),
    Index("registry_promotion_number", "tenant", "model", "number", unique=True),
)

tenures = Table(
    "registry_tenures",
    metadata,
    _name("tenant", key=True),
    _name("model", key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _name("version"),
    Column("undone", Boolean, nullable=False),
)

# What was uploaded or is about to be. `state` is uploading, kept (a version needs it) or sweeping.
contents = Table(
    "registry_contents",
    metadata,
    _name("tenant", key=True),
    _name("sha256", key=True),
    Column("state", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("registry_content_state", "state", "at"),
)

SCHEMA = Schema("registry", metadata)
