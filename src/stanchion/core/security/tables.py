"""The tables of keys, sessions, policies, data keys and secrets, the same for both dialects."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table

from ..storage.schema import Schema

_metadata = MetaData()

api_keys = Table(
    "api_keys",
    _metadata,
    Column("tenant", String(64), primary_key=True),
    # Compared by code point everywhere, so that pages follow one another the same on every engine.
    Column("id", String(32).with_variant(String(32, collation="C"), "postgresql"), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    # Sorted and separated by one space: neither a role nor a scope has a space in it.
    Column("roles", String, nullable=False),
    Column("scopes", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("replaced_by", String(32)),
    Column("last_used_at", BigInteger),
    # A key is found by its id before its tenant is known: the tenant comes from the key.
    Index("api_keys_id", "id", unique=True),
)

sessions = Table(
    "sessions",
    _metadata,
    Column("tenant", String(64), primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Index("sessions_digest", "digest", unique=True),
)

policy_sets = Table(
    "policy_sets",
    _metadata,
    Column("tenant", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", String, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", String(200), nullable=False),
)

data_keys = Table(
    "data_keys",
    _metadata,
    Column("tenant", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("master", String(64), nullable=False),
    # Empty once the tenant is forgotten; the row stays, so that a version is never given out twice.
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

stored_secrets = Table(
    "secrets",
    _metadata,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

SECURITY_SCHEMA = Schema("security", _metadata)
