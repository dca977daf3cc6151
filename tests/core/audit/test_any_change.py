"""Any change of one value, or of a piece of the checkpoint file, is found or means nothing."""

# The names in these statements are the tests' own.
# ruff: noqa: S608

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanchion.core.context import Context
from stanchion.core.security.contract import AuditReport

Rig = Any  # the fixture's type lives in conftest.py, which tests cannot import
COUNT = 300


@pytest.fixture
async def rig(filled: Rig) -> Rig:
    return filled


value = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary()
CELLS = [
    *(("audit_events", name) for name in ("seq", "tenant", "at", "action", "hash", "body")),
    *(("audit_head", name) for name in ("id", "size", "chain", "peaks")),
    *(("audit_nodes", name) for name in ("level", "place", "hash")),
]


@pytest.fixture
async def intact(rig: Rig) -> dict[str, Any]:
    """The log's bytes before anything was done to it."""
    with sqlite3.connect(rig.file) as link:
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        tables = {
            name: link.execute(f"SELECT * FROM {name}").fetchall()
            for name in ("audit_events", "audit_head", "audit_nodes")
        }
    link.close()
    return {"rig": rig, "tables": tables, "notes": rig.notes.read_bytes()}


def restore(link: sqlite3.Connection, tables: dict[str, list[tuple[object, ...]]]) -> None:
    for name, rows in tables.items():
        link.execute(f"DELETE FROM {name}")
        link.executemany(f"INSERT INTO {name} VALUES ({','.join('?' * len(rows[0]))})", rows)


@pytest.fixture
def verify_now(intact: dict[str, Any], ctx: Context) -> Callable[[], AuditReport]:
    """Verification without an event loop: hypothesis calls a plain function many times within one test."""
    from stanchion.core.security.audit.file_sink import FileSink
    from stanchion.core.security.audit.verify import Faults, check, open_notes
    from stanchion.core.storage.sql.sqlite import sqlite_engine

    rig = intact["rig"]
    engine = sqlite_engine(rig.file)

    def verify() -> AuditReport:
        faults = Faults()
        notes = FileSink(rig.notes, rig.log._clock)._notes()
        signed = open_notes({"file": notes}, rig.journal.verifier, faults)
        with engine.reader.connect() as connection, connection.begin():
            walk = check(connection, signed, faults)
        return AuditReport(faults.count == 0, walk.events, walk.root.hex(), len(signed), walk.covered, faults.told(), 0)

    return verify


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cell=st.sampled_from(CELLS), row=st.integers(0, COUNT - 1), new=value)
def test_any_change_of_one_value_is_found(
    intact: dict[str, Any], verify_now: Callable[[], AuditReport], cell: tuple[str, str], row: int, new: object
) -> None:
    table, column = cell
    with sqlite3.connect(intact["rig"].file) as link:
        restore(link, intact["tables"])
        link.commit()
        try:
            link.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT rowid FROM {table} LIMIT 1 OFFSET ?)",
                (new, row if table == "audit_events" else 0),
            )
        except (sqlite3.IntegrityError, sqlite3.OperationalError):
            link.rollback()
        changed = link.execute(f"SELECT * FROM {table}").fetchall() != intact["tables"][table]
    link.close()
    assert verify_now().ok == (not changed)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_the_checkpoint_file_is_found_or_means_nothing(
    intact: dict[str, Any], verify_now: Callable[[], AuditReport], data: st.DataObject
) -> None:
    content = intact["notes"]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 300)))
    new = content[:start] + data.draw(st.binary(max_size=20)) + content[end:]
    intact["rig"].notes.write_bytes(new)
    report = verify_now()
    intact["rig"].notes.write_bytes(content)
    # Without a fault, only whole checkpoints are gone, or one is written differently with the same meaning.
    if report.ok:
        old = {json.loads(line) for line in content.splitlines()}
        left = {json.loads(line) for line in new.splitlines() if line.strip()}
        assert left
        assert {note.partition("\n\n")[0] for note in left} <= {note.partition("\n\n")[0] for note in old}
