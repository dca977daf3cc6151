"""Whatever is done to the log behind its back is found, and the fault says what and where."""

# The names in these statements are the tests' own.
# ruff: noqa: S608

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.security.audit.body import decode, encode
from stanchion.core.security.audit.checkpoint import Checkpoint, sign
from stanchion.core.security.audit.merkle import CHAIN_START, CompactRange, chain_hash, leaf_hash
from stanchion.core.security.contract import AuditReport
from stanchion.core.security.signing import Signer
from stanchion.testing.sinks import MemorySink

Rig = Any  # the fixture's type lives in conftest.py, which tests cannot import
Tamper = Callable[[sqlite3.Connection], object]
COUNT = 300


@pytest.fixture
async def rig(filled: Rig) -> Rig:
    return filled


async def found(rig: Rig, ctx: Context, tamper: Tamper) -> AuditReport:
    with sqlite3.connect(rig.file) as link:
        tamper(link)
    link.close()
    report: AuditReport = await rig.log.verify(ctx)
    assert report.ok == (not report.faults)
    return report


def execute(statement: str, *values: object) -> Tamper:
    return lambda link: link.execute(statement, values)


def rebuild(link: sqlite3.Connection, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """What somebody with the whole database and this very program, but without the key, can do."""
    bodies = change([row[0] for row in link.execute("SELECT body FROM audit_events ORDER BY seq")])
    tree, chain = CompactRange(), CHAIN_START
    link.execute("DELETE FROM audit_events")
    link.execute("DELETE FROM audit_nodes")
    for seq, old in enumerate(bodies):
        told = json.loads(old) | {"seq": seq}
        body = encode(decode(json.dumps(told).encode()))
        leaf = leaf_hash(body)
        chain = chain_hash(chain, leaf)
        tree.push(leaf)
        row = (seq, told["tenant"], told["at"], told["action"], chain, body)
        link.execute("INSERT INTO audit_events (seq, tenant, at, action, hash, body) VALUES (?,?,?,?,?,?)", row)
    for node in tree.completed:
        link.execute("INSERT INTO audit_nodes VALUES (?, ?, ?)", node)
    link.execute("UPDATE audit_head SET size = ?, chain = ?, peaks = ?", (tree.size, chain, tree.packed()))


async def test_an_untouched_log_has_no_fault(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, lambda link: None)
    assert (report.ok, report.events, report.covered, report.faults) == (True, COUNT, COUNT, ())


async def test_an_edited_body_is_found_at_its_event(rig: Rig, ctx: Context) -> None:
    statement = "UPDATE audit_events SET body = CAST(REPLACE(body, 'key:anna', 'key:otto') AS BLOB) WHERE seq = 57"
    report = await found(rig, ctx, execute(statement))
    assert report.faults[0] == "event 57: its hash does not follow from its body and the event before it"
    assert any("one of the events 0 to 99 was changed afterwards" in fault for fault in report.faults)
    assert len(report.faults) == 2


@pytest.mark.parametrize(("column", "value"), [("tenant", "other"), ("at", 5), ("action", "things:drop")])
async def test_an_edited_column_is_found(rig: Rig, ctx: Context, column: str, value: object) -> None:
    report = await found(rig, ctx, execute(f"UPDATE audit_events SET {column} = ? WHERE seq = 57", value))
    assert report.faults == (f"event 57: the column {column} says something else than the body",)


async def test_an_edited_hash_is_found(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, execute("UPDATE audit_events SET hash = zeroblob(32) WHERE seq = 57"))
    assert report.faults[0].startswith("event 57: its hash")


@pytest.mark.parametrize("body", [None, "text", b"", b"{}", b'{"seq":57}', b"\xff"])
async def test_a_body_that_is_none_is_a_fault_and_no_exception(rig: Rig, ctx: Context, body: object) -> None:
    def tamper(link: sqlite3.Connection) -> None:
        link.execute("PRAGMA writable_schema = ON")
        link.execute("UPDATE sqlite_schema SET sql = REPLACE(sql, ' NOT NULL', '')")
        link.commit()
        again = sqlite3.connect(rig.file)
        with again:
            again.execute("UPDATE audit_events SET body = ? WHERE seq = 57", (body,))
        again.close()

    report = await found(rig, ctx, tamper)
    assert report.faults[0].startswith("event 57: its body cannot be read")


async def test_text_that_is_no_utf8_is_a_fault_and_no_exception(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, execute("UPDATE audit_events SET tenant = CAST(x'ff' AS TEXT) WHERE seq = 57"))
    assert not report.ok


async def test_an_event_deleted_in_the_middle_is_found(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, execute("DELETE FROM audit_events WHERE seq = 57"))
    assert report.faults[0] == "event 57 is missing"


async def test_several_deleted_events_are_told_as_one_gap(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, execute("DELETE FROM audit_events WHERE seq BETWEEN 57 AND 80"))
    assert report.faults[0] == "events 57 to 80 are missing"


async def test_a_cut_tail_is_found(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, execute("DELETE FROM audit_events WHERE seq >= 250"))
    assert any(fault.startswith("events 250 to 299 are missing at the end") for fault in report.faults)


async def test_a_cut_tail_with_a_matching_head_is_found_by_the_checkpoint(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, lambda link: rebuild(link, lambda bodies: bodies[:100]))
    assert len(report.faults) == 1
    assert report.faults[0].startswith("events 100 to 299 are missing at the end: checkpoints.jsonl, checkpoint ")
    assert report.faults[0].endswith("proves that there were 300")


async def test_an_emptied_log_is_found(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, lambda link: rebuild(link, lambda bodies: []))
    assert report.faults[0].startswith("events 0 to 299 are missing at the end")


async def test_swapped_bodies_are_found(rig: Rig, ctx: Context) -> None:
    def swap(link: sqlite3.Connection) -> None:
        rows = dict(link.execute("SELECT seq, body FROM audit_events WHERE seq IN (57, 58)"))
        link.execute("UPDATE audit_events SET body = ? WHERE seq = 57", (rows[58],))
        link.execute("UPDATE audit_events SET body = ? WHERE seq = 58", (rows[57],))

    report = await found(rig, ctx, swap)
    assert report.faults[0] == "event 57: its body is that of event 58"


async def test_swapped_rows_are_found(rig: Rig, ctx: Context) -> None:
    def swap(link: sqlite3.Connection) -> None:
        for old, new in ((57, -1), (58, 57), (-1, 58)):
            link.execute("UPDATE audit_events SET seq = ? WHERE seq = ?", (new, old))

    assert "event 57: its body is that of event 58" in (await found(rig, ctx, swap)).faults


@pytest.mark.parametrize("seq", [-5, 2**40])
async def test_an_event_moved_out_of_the_row_is_found(rig: Rig, ctx: Context, seq: int) -> None:
    report = await found(rig, ctx, execute("UPDATE audit_events SET seq = ? WHERE seq = 57", seq))
    assert "event 57 is missing" in report.faults


async def test_an_added_event_is_found(rig: Rig, ctx: Context) -> None:
    copy = "INSERT INTO audit_events SELECT 300, tenant, at, action, hash, body FROM audit_events WHERE seq = 299"
    report = await found(rig, ctx, execute(copy))
    assert "event 300: its body is that of event 299" in report.faults


@pytest.mark.parametrize(
    "change",
    [
        lambda bodies: [body.replace(b"key:anna", b"key:otto") if n == 57 else body for n, body in enumerate(bodies)],
        lambda bodies: [*bodies[:57], *bodies[58:], bodies[57]],
        lambda bodies: [*bodies[:57], *bodies[58:], bodies[0]],
        lambda bodies: [bodies[0], *bodies],
    ],
    ids=["edit", "move", "replace", "insert"],
)
async def test_a_log_rechained_by_somebody_with_the_database_is_found_by_the_checkpoints(
    rig: Rig, ctx: Context, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    report = await found(rig, ctx, lambda link: rebuild(link, change))
    assert len(report.faults) == 1
    assert "is signed for 100 events with another root: one of the events 0 to 99 was changed" in report.faults[0]


async def test_what_a_rechained_log_changed_is_narrowed_to_between_two_checkpoints(rig: Rig, ctx: Context) -> None:
    def change(bodies: list[bytes]) -> list[bytes]:
        return [body.replace(b"key:anna", b"key:otto") if n == 157 else body for n, body in enumerate(bodies)]

    report = await found(rig, ctx, lambda link: rebuild(link, change))
    assert "one of the events 100 to 199 was changed afterwards" in report.faults[0]
    assert report.covered == 100


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_head",
        "INSERT INTO audit_head VALUES (2, 0, x'', x'')",
        "UPDATE audit_head SET size = 299",
        "UPDATE audit_head SET chain = zeroblob(32)",
        "UPDATE audit_head SET peaks = zeroblob(128)",
        "UPDATE audit_head SET id = 2",
        "UPDATE audit_nodes SET hash = zeroblob(32)",
        "DELETE FROM audit_nodes",
        "INSERT INTO audit_nodes VALUES (9, 0, zeroblob(32))",
        "DROP TABLE audit_nodes",
        "DROP TABLE audit_events",
    ],
)
async def test_damage_beside_the_events_is_found(rig: Rig, ctx: Context, statement: str) -> None:
    assert not (await found(rig, ctx, execute(statement))).ok


async def test_more_than_a_hundred_faults_are_counted(rig: Rig, ctx: Context) -> None:
    report = await found(rig, ctx, execute("UPDATE audit_events SET at = 1"))
    assert len(report.faults) == 100
    assert report.faults[-1] == f"and {COUNT - 99} more faults"


def lines(rig: Rig) -> list[str]:
    return rig.notes.read_text().splitlines()


def rewrite(rig: Rig, new: list[str]) -> None:
    rig.notes.write_text("".join(line + "\n" for line in new))


async def checked(rig: Rig, ctx: Context) -> AuditReport:
    return await found(rig, ctx, lambda link: None)


async def test_a_missing_sink_is_found(rig: Rig, ctx: Context) -> None:
    rig.notes.unlink()
    report = await checked(rig, ctx)
    assert report.faults == ("checkpoints.jsonl: no checkpoint is there; the sink is missing or was emptied",)
    assert not rig.notes.exists()


async def test_an_edited_checkpoint_is_found(rig: Rig, ctx: Context) -> None:
    rewrite(rig, [*lines(rig)[:-1], lines(rig)[-1].replace("\\n300\\n", "\\n299\\n")])
    report = await checked(rig, ctx)
    number = len(lines(rig))
    assert report.faults == (f"checkpoints.jsonl, checkpoint {number} (size 299) is not signed by a trusted key",)


async def test_a_forged_checkpoint_is_found(rig: Rig, ctx: Context) -> None:
    forged = sign(Checkpoint("stanchion-audit", 300, bytes(32)), Signer.generate()).text
    rewrite(rig, [*lines(rig), json.dumps(forged)])
    assert "is not signed by a trusted key" in (await checked(rig, ctx)).faults[0]


async def test_a_checkpoint_of_another_past_with_the_right_key_is_found(rig: Rig, ctx: Context) -> None:
    other = sign(Checkpoint("stanchion-audit", 250, hashlib.sha256(b"").digest()), rig.signer).text
    rewrite(rig, [*lines(rig), json.dumps(other)])
    assert "signed for 250 events with another root" in (await checked(rig, ctx)).faults[0]


async def test_a_line_that_is_no_checkpoint_is_found(rig: Rig, ctx: Context) -> None:
    rewrite(rig, ["{}", *lines(rig)])
    assert (await checked(rig, ctx)).faults == ("checkpoints.jsonl, checkpoint 1 is not a readable checkpoint",)


async def test_gaps_and_disorder_among_checkpoints_are_no_fault(rig: Rig, ctx: Context) -> None:
    # Several processes append to one sink, so the order in it means nothing.
    rewrite(rig, [*lines(rig)[:1:-1], lines(rig)[-1]])
    report = await checked(rig, ctx)
    assert (report.ok, report.covered) == (True, COUNT)


async def test_checkpoints_deleted_under_a_running_process_are_found(open_rig: Any, ctx: Context) -> None:
    rig = await open_rig()
    await rig.fill(10)
    content = lines(rig)
    with rig.notes.open("r+") as file:
        file.truncate(len((content[0] + "\n").encode()))
    report = await rig.log.verify(ctx)
    assert report.faults == ("checkpoints.jsonl: the newest checkpoints are gone: 0 instead of 10 events",)


async def test_a_sink_that_cannot_be_read_is_a_fault(open_rig: Any, ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    rig = await open_rig(heal=False, notes=tmp_path / "folder")
    report = await rig.log.verify(ctx)
    assert any("cannot be read" in fault for fault in report.faults)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_events SET body = %(body)s WHERE seq = 57", "event 57: its body is that of event 5"),
        ("DELETE FROM audit_events WHERE seq = 57", "event 57 is missing"),
        ("DELETE FROM audit_events WHERE seq >= 250", "events 250 to 299 are missing at the end"),
        ("UPDATE audit_events SET tenant = 'other' WHERE seq = 57", "event 57: the column tenant"),
        ("UPDATE audit_head SET size = 299", "the head row counts 299 events"),
    ],
)
async def test_tampering_on_postgresql_is_found(
    open_rig: Any, ctx: Context, postgres_url: str, statement: str, fault: str
) -> None:
    import psycopg

    rig = await open_rig(postgres_url)
    await rig.fill(COUNT)
    assert (await rig.log.verify(ctx)).ok
    with psycopg.connect(postgres_url) as link:
        row = link.execute("SELECT body FROM audit_events WHERE seq = 5").fetchone()
        assert row is not None
        link.execute(statement, {"body": row[0]})
    report = await rig.log.verify(ctx)
    assert any(line.startswith(fault) for line in report.faults), report.faults


async def test_a_log_verifies_against_several_sinks(open_rig: Any, ctx: Context) -> None:
    sinks = [MemorySink("one"), MemorySink("two")]
    rig = await open_rig(sinks=sinks)
    await rig.fill(5)
    assert (await rig.log.verify(ctx)).checkpoints == len(sinks[0]._notes) * 2
    sinks[1]._notes.clear()
    assert (await rig.log.verify(ctx)).faults[0].startswith("two: no checkpoint is there")
