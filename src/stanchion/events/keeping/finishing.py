"""What is written when handlings end, many to one transaction: the handlers' writes, and that they are done.

The order within a finished handling: is the lease still held, is the event new to this consumer, the handler's writes,
its follow-up events. One that fails leaves nothing behind and does not touch the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from sqlalchemy import Connection

from ..backends import log
from ..backends.statements import Row, many, run
from ..ports import Entry
from .slots import Consumer, tokens

Result = Literal["done", "duplicate", "stale", "retry", "dead"]
Work = Callable[[Connection], None]

_HANDLED = (
    "INSERT INTO events_handled (tenant, consumer, source, id, correlation, trail, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
_PARK = (
    "INSERT INTO events_parked"
    " (tenant, consumer, place, slot, lane, position, key, due, attempts, body, history)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (tenant, consumer, place)"
    " DO UPDATE SET due = excluded.due, attempts = excluded.attempts, history = excluded.history"
)
PARK_BEHIND = _PARK[: _PARK.index(" ON CONFLICT")] + " ON CONFLICT DO NOTHING"
_UNPARK = "DELETE FROM events_parked WHERE tenant = ? AND consumer = ? AND place = ?"
_BURY = (
    "INSERT INTO events_dead"
    " (tenant, consumer, id, type, source, subject, at, lane, key, attempts, body, history)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


class Trail(msgspec.Struct, array_like=True):
    """An event's part in a chain: what it was, what a consumer made of it, and what came of that."""

    type: str
    causation: str
    published: int
    at: int
    attempts: int
    state: Literal["done", "dead"]
    error: str
    led: list[tuple[str, str, str]]


@dataclass(slots=True)
class Finished:
    """One event's handling as it ended. `place` names its row among the parked ones, empty: it came from the bus.

    `handled` is the row of the note that it is handled, `parked` is the row of a
    retry, `behind` are those of its key that wait for it, `buried` is the row of a dead letter.
    """

    consumer: Consumer
    slot: int
    token: int
    tenant: str
    place: str
    handled: Row | None = None
    parked: Sequence[Row] = ()
    behind: Sequence[Row] = ()
    buried: Row | None = None


@dataclass(slots=True)
class Finish:
    """Handlings that end together: a batch's, or one. `at` is the moment of the follow-up events."""

    verdict: Literal["done", "retry", "dead"]
    events: Sequence[Finished]
    works: Sequence[Work] = ()
    entries: Sequence[Entry] = ()
    at: int = 0


@dataclass(slots=True)
class Answer:
    """What became of a finish; `error` is what its own writes raised."""

    result: Result
    error: Exception | None = None


def finish(connection: Connection, finishes: Sequence[Finish]) -> list[Answer]:
    """End the handlings, in order; an answer for each."""
    known = _tokens(connection, finishes)
    plain: list[Row] = []
    unparked: list[Row] = []
    answers: list[Answer] = []
    for each in finishes:
        if any(known[event.consumer].get(event.slot) != event.token for event in each.events):
            answers.append(Answer("stale"))
        elif each.works or each.entries:
            answers.append(_guarded(connection, each))
        else:
            plain += [event.handled for event in each.events if event.handled is not None]
            answers.append(_kept(connection, each))
        if each.verdict != "retry" and answers[-1].result in ("done", "dead", "duplicate"):
            unparked += [(e.tenant, e.consumer.name, e.place) for e in each.events if e.place]
    many(connection, _HANDLED, plain)
    many(connection, _UNPARK, unparked)
    return answers


def _tokens(connection: Connection, finishes: Sequence[Finish]) -> dict[Consumer, dict[int, int]]:
    wanted: dict[Consumer, set[int]] = defaultdict(set)
    for each in finishes:
        for event in each.events:
            wanted[event.consumer].add(event.slot)
    order = sorted(wanted, key=lambda consumer: (consumer.tenant, consumer.name))
    return {consumer: tokens(connection, consumer, wanted[consumer]) for consumer in order}


def _kept(connection: Connection, each: Finish) -> Answer:
    """Keep what a handling without writes of its own leaves: a retry, a dead letter, or nothing more."""
    if each.verdict != "done":
        many(connection, _PARK, [row for event in each.events for row in event.parked])
        many(connection, PARK_BEHIND, [row for event in each.events for row in event.behind])
        many(connection, _BURY, [event.buried for event in each.events if event.buried is not None])
    return Answer(each.verdict)


def _guarded(connection: Connection, each: Finish) -> Answer:
    """The note, the handler's writes and its follow-up events: all of them, or none and its error."""
    run(connection, "SAVEPOINT handling")
    try:
        new = [run(connection, _HANDLED, e.handled).rowcount for e in each.events if e.handled is not None]
        if not all(new):
            # Somebody did it before: at least one event's effect is there, so this handling's must not be.
            run(connection, "ROLLBACK TO SAVEPOINT handling")
            run(connection, "RELEASE SAVEPOINT handling")
            return Answer("duplicate")
        for work in each.works:
            work(connection)
        log.append(connection, each.entries, each.at)
        _kept(connection, each)
        run(connection, "RELEASE SAVEPOINT handling")
    except Exception as error:
        run(connection, "ROLLBACK TO SAVEPOINT handling")
        run(connection, "RELEASE SAVEPOINT handling")
        return Answer("retry", error)
    return Answer(each.verdict)
