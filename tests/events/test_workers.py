"""What one process does with a consumer's events: order, priorities, leases, commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from stanchion.core.clock import micros
from stanchion.core.context import Context, system_context
from stanchion.core.errors import NotTrustworthy, Unavailable
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.events import SLOTS, Commit, Event, HandlerSpec, Selection, stage
from stanchion.events.keeping import handled, parked
from stanchion.events.keeping.slots import HOUSE, Consumer, Slot, beat, give_back, register, suspect, tokens
from stanchion.events.packing import KeyedSeal, NoSeal, entry_of, packed_who, unpack
from stanchion.events.workers.buffer import Buffer, Item, Key
from stanchion.events.workers.progress import Progress
from stanchion.events.workers.retrying import Rules
from stanchion.testing.event_contract import Seen, event, eventually
from stanchion.testing.events import SIGNER, caller, running, sqlite_url

CTX = system_context("acme", task="test")
WHO = packed_who(caller())
SLOT = Slot(0, 1, {0: 0, SLOTS: 0, 2 * SLOTS: 0})


def item(key: str, number: int, *, priority: int = 1, principal: str = "ada") -> Item:
    who = WHO if principal == "ada" else packed_who(caller("acme", principal))
    ctx = caller("acme", principal)
    entry = entry_of(event(number, key), ctx, who, at=0, seal=NoSeal())
    packet = unpack(entry.body, NoSeal())
    return Item(priority * SLOTS, number + 1, SLOT, Key("acme", priority, f"{priority}:{key}"), packet, entry.body)


def number_of(one: Item) -> int:
    return int(msgspec.json.decode(one.packet.data or b"{}")["n"])


class TestBuffer:
    def test_urgent_events_go_first_and_the_others_do_not_starve(self) -> None:
        buffer = Buffer()
        for number in range(130):
            for priority in range(3):
                buffer.add(item(f"k{number}", number, priority=priority))
        drawn = [buffer.next(1)[0].key.priority for _ in range(130)]
        assert [drawn.count(priority) for priority in range(3)] == [80, 40, 10]

    def test_a_batch_holds_events_of_one_author(self) -> None:
        buffer = Buffer()
        for number, principal in enumerate(("ada", "ada", "bob", "ada")):
            buffer.add(item("k", number, principal=principal))
        assert [number_of(one) for one in buffer.next(10)] == [0, 1]
        assert not buffer.next(10)
        buffer.free(Key("acme", 1, "1:k"))
        assert [number_of(one) for one in buffer.next(10)] == [2]

    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "free", "back"])), max_size=60),
        st.integers(1, 4),
    )
    def test_a_key_s_events_come_one_after_the_other_in_their_order(
        self, steps: list[tuple[str, str]], most: int
    ) -> None:
        buffer = Buffer()
        for number in range(30):
            buffer.add(item("abc"[number % 3], number))
        out: dict[Key, list[Item]] = {}
        seen: dict[Key, list[int]] = {}
        for name, step in steps:
            key = Key("acme", 1, f"1:{name}")
            if step == "take":
                for one in buffer.next(most):
                    assert one.key not in out or out[one.key][-1].position < one.position
                    out.setdefault(one.key, []).append(one)
            elif key in out:
                items = out.pop(key)
                if step == "back":
                    buffer.put_back(items)
                else:
                    seen.setdefault(key, []).extend(number_of(one) for one in items)
                    buffer.free(key)
        assert all(numbers == list(range(numbers[0], numbers[0] + 3 * len(numbers), 3)) for numbers in seen.values())
        assert buffer.size == 30 - sum(map(len, seen.values())) - sum(map(len, out.values()))


@given(st.lists(st.integers(1, 30), unique=True))
def test_a_position_is_never_saved_beyond_what_is_done(done: list[int]) -> None:
    progress = Progress(Slot(0, 1, {0: 0, SLOTS: 0, 2 * SLOTS: 0}))
    for position in range(1, 31):
        progress.begin(0, position)
    progress.read[0] = 30
    for position in done:
        progress.done(0, position)
        saved = progress.snapshot()
        first = min(set(range(1, 31)) - set(done[: done.index(position) + 1]), default=31)
        assert progress.slot.positions[0] == first - 1
        assert saved is None or saved.positions[0] == first - 1


def test_waits_between_attempts_double_up_to_the_longest() -> None:
    rules = Rules(10, base=1.0, maximum=6.0)
    assert [rules.wait(attempt, draw=lambda: 1.0) for attempt in range(1, 6)] == [1.0, 2.0, 4.0, 6.0, 6.0]
    assert rules.wait(1, draw=lambda: 0.0) == 0.5


def test_a_body_that_the_house_did_not_seal_is_not_trusted() -> None:
    seal = KeyedSeal(SIGNER)
    body = entry_of(event(1), caller(), WHO, at=1, seal=seal).body
    assert unpack(body, seal).id
    for forged in (body[:-1] + b"x", b"\0" * 32 + body[32:], body[32:], b""):
        with pytest.raises(NotTrustworthy):
            unpack(forged, seal)


class TestLeases:
    @pytest.fixture
    async def database(self, tmp_path: Path):
        from stanchion.events.backends.tables import SCHEMA

        database = open_database(sqlite_url(tmp_path), durable=False)
        await database.prepare(SCHEMA)
        yield database
        await database.close()

    async def test_slots_are_shared_by_the_living_and_a_dead_one_s_pass_on_with_a_greater_token(
        self, database: Database
    ) -> None:
        one = Consumer(HOUSE, "some")

        def play(c: Connection) -> None:
            register(c, one, {})
            first = beat(c, "a", {one: {}}, now=0, until=10)[one]
            assert len(first.taken) == SLOTS
            mine = {slot.number: slot.token for slot in first.taken}
            second = beat(c, "b", {one: {}}, now=1, until=11)[one]
            assert not second.taken
            again = beat(c, "a", {one: mine}, now=2, until=12)[one]
            assert again.surplus == {number for number in range(SLOTS) if number % 2}
            give_back(c, "a", one, [slot for slot in first.taken if slot.number in again.surplus])
            theirs = beat(c, "b", {one: {}}, now=3, until=13)[one].taken
            assert {slot.number for slot in theirs} == again.surplus
            known = {slot.number: slot.token for slot in theirs}
            whole = beat(c, "b", {one: known}, now=20, until=30)[one]
            assert {slot.number for slot in whole.taken} == set(range(SLOTS)) - again.surplus
            assert all(slot.token == mine[slot.number] + 1 and slot.stalls == 1 for slot in whole.taken)
            assert tokens(c, one, [0])[0] == mine[0] + 1

        await database.write(CTX, play)

    async def test_processes_that_end_over_no_event_are_counted_once(self, database: Database) -> None:
        one = Consumer(HOUSE, "some")

        def play(c: Connection) -> None:
            register(c, one, {})
            for turn in range(8):
                taken = beat(c, f"p{turn}", {one: {}}, now=100 * turn, until=100 * turn + 10)[one].taken
                assert {slot.stalls for slot in taken} == {min(1, turn)}
            for turn in range(8, 12):
                suspect(c, one, taken[:1])
                taken = beat(c, f"p{turn}", {one: {}}, now=100 * turn, until=100 * turn + 10)[one].taken
                assert [slot.stalls for slot in taken[:2]] == [turn - 6, 1]

        await database.write(CTX, play)

    async def test_slots_whose_taking_was_not_answered_are_taken_again(self, database: Database) -> None:
        one = Consumer(HOUSE, "some")

        def play(c: Connection) -> None:
            register(c, one, {})
            beat(c, "a", {one: {}}, now=0, until=10)
            again = beat(c, "a", {one: {}}, now=1, until=11)[one]
            assert len(again.taken) == SLOTS
            assert {slot.token for slot in again.taken} == {2}

        await database.write(CTX, play)


async def test_a_slot_that_was_begun_to_be_left_is_worked_on_again_when_its_share_comes_back(tmp_path: Path) -> None:
    released = asyncio.Event()
    done: list[int] = []

    async def handle(ctx: Context, given: Event, commit: Commit) -> None:
        await released.wait()
        done.append(given.json()["n"])

    spec = HandlerSpec(name="slow", types=("test.*",), function=handle, concurrency=16)
    url = sqlite_url(tmp_path)
    database = open_database(url, durable=False)
    async with running(url, spec, lease_seconds=0.6) as events:
        await events.publish(caller(), [event(number, f"k{number}") for number in range(64)])

        def join(c: Connection) -> None:
            # Another process comes, so half of the slots are to be left while an event runs.
            beat(c, "zzz", {Consumer(HOUSE, "slow"): {}}, now=micros(datetime.now(UTC)), until=2**60)

        def end(c: Connection) -> None:
            c.execute(text("DELETE FROM events_holders WHERE holder = 'zzz'"))
            c.execute(text("UPDATE events_slots SET holder = '' WHERE holder = 'zzz'"))

        await database.write(CTX, join)
        await eventually(lambda: events.consumers(caller()), lambda found: found[0].holders == 2)
        await database.write(CTX, end)
        await eventually(lambda: events.consumers(caller()), lambda found: found[0].holders == 1)
        released.set()

        async def look() -> Sequence[int]:
            return done

        await eventually(look, lambda found: len(found) == 64)
    await database.close()
    assert sorted(done) == list(range(64))


async def test_a_row_read_before_its_event_ended_is_not_given_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    found_some: list[bool] = []

    async def handle(ctx: Context, given: Event, commit: Commit) -> None:
        await asyncio.sleep(0.05 * given.json()["n"])
        done.append(given.json()["n"])

    async def look() -> Sequence[int]:
        return done

    read = parked.due

    def slow(connection: Connection, *which: Any, **when: Any) -> tuple[Sequence[parked.Parked], int | None]:
        found = read(connection, *which, **when)
        if found[0]:
            # What was read ends meanwhile.
            time.sleep(0.5)
        found_some.append(bool(found[0]))
        return found

    monkeypatch.setattr(parked, "due", slow)
    spec = HandlerSpec(name="slow", types=("test.*",), function=handle)
    async with running(sqlite_url(tmp_path), spec) as events:
        ctx = caller()
        await events.publish(ctx, [event(number) for number in range(5)])
        await eventually(look, lambda found: len(found) == 5)
        await events.replay(ctx, "slow", Selection(subject="k"))
        # A read that found nothing came after those that found what was replayed.
        await eventually(look, lambda found: len(found) >= 10 and not found_some[-1])
    assert sorted(done) == sorted([*range(5), *range(5)])


async def test_events_that_were_read_keep_their_order_while_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    faults = 0
    among = handled.among

    def away(connection: Connection, *which: Any) -> Any:
        nonlocal faults
        if len(seen.events) == 3 and faults < 2:
            faults += 1
            raise Unavailable("the database is away")
        return among(connection, *which)

    monkeypatch.setattr(handled, "among", away)
    async with running(sqlite_url(tmp_path), seen.spec()) as events:
        for number in range(8):
            await events.publish(caller(), [event(number)])
            if number == 2:
                await seen.until(3)
        assert [n for _, n in await seen.until(8)] == list(range(8))
    assert faults == 2


class TestCommits:
    async def test_a_refused_write_undoes_the_whole_handling_and_is_tried_again(self, tmp_path: Path) -> None:
        calls: list[int] = []

        async def handle(ctx: Context, given: Event, commit: Commit) -> Event:
            calls.append(given.json()["n"])

            def write(c: Connection) -> None:
                c.execute(text("INSERT INTO mine VALUES (:n)"), {"n": given.json()["n"]})
                if len(calls) < 3:
                    raise RuntimeError("not yet")

            commit.write(write)
            return event(100, kind="follow.up")

        seen = Seen()
        spec = HandlerSpec(name="writes", types=("test.*",), function=handle, base=0.02, maximum=0.05)
        url = sqlite_url(tmp_path)
        database = open_database(url, durable=False)
        await database.write(CTX, lambda c: c.execute(text("CREATE TABLE mine (n INTEGER)")) and None)
        async with running(url, spec, seen.spec(name="then", types=("follow.*",))) as events:
            await events.publish(caller(), [event(1)])
            await seen.until(1)
            rows = await database.read(lambda c: c.execute(text("SELECT n FROM mine")).scalars().all())
        await database.close()
        assert list(rows) == [1]
        assert calls == [1, 1, 1]
        assert len(seen.events) == 1

    async def test_events_staged_in_a_change_come_with_its_commit_and_go_with_its_failure(self, tmp_path: Path) -> None:
        for bus in ("database", "memory"):
            (tmp_path / bus).mkdir()
            seen = Seen()
            url = sqlite_url(tmp_path / bus)
            async with running(url, seen.spec(types=("run.*",)), bus=bus) as events:
                database = open_database(url, durable=False)

                def fails(c: Connection) -> None:
                    stage(c, caller(), [event(1, kind="run.ended")])
                    raise RuntimeError("the change failed")

                with pytest.raises(RuntimeError):
                    await database.write(CTX, fails)
                await database.write(CTX, lambda c: stage(c, caller(), [event(n, kind="run.ended") for n in (2, 3)]))
                await seen.until(2)
                await database.close()
                assert [n for _, n in seen.events] == [2, 3]
                assert (await events.consumers(caller()))[0].waiting == 0

    async def test_an_event_under_which_processes_end_is_buried_at_last(self, tmp_path: Path) -> None:
        seen = Seen()
        url = sqlite_url(tmp_path)
        ctx = caller()
        async with running(url, seen.spec(attempts=3), workers=False) as events:
            await events.publish(ctx, [event(1)])
        database = open_database(url, durable=False)
        await database.write(
            CTX, lambda c: c.execute(text("UPDATE events_slots SET stalls = 3, holder = 'ended'")) and None
        )
        await database.close()
        async with running(url, seen.spec(attempts=3)) as events:
            [letter] = await eventually(lambda: events.dead(ctx), lambda found: len(found) == 1)
            assert "processes ended" in letter.error
            await events.publish(ctx, [event(2)])
            assert await seen.until(1) == [("k", 2)]

    async def test_a_handler_that_takes_too_long_is_ended_and_tried_again(self, tmp_path: Path) -> None:
        calls: list[int] = []

        async def handle(ctx: Context, given: Event, commit: Commit) -> None:
            calls.append(1)
            if len(calls) == 1:
                await asyncio.Event().wait()

        spec = HandlerSpec(name="slow", types=("test.*",), function=handle, seconds=0.2, base=0.02)
        async with running(sqlite_url(tmp_path), spec) as events:
            await events.publish(caller(), [event(1)])

            async def look() -> Sequence[int]:
                return calls

            await eventually(look, lambda found: len(found) == 2)
