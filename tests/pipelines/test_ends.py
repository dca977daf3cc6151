"""Runs that end together end in one transaction: a batch that the engine refuses would be written one by one."""

from __future__ import annotations

from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.storage.open import open_database
from stanchion.pipelines.backends.journal import _FAIL_WAITS, _FORGET_WAITS
from stanchion.pipelines.backends.tables import SCHEMA


@pytest.mark.parametrize("statement", [_FORGET_WAITS, _FAIL_WAITS], ids=["done", "failed"])
async def test_the_waits_of_many_runs_are_closed_by_one_statement(statement: Any) -> None:
    database = open_database("memory:")
    await database.prepare(SCHEMA)
    whose = [{"of_tenant": "acme", "of_run": str(number)} for number in range(3)]
    await database.write(Context("acme", "ada"), lambda c: c.execute(statement, whose).rowcount)
    await database.close()
