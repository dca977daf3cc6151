"""Processes that lease slots, save positions and end handlings at once do not wait for each other in a circle."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import Connection

from stanchion.core.context import system_context
from stanchion.core.errors import Unavailable
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.events import SLOTS
from stanchion.events.backends.tables import SCHEMA
from stanchion.events.keeping.finishing import Answer, Finish, Finished, finish
from stanchion.events.keeping.slots import HOUSE, Consumer, Slot, beat, give_back, register, save

CTX = system_context("acme", task="test")
CONSUMERS = [Consumer(HOUSE, f"c{number}") for number in range(3)]
PROCESSES, ROUNDS = 3, 120


class Process:
    """Works as a process does, but in no order: what it holds it learns late, and others take it for dead often."""

    def __init__(self, name: str, database: Database, now: count[int]) -> None:
        self.name = name
        self.results: list[str] = []
        self.taken = 0
        self._database = database
        self._now = now
        self._chance = random.Random(name)
        self._slots: dict[Consumer, dict[int, Slot]] = {consumer: {} for consumer in CONSUMERS}

    async def work(self) -> None:
        for _ in range(ROUNDS):
            works = self._beat(), self._end(), self._save(), self._end(), self._give_back()
            answers = await asyncio.gather(*works, return_exceptions=True)
            faults = [each for each in answers if isinstance(each, BaseException)]
            assert all(isinstance(each, Unavailable) for each in faults), faults

    async def _beat(self) -> None:
        known = {consumer: {n: slot.token for n, slot in slots.items()} for consumer, slots in self._slots.items()}
        now = next(self._now)
        until = now + self._chance.randint(1, 6)
        shares = await self._database.write(CTX, lambda c: beat(c, self.name, known, now=now, until=until))
        for consumer, share in shares.items():
            slots = {n: slot for n, slot in self._slots[consumer].items() if share.held.get(n) == slot.token}
            self._slots[consumer] = slots | {slot.number: slot for slot in share.taken}
            self.taken += len(share.taken)

    async def _end(self) -> None:
        finishes = [
            Finish("done", [Finished(consumer, slot.number, slot.token, "acme", "")])
            for consumer in self._shuffled()
            for slot in self._some(consumer)
        ]

        def work(connection: Connection) -> list[Answer]:
            answers = finish(connection, finishes)
            self._saves(connection)
            return answers

        self.results += [answer.result for answer in await self._database.write(CTX, work)]

    async def _save(self) -> None:
        await self._database.write(CTX, self._saves)

    async def _give_back(self) -> None:
        consumer = self._chance.choice(CONSUMERS)
        slots = self._some(consumer)[:1]
        await self._database.write(CTX, lambda c: give_back(c, self.name, consumer, slots))
        for slot in slots:
            self._slots[consumer].pop(slot.number, None)

    def _saves(self, connection: Connection) -> None:
        for consumer in self._shuffled():
            save(connection, consumer, self._some(consumer))

    def _shuffled(self) -> list[Consumer]:
        return self._chance.sample(CONSUMERS, len(CONSUMERS))

    def _some(self, consumer: Consumer) -> list[Slot]:
        slots = list(self._slots[consumer].values())
        return self._chance.sample(slots, self._chance.randint(0, min(6, len(slots))))


async def test_no_process_waits_for_another_s_slots_in_a_circle(postgres_url: str) -> None:
    name = urlsplit(postgres_url).path[1:]
    with psycopg.connect(postgres_url, autocommit=True) as link:
        link.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'")
    databases = [open_database(postgres_url, durable=False) for _ in range(PROCESSES)]
    await databases[0].prepare(SCHEMA)
    await databases[0].write(CTX, lambda c: [register(c, consumer, {}) for consumer in CONSUMERS])
    now = count()
    processes = [Process(f"p{number}", database, now) for number, database in enumerate(databases)]
    await asyncio.gather(*(process.work() for process in processes))
    for database in databases:
        await database.close()  # what a connection counted is told when it ends
    with psycopg.connect(postgres_url) as link:
        told = link.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    results = [result for process in processes for result in process.results]
    assert min(process.taken for process in processes) > 100
    assert results.count("done") > 100
    assert told == (0,)


async def test_a_slot_in_another_transaction_is_neither_waited_for_nor_taken_for_lost(
    postgres_url: str,
) -> None:
    one = CONSUMERS[0]
    database = open_database(postgres_url, durable=False)
    await database.prepare(SCHEMA)
    await database.write(CTX, lambda c: register(c, one, {}))
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT 1 FROM events_slots WHERE slot = 5 FOR UPDATE")
        share = (await database.write(CTX, lambda c: beat(c, "a", {one: {}}, now=0, until=10)))[one]
        assert {slot.number for slot in share.taken} == set(range(SLOTS)) - {5}
        other.rollback()
        share = (await database.write(CTX, lambda c: beat(c, "a", {one: {}}, now=1, until=11)))[one]
        assert len(share.taken) == SLOTS
        ends = [Finish("done", [Finished(one, slot.number, slot.token, "acme", "")]) for slot in share.taken]
        other.execute("SELECT 1 FROM events_slots WHERE slot = 5 FOR UPDATE")
        with pytest.raises(Unavailable, match="taken over"):
            await database.write(CTX, lambda c: finish(c, ends))
        other.rollback()
        answers = await database.write(CTX, lambda c: finish(c, ends))
    assert {answer.result for answer in answers} == {"done"}
    await database.close()
