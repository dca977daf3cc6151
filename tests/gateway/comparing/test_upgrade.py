"""Tables of money made anew and tables brought up to date are the same, and old rows are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, insert, inspect, text

from stanchion.core.context import Context
from stanchion.core.storage.open import open_database
from stanchion.core.storage.schema import Schema
from stanchion.gateway.money.tables import SCHEMA, metadata


def _shape(connection: Connection) -> Any:
    columns = inspect(connection).get_columns("gateway_spend")
    return {each["name"]: (str(each["type"]), each["nullable"], each["default"]) for each in columns}


def _old() -> Schema:
    """The tables as they were before calls told how long they took."""
    before = MetaData()
    for table in metadata.tables.values():
        copied = table.to_metadata(before)
        if table.name == "gateway_spend":
            copied._columns.remove(copied.c.took)  # what MetaData has no public way to take out
    return Schema(SCHEMA.module, before)


async def _after_upgrade(url: str) -> tuple[Any, int]:
    database = open_database(url)
    await database.prepare(_old())
    table = _old().metadata.tables["gateway_spend"]
    row = insert(table).values({column.name: "0" if column.type.python_type is str else 0 for column in table.c})
    await database.write(Context("t", "p"), lambda each: each.execute(row).rowcount)
    await database.prepare(SCHEMA)
    shape = await database.read(_shape)
    took = await database.read(lambda each: each.execute(text("SELECT took FROM gateway_spend")).scalar_one())
    await database.close()
    return shape, took


async def _anew(url: str) -> Any:
    database = open_database(url)
    await database.prepare(SCHEMA)
    shape = await database.read(_shape)
    await database.close()
    return shape


async def test_an_upgraded_database_has_the_shape_of_a_new_one(tmp_path: Path) -> None:
    shape, took = await _after_upgrade(f"sqlite://{tmp_path}/old.db")
    assert took == 0
    assert shape == await _anew(f"sqlite://{tmp_path}/new.db")
