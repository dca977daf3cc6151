"""Reviews beside others: two processes on one store, the bus of the house, the audit log, sealed content."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from stanchion import System
from stanchion.core.errors import Misconfigured, NotTrustworthy
from stanchion.core.security.contract import Audit
from stanchion.events import Event, Events
from stanchion.review import Draft, Reviews, ReviewSpec, Sla
from stanchion.testing import offline
from stanchion.testing.clock import FakeClock
from stanchion.testing.review_cases import ADA, AUTHOR, BOB, claimed, decided, draft, submission


async def test_two_processes_on_one_store_never_give_one_seat_to_two(opens: Any, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/state.db"
    spec = ReviewSpec("plain")
    async with opens(spec, url=url) as one, opens(spec, url=url) as other:
        await one.open(AUTHOR, [draft(number=n) for n in range(60)])

        async def works(reviews: Reviews, who: Any) -> list[str]:
            taken: list[str] = []
            while cases := await reviews.claim(who, limit=3):
                settled = await reviews.decide(who, [submission(case) for case in cases])
                taken += [each.item for each in settled if each.error is None]
            return taken

        first, second = await asyncio.gather(works(one, ADA), works(other, BOB))
        assert len(first) + len(second) == 60 and not set(first) & set(second)


async def test_who_waits_hears_of_a_decision_in_another_process(opens: Any, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/state.db"
    async with opens(ReviewSpec("plain"), url=url) as one, opens(ReviewSpec("plain"), url=url) as other:
        asking = asyncio.create_task(one.ask(AUTHOR, draft(key="k"), seconds=60))
        async with asyncio.timeout(60):
            while not (items := await other.items(ADA)):
                await asyncio.sleep(0.01)  # until the other process has opened it
        await decided(other, ADA, items[0])
        assert (await asking).approved


def stored_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_content_is_sealed_on_disk_and_a_changed_decision_is_not_believed(opens: Any, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    async with opens(ReviewSpec("plain"), url=f"sqlite://{file}") as reviews:
        [found] = await reviews.open(AUTHOR, [draft(key="k")])
        await decided(reviews, ADA, found.item, "edit", value={"grant": False, "note": "Lovelace said so"})
        stored = stored_in(tmp_path)
        assert b"Lovelace" not in stored and b"income" not in stored
        with sqlite3.connect(file) as link:
            link.execute("UPDATE review_items SET state = replace(state, 'digest\":\"', 'digest\":\"00')")
        with pytest.raises(NotTrustworthy):
            await reviews.ask(AUTHOR, draft(key="k"))


async def test_every_change_is_told_with_its_commit_and_audited() -> None:
    app = System("told")
    app.review("plain", sla={"normal": Sla(10, 20, 40)}, undo=5)
    clock = FakeClock()
    async with offline(app, clock=clock, settings={"review": {"tick_seconds": 0.05}}) as running:
        reviews, events = running.door(Reviews), running.door(Events)
        heard: list[Event] = []

        async def listen() -> None:
            async for each in events.follow(running.ctx, types=["review.*"], since=0):
                heard.append(each.event)

        listening = asyncio.create_task(listen())
        author = running.caller(scopes=("review:open",))
        items = [(await reviews.open(author, [Draft("plain", {"n": n}, {"m": n})]))[0].item for n in range(2)]
        assert items[0] is not None and items[1] is not None
        case = await claimed(reviews, running.ctx, items[0])
        await reviews.decide(running.ctx, [submission(case, "reject")])
        clock.advance(50)
        async with asyncio.timeout(60):
            while sum(event.type in ("review.decided", "review.expired") for event in heard) < 2:
                await asyncio.sleep(0.01)  # the clock of reviews works in the background
        listening.cancel()
        own = [event.type for event in heard if event.subject == items[0].id]
        assert own == ["review.opened", "review.claimed", "review.voted", "review.decided"]
        late = [event for event in heard if event.subject == items[1].id]
        assert [event.type for event in late] == ["review.opened", "review.expired"]
        assert late[-1].json()["verdict"] == "reject" and "input" not in late[-1].json()
        actions = {each.action for each in await running.door(Audit).events(running.ctx)}
        assert {"review:open", "review:claim", "review:decide", "review:tick"} <= actions


def test_silence_is_never_declared_an_approval() -> None:
    for said in ("approve", "edit", "anything"):
        with pytest.raises(Misconfigured, match="never approved"):
            System("x").review("q", at_expiry=said)
    for wrong in ({"sla": {"normal": (3, 2, 1)}}, {"reviewers": 0}, {"double": 2.0}, {"mask": {"name": frozenset()}}):
        with pytest.raises((Misconfigured, AttributeError)):
            System("x").review("q", **wrong)  # type: ignore[arg-type]  # that is the point
