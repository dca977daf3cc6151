"""The telemetry tables of an older program become those of this one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from stanchion.core.storage import Database, Schema
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.tables import TELEMETRY_SCHEMA, ledger


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = open_database("memory:")
    yield database
    await database.close()


def older() -> Schema:
    """The first version: the ledger had no stages."""
    metadata = sa.MetaData()
    for table in TELEMETRY_SCHEMA.metadata.sorted_tables:
        copied = table.to_metadata(metadata)
        if table is ledger:
            copied._columns.remove(copied.c.stages)
    return Schema("telemetry", metadata)


async def test_the_tables_reached_by_steps_are_those_made_anew(database: Database) -> None:
    fresh = open_database("memory:")
    await fresh.prepare(TELEMETRY_SCHEMA)
    await database.prepare(older())
    await database.prepare(TELEMETRY_SCHEMA)

    def shape(connection: sa.Connection) -> dict[str, list[tuple[str, str, bool]]]:
        seen = sa.inspect(connection)
        return {
            name: [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(name)]
            for name in seen.get_table_names()
        }

    assert await database.read(shape) == await fresh.read(shape)
    assert ("stages", "VARCHAR", False) in (await database.read(shape))["ledger"]
    await fresh.close()
