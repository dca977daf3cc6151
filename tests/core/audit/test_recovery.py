from __future__ import annotations

import json
import os
import sqlite3
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.errors import NotTrustworthy, Unavailable
from stanchion.core.security.audit.checkpoint import Checkpoint, sign
from stanchion.core.security.audit.file_sink import FileSink
from stanchion.core.security.signing import Signer
from stanchion.testing.sinks import MemorySink

Rig = Any  # the fixture's type lives in conftest.py, which tests cannot import


@pytest.fixture
async def left(open_rig: Any) -> Rig:
    """A log of 300 events whose process has ended."""
    rig = await open_rig()
    await rig.fill(150)
    await rig.fill(150)
    await rig.close()
    return rig


def drop_notes(rig: Rig, keep: int) -> None:
    """What a kill between commit and checkpoint leaves, or a hand in the file."""
    rig.notes.write_text("".join(rig.notes.read_text().splitlines(keepends=True)[:keep]))


async def test_a_new_log_is_signed_for_while_it_is_empty(rig: Rig, ctx: Context) -> None:
    report = await rig.log.verify(ctx)
    assert (report.ok, report.events, report.checkpoints, report.faults) == (True, 0, 1, ())
    assert rig.size == 0


async def test_a_log_goes_on_after_a_restart(left: Rig, open_rig: Any, ctx: Context) -> None:
    rig = await open_rig()
    await rig.fill(1)
    report = await rig.log.verify(ctx)
    assert (report.ok, report.events, report.covered) == (True, 301, 301)


async def test_events_that_a_kill_left_unsigned_are_signed_for_at_the_start(
    left: Rig, open_rig: Any, ctx: Context
) -> None:
    drop_notes(left, 2)
    unhealed = await open_rig(heal=False)
    before = await unhealed.log.verify(ctx)
    assert before.ok
    assert before.covered < 300
    await unhealed.log.heal()
    assert (await unhealed.log.verify(ctx)).covered == 300


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_events SET hash = zeroblob(32) WHERE seq = 299",
        "UPDATE audit_events SET body = CAST(REPLACE(body, 'anna', 'otto') AS BLOB) WHERE seq = 298",
        "DELETE FROM audit_events WHERE seq = 290",
        "UPDATE audit_head SET chain = zeroblob(32)",
        "UPDATE audit_nodes SET hash = zeroblob(32)",
    ],
)
async def test_an_unsigned_end_that_does_not_follow_is_not_signed_for(left: Rig, open_rig: Any, tampering: str) -> None:
    if "nodes" not in tampering:
        drop_notes(left, 2)
    with sqlite3.connect(left.file) as link:
        link.execute(tampering)
    rig = await open_rig(heal=False)
    with pytest.raises(NotTrustworthy):
        await rig.log.heal()
    with pytest.raises(Unavailable):
        await rig.log.record(rig.effect(), "done")


async def test_a_database_older_than_its_checkpoints_is_refused(left: Rig, open_rig: Any) -> None:
    with sqlite3.connect(left.file) as link:
        link.execute("DELETE FROM audit_events")
        link.execute("DELETE FROM audit_nodes")
        link.execute("UPDATE audit_head SET size = 0, chain = zeroblob(32), peaks = x''")
    rig = await open_rig(heal=False)
    with pytest.raises(NotTrustworthy, match="holds 0 events, and a checkpoint is signed for 300"):
        await rig.log.heal()


async def test_a_log_whose_head_row_is_gone_is_refused(left: Rig, open_rig: Any) -> None:
    with sqlite3.connect(left.file) as link:
        link.execute("DELETE FROM audit_head")
    rig = await open_rig(heal=False)
    with pytest.raises(NotTrustworthy, match="head row is gone"):
        await rig.log.heal()


async def test_a_log_without_any_checkpoint_is_refused_unless_it_is_adopted(
    left: Rig, open_rig: Any, ctx: Context
) -> None:
    left.notes.unlink()
    rig = await open_rig(heal=False)
    with pytest.raises(NotTrustworthy, match="no sink a checkpoint"):
        await rig.log.heal()
    await rig.log.heal(adopt=True)
    assert (await rig.log.verify(ctx)).covered == 300


async def test_a_faulty_log_is_not_adopted(left: Rig, open_rig: Any) -> None:
    left.notes.unlink()
    with sqlite3.connect(left.file) as link:
        link.execute("UPDATE audit_events SET body = CAST(REPLACE(body, 'anna', 'otto') AS BLOB) WHERE seq = 5")
    rig = await open_rig(heal=False)
    with pytest.raises(NotTrustworthy, match="event 5"):
        await rig.log.heal(adopt=True)


async def test_a_new_second_sink_gets_the_newest_checkpoint(left: Rig, open_rig: Any, ctx: Context) -> None:
    second = MemorySink()
    rig = await open_rig(sinks=[FileSink(left.notes, SystemClock()), second])
    assert len(await second.notes()) == 1
    assert (await rig.log.verify(ctx)).ok


async def test_a_forged_newest_checkpoint_is_refused(left: Rig, open_rig: Any) -> None:
    forged = sign(Checkpoint("stanchion-audit", 400, bytes(32)), Signer.generate()).text
    with left.notes.open("a") as file:
        file.write(json.dumps(forged) + "\n")
    rig = await open_rig(heal=False)
    with pytest.raises(NotTrustworthy, match=r"newest checkpoint .* not signed"):
        await rig.log.heal()


async def test_an_unreadable_checkpoint_is_refused(left: Rig, open_rig: Any) -> None:
    with left.notes.open("a") as file:
        file.write("something else\n")
    rig = await open_rig(heal=False)
    with pytest.raises(NotTrustworthy, match="not a readable checkpoint"):
        await rig.log.heal()


async def test_two_different_signed_pasts_are_refused(left: Rig, open_rig: Any) -> None:
    with left.notes.open("a") as file:
        file.write(json.dumps(sign(Checkpoint("stanchion-audit", 300, bytes(32)), left.signer).text) + "\n")
    rig = await open_rig(heal=False)
    with pytest.raises(NotTrustworthy, match="different roots"):
        await rig.log.heal()


async def test_a_checkpoint_torn_by_a_power_cut_does_not_stop_the_start(left: Rig, open_rig: Any, ctx: Context) -> None:
    os.truncate(left.notes, left.notes.stat().st_size - 30)
    rig = await open_rig()
    report = await rig.log.verify(ctx)
    assert (report.ok, report.covered) == (True, 300)


async def test_a_sink_that_cannot_be_written_stops_the_start(tmp_path: Any, open_rig: Any) -> None:
    rig = await open_rig(heal=False, notes=tmp_path / "none" / "notes")
    with pytest.raises(Unavailable):
        await rig.log.heal()
    assert rig.log.degraded


async def test_a_new_signing_key_goes_on_if_the_old_one_is_still_trusted(
    left: Rig, open_rig: Any, ctx: Context
) -> None:
    new = Signer.generate()
    distrusting = await open_rig(signer=new, heal=False)
    with pytest.raises(NotTrustworthy):
        await distrusting.log.heal()
    rig = await open_rig(signer=new, trusted=[left.signer.public])
    await rig.fill(1)
    assert (await rig.log.verify(ctx)).ok
