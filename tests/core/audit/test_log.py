from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sqlite3
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Effect
from stanchion.core.errors import Conflict, InvalidInput, Misconfigured, NotFound, NotTrustworthy, Unavailable
from stanchion.core.security.audit.journal import AuditJournal
from stanchion.core.security.audit.proof import verify_proof
from stanchion.core.security.signing import Signer
from stanchion.core.storage.schema import Schema
from stanchion.testing.sinks import MemorySink

Rig = Any  # the fixture's type lives in conftest.py, which tests cannot import

THINGS = Table("things", MetaData(), Column("id", Integer, primary_key=True))
SCHEMA = Schema("things", THINGS.metadata)


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
async def any_rig(request: pytest.FixtureRequest, open_rig: Any) -> Rig:
    match request.param:
        case "memory":
            return await open_rig("memory:")
        case "postgresql":
            return await open_rig(request.getfixturevalue("postgres_url"))
    return await open_rig()


def put(number: int) -> Any:
    def work(connection: Connection) -> None:
        connection.execute(insert(THINGS).values(id=number))

    return work


def things(connection: Connection) -> list[int]:
    return list(connection.execute(select(THINGS.c.id).order_by(THINGS.c.id)).scalars())


async def test_a_change_and_its_event_are_one(any_rig: Rig, ctx: Context) -> None:
    rig = any_rig
    await rig.db.prepare(SCHEMA)
    effect = rig.effect(1)
    await rig.db.write(ctx.within(effect), put(1))
    assert effect.recorded == 1
    (event,) = await rig.log.events(ctx)
    assert (event.seq, event.action, event.resource, event.outcome) == (0, "things:make", "Thing::1", "done")
    assert event.facts == {"number": 1}


async def test_a_change_that_fails_leaves_no_event(any_rig: Rig, ctx: Context) -> None:
    rig = any_rig
    await rig.db.prepare(SCHEMA)

    def work(connection: Connection) -> None:
        put(1)(connection)
        raise NotFound("not there")

    with pytest.raises(NotFound):
        await rig.db.write(ctx.within(rig.effect(1)), work)
    assert await rig.log.events(ctx) == []
    assert await rig.db.read(things) == []


async def test_outcomes_are_kept_and_the_log_verifies(any_rig: Rig, ctx: Context) -> None:
    for outcome in ("intent", "failed", "denied", "done"):
        await any_rig.log.record(any_rig.effect(), outcome)
    assert [event.outcome for event in await any_rig.log.events(ctx)] == ["done", "denied", "failed", "intent"]
    await any_rig.signed(4)
    report = await any_rig.log.verify(ctx)
    assert (report.ok, report.faults, report.events, report.covered) == (True, (), 4, 4)


async def test_facts_added_after_recording_was_asked_for_do_not_change_the_event(rig: Rig, ctx: Context) -> None:
    effect = rig.effect(1)
    recording = asyncio.ensure_future(rig.log.record(effect, "intent"))
    await asyncio.sleep(0)
    effect.note(error="later")
    await recording
    assert "error" not in (await rig.log.events(ctx))[0].facts


async def test_a_log_of_several_blocks_verifies_and_proves_across_them(any_rig: Rig, ctx: Context) -> None:
    await any_rig.fill(1100)
    report = await any_rig.log.verify(ctx)
    assert (report.ok, report.faults, report.events, report.covered) == (True, (), 1100, 1100)
    for seq in (0, 255, 256, 511, 512, 700, 1023, 1024, 1099):
        assert verify_proof(await any_rig.log.prove(ctx, seq), any_rig.signer.public).size == 1100


async def test_events_come_newest_first_and_only_the_tenants_own(rig: Rig, ctx: Context) -> None:
    await rig.fill(3)
    await rig.fill(2, tenant="other")
    await rig.log.record(rig.effect(9, action="things:drop"), "done")
    assert [event.seq for event in await rig.log.events(ctx)] == [5, 2, 1, 0]
    assert [event.seq for event in await rig.log.events(ctx, before=2, limit=1)] == [1]
    assert [event.seq for event in await rig.log.events(ctx, action="things:drop")] == [5]
    assert await rig.log.events(replace(ctx, tenant="nobody")) == []


@pytest.mark.parametrize("limit", [0, 101, -1])
async def test_a_limit_outside_1_to_100_is_refused(rig: Rig, ctx: Context, limit: int) -> None:
    with pytest.raises(InvalidInput):
        await rig.log.events(ctx, limit=limit)


async def test_the_actions_of_a_tenant_are_found_through_the_index(rig: Rig) -> None:
    query = "SELECT body FROM audit_events WHERE tenant = 't' AND action = 'a' AND seq < 9 ORDER BY seq DESC LIMIT 9"
    with sqlite3.connect(rig.file) as link:
        plan = " ".join(row[3] for row in link.execute("EXPLAIN QUERY PLAN " + query))
    assert "USING INDEX audit_events_tenant" in plan
    assert "TEMP B-TREE" not in plan


async def test_export_gives_every_event_of_the_tenant_in_order(rig: Rig, ctx: Context) -> None:
    await rig.fill(1203)
    await rig.fill(1, tenant="other")
    assert [event.seq async for event in rig.log.export(ctx)] == list(range(1203))
    assert [event.seq async for event in rig.log.export(ctx, after=1200)] == [1201, 1202]


async def test_an_export_that_is_left_early_can_be_followed_by_others(rig: Rig, ctx: Context) -> None:
    await rig.fill(10)
    stream = rig.log.export(ctx)
    assert (await anext(stream)).seq == 0
    await stream.aclose()
    assert len(await rig.log.events(ctx)) == 10


async def test_a_cancelled_caller_does_not_lose_its_event(rig: Rig, ctx: Context) -> None:
    recording = asyncio.ensure_future(rig.log.record(rig.effect(1), "intent"))
    await asyncio.sleep(0)
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording
    await rig.signed(1)
    assert len(await rig.log.events(ctx)) == 1


async def test_a_proof_can_be_checked_with_nothing_but_sha256_and_ed25519(rig: Rig, ctx: Context) -> None:
    await rig.fill(21)
    proof = await rig.log.prove(ctx, 13)
    value = hashlib.sha256(b"\x00" + proof.event.encode()).digest()
    assert value.hex() == proof.leaf_hash
    assert json.loads(proof.event)["seq"] == 13
    n, last = 13, proof.tree_size - 1
    for sibling in map(bytes.fromhex, proof.path):
        if n % 2 == 1 or n == last:
            value = hashlib.sha256(b"\x01" + sibling + value).digest()
            while n % 2 == 0 and n != 0:
                n, last = n // 2, last // 2
        else:
            value = hashlib.sha256(b"\x01" + value + sibling).digest()
        n, last = n // 2, last // 2
    assert (last, value.hex()) == (0, proof.root)
    text, _, line = proof.checkpoint.partition("\n\n")
    assert text.split("\n")[1:] == [str(proof.tree_size), base64.b64encode(value).decode()]
    signature = base64.b64decode(line.split(" ")[2])[4:]
    Ed25519PublicKey.from_public_bytes(rig.signer.public).verify(signature, text.encode() + b"\n")


async def test_a_changed_proof_fails(rig: Rig, ctx: Context) -> None:
    await rig.fill(9)
    proof = await rig.log.prove(ctx, 4)
    other = await rig.log.prove(ctx, 5)
    for changed in (
        replace(proof, event=proof.event.replace("anna", "otto")),
        replace(proof, event=other.event),
        replace(proof, event="{}"),
        replace(proof, seq=5),
        replace(proof, leaf_hash=other.leaf_hash),
        replace(proof, event=other.event, leaf_hash=other.leaf_hash, seq=other.seq),
        replace(proof, path=proof.path[:-1]),
        replace(proof, path=("zz",)),
        replace(proof, root="00" * 32),
        replace(proof, tree_size=8),
        replace(proof, checkpoint=proof.checkpoint.replace("\n9\n", "\n8\n")),
        replace(proof, checkpoint="no note"),
    ):
        with pytest.raises(NotTrustworthy):
            verify_proof(changed, rig.signer.public)
    with pytest.raises(NotTrustworthy):
        verify_proof(proof, Signer.generate().public)


async def test_another_tenants_event_is_as_unknown_as_one_that_is_not_there(rig: Rig, ctx: Context) -> None:
    await rig.fill(1, tenant="other")
    messages = set()
    for seq in (0, 7):
        with pytest.raises(NotFound) as refusal:
            await rig.log.prove(ctx, seq)
        messages.add(refusal.value.detail.replace(str(seq), "N"))
    assert len(messages) == 1


async def test_an_event_no_checkpoint_covers_has_no_proof_yet(open_rig: Any, ctx: Context) -> None:
    sink = Refusing()
    rig = await open_rig(sinks=[sink])
    sink.fault = "bucket is gone"
    await rig.log.record(rig.effect(0), "done")
    await rig.db.close()
    late = await open_rig(sinks=[sink], heal=False)
    sink.fault = ""
    with pytest.raises(Conflict):
        await late.log.prove(ctx, 0)


class Refusing(MemorySink):
    """A sink that can be broken and repaired."""

    fault = ""

    def append(self, note: str) -> None:
        if self.fault:
            raise Unavailable(self.fault)
        super().append(note)


async def test_nothing_is_recorded_before_the_log_was_compared_with_its_checkpoints(
    open_rig: Any, ctx: Context
) -> None:
    rig = await open_rig(heal=False)
    await rig.db.prepare(SCHEMA)
    with pytest.raises(Unavailable, match="not been compared"):
        await rig.db.write(ctx.within(rig.effect(1)), put(1))
    assert await rig.db.read(things) == []


async def test_a_sink_that_refuses_makes_later_effects_impossible_until_it_accepts(
    open_rig: Any, ctx: Context, until: Any
) -> None:
    sink = Refusing("bucket")
    rig = await open_rig(sinks=[sink])
    await rig.db.prepare(SCHEMA)
    sink.fault = "no route"
    await rig.db.write(ctx.within(rig.effect(1)), put(1))  # durable before the sink was asked
    await until(lambda: bool(rig.log.degraded))
    assert rig.log.degraded == "bucket does not take checkpoints: no route"
    with pytest.raises(Unavailable, match="no route"):
        await rig.db.write(ctx.within(rig.effect(2)), put(2))
    with pytest.raises(Unavailable):
        await rig.log.record(rig.effect(2), "intent")
    assert await rig.db.read(things) == [1]
    sink.fault = ""
    await rig.db.write(ctx.within(rig.effect(3)), put(3))
    await rig.signed(2)
    assert rig.log.degraded == ""
    report = await rig.log.verify(ctx)
    assert (report.ok, report.covered, await rig.db.read(things)) == (True, 2, [1, 3])


async def test_an_event_that_cannot_be_written_rolls_its_change_back(rig: Rig, ctx: Context) -> None:
    await rig.db.prepare(SCHEMA)
    with sqlite3.connect(rig.file) as link:
        link.execute("CREATE TRIGGER no BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no room'); END")
    with pytest.raises(Unavailable):
        await rig.db.write(ctx.within(rig.effect(1)), put(1))
    assert await rig.db.read(things) == []


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM audit_head",
        "UPDATE audit_head SET size = 1, peaks = zeroblob(32)",
        "UPDATE audit_head SET chain = zeroblob(32)",
        "UPDATE audit_head SET peaks = zeroblob(1)",
    ],
)
async def test_a_log_rewritten_under_a_running_process_gets_no_new_signature(
    rig: Rig, ctx: Context, tampering: str
) -> None:
    await rig.fill(3)
    with sqlite3.connect(rig.file) as link:
        link.execute(tampering)
    with pytest.raises(Unavailable):
        await rig.log.record(rig.effect(4), "done")
    assert rig.size == 3


async def test_a_log_rewritten_and_continued_by_another_hand_gets_no_new_signature(rig: Rig) -> None:
    await rig.fill(3)
    with sqlite3.connect(rig.file) as link:
        link.execute("UPDATE audit_events SET hash = zeroblob(32) WHERE seq = 2")
        link.execute("UPDATE audit_head SET size = 4, peaks = zeroblob(32)")
    with pytest.raises(Unavailable, match="first 3 events are not those that this process has seen"):
        await rig.log.record(rig.effect(4), "done")


async def test_a_damaged_event_is_told_of_instead_of_shown(rig: Rig, ctx: Context) -> None:
    await rig.fill(1)
    with sqlite3.connect(rig.file) as link:
        link.execute("UPDATE audit_events SET body = x'00'")
    with pytest.raises(NotTrustworthy):
        await rig.log.events(ctx)
    with pytest.raises(NotTrustworthy):
        await rig.log.prove(ctx, 0)


def test_a_log_without_a_sink_is_refused() -> None:
    with pytest.raises(Misconfigured):
        AuditJournal(Signer.generate(), [], SystemClock())


def test_an_effect_holds_nothing_that_the_log_does_not_tell() -> None:
    assert {"action", "kind", "resource", "tenant", "principal", "request_id", "trace_id", "facts", "recorded"} == set(
        Effect.__dataclass_fields__
    )
