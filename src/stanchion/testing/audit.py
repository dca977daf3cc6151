"""The contract of Audit as tests: subclass `AuditSuite`, give it a door, and the recorder that fills its log.

The log must hold no event of the tenants `t1` and `t2`; the door must permit the role `admin` all.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import pytest

from stanchion.core.context import Context, Effect, Rights
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.core.gate import Recorder
from stanchion.core.security.contract import Audit, AuditEvent, InclusionProof

ADA = Context("t1", "ada", Rights(frozenset({"admin"})))
STRANGER = Context("t2", "eve", Rights(frozenset({"admin"})))


def effect(number: int, *, tenant: str = "t1", action: str = "things:make") -> Effect:
    """One effect, with facts of every kind that a fact can be of."""
    facts: dict[str, str | int | float | bool | None]
    facts = {"number": number, "share": 0.5, "name": "ünï\N{SNOWMAN}", "fresh": True, "note": None}
    return Effect(action, "write", f"Thing::{number}", tenant, "key:ada", f"r{number}", f"{number:032x}", facts)


class AuditSuite:
    """Override the fixtures `audit` and `recorder`."""

    @pytest.fixture
    def audit(self) -> Audit:
        raise NotImplementedError("override the fixture `audit`")

    @pytest.fixture
    def recorder(self) -> Recorder:
        raise NotImplementedError("override the fixture `recorder`")

    async def filled(self, recorder: Recorder) -> None:
        """Three events of ours, one of another tenant, one of ours of another action."""
        for number in range(3):
            await recorder.record(effect(number), "done")
        await recorder.record(effect(3, tenant="t2"), "done")
        await recorder.record(effect(4, action="things:drop"), "denied")

    async def exported(self, audit: Audit, ctx: Context = ADA, *, after: int = -1) -> Sequence[AuditEvent]:
        """All events, oldest first."""
        return [event async for event in audit.export(ctx, after=after)]

    async def proof(self, audit: Audit, seq: int) -> InclusionProof:
        """The proof of an event, once a checkpoint covers it."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await audit.prove(ADA, seq)
                except Conflict:
                    # The checkpoint follows the commit, and nobody tells of it.
                    await asyncio.sleep(0.005)

    async def test_an_event_tells_what_was_recorded(self, audit: Audit, recorder: Recorder) -> None:
        await recorder.record(effect(7), "done")
        [event] = await audit.events(ADA)
        assert (event.tenant, event.principal, event.action, event.kind) == ("t1", "key:ada", "things:make", "write")
        assert (event.resource, event.outcome, event.request_id, event.trace_id) == (
            "Thing::7",
            "done",
            "r7",
            f"{7:032x}",
        )
        assert dict(event.facts) == dict(effect(7).facts)
        assert (event.at.utcoffset() is not None, len(event.hash)) == (True, 64)

    async def test_events_come_newest_first_and_only_the_tenants_own(self, audit: Audit, recorder: Recorder) -> None:
        await self.filled(recorder)
        events = await audit.events(ADA)
        assert [event.facts["number"] for event in events] == [4, 2, 1, 0]
        assert [event.seq for event in events] == sorted((event.seq for event in events), reverse=True)
        assert [event.facts["number"] for event in await audit.events(STRANGER)] == [3]

    async def test_events_come_in_pages_and_by_action(self, audit: Audit, recorder: Recorder) -> None:
        await self.filled(recorder)
        first = await audit.events(ADA, limit=2)
        rest = await audit.events(ADA, before=first[-1].seq)
        assert [event.facts["number"] for event in [*first, *rest]] == [4, 2, 1, 0]
        assert [event.outcome for event in await audit.events(ADA, action="things:drop")] == ["denied"]

    @pytest.mark.parametrize("limit", [0, -1, 101])
    async def test_a_page_has_one_to_a_hundred_events(self, audit: Audit, limit: int) -> None:
        with pytest.raises(InvalidInput):
            await audit.events(ADA, limit=limit)

    async def test_an_export_is_every_event_in_order(self, audit: Audit, recorder: Recorder) -> None:
        await self.filled(recorder)
        events = await self.exported(audit)
        assert list(reversed(events)) == list(await audit.events(ADA))
        assert await self.exported(audit, after=events[1].seq) == events[2:]
        assert await self.exported(audit, Context("t3", "eve", ADA.rights)) == []

    async def test_an_export_can_be_left(self, audit: Audit, recorder: Recorder) -> None:
        await self.filled(recorder)
        async for event in audit.export(ADA):
            assert event.facts["number"] == 0
            break
        assert len(await self.exported(audit)) == 4

    async def test_a_log_that_nobody_touched_verifies(self, audit: Audit, recorder: Recorder) -> None:
        await self.filled(recorder)
        [event, *_] = await audit.events(ADA)
        await self.proof(audit, event.seq)
        report = await audit.verify(ADA)
        assert (report.ok, report.faults) == (True, ())
        assert report.covered == report.events >= 5
        assert report.checkpoints >= 1

    async def test_a_proof_holds_for_its_event(self, audit: Audit, recorder: Recorder) -> None:
        await self.filled(recorder)
        events = await self.exported(audit)
        for event in events:
            proof = await self.proof(audit, event.seq)
            assert (proof.seq, proof.leaf_hash) == (event.seq, hashlib.sha256(b"\0" + proof.event.encode()).hexdigest())
            assert _root(proof) == proof.root
            assert proof.tree_size > event.seq

    async def test_no_proof_is_given_of_another_tenants_event_or_of_none(
        self, audit: Audit, recorder: Recorder
    ) -> None:
        await self.filled(recorder)
        [theirs] = await audit.events(STRANGER)
        for seq in (theirs.seq, 1_000_000):
            with pytest.raises(NotFound):
                await audit.prove(ADA, seq)


def _root(proof: InclusionProof) -> str:
    """The root that the path leads to (RFC 9162, 2.1.3.2), computed without the code under test."""
    place, last = proof.seq, proof.tree_size - 1
    found = bytes.fromhex(proof.leaf_hash)
    for step in map(bytes.fromhex, proof.path):
        if place & 1 or place == last:
            found = hashlib.sha256(b"\1" + step + found).digest()
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + step).digest()
        place, last = place >> 1, last >> 1
    assert last == 0
    return found.hex()
