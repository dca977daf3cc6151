"""Which consumers there are, what they want, and whether they are paused."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from ..backends.statements import rows, run, sql
from .slots import HOUSE, Consumer


@dataclass(frozen=True, slots=True)
class Known:
    """A consumer as it is kept."""

    consumer: Consumer
    types: tuple[str, ...]
    paused: bool


def all_known(connection: Connection) -> dict[Consumer, Known]:
    """Every consumer of every tenant."""
    return {
        Consumer(tenant, name): Known(Consumer(tenant, name), tuple(msgspec.json.decode(types)), bool(paused))
        for tenant, name, types, paused in rows(
            connection, "SELECT tenant, consumer, types, paused FROM events_consumers"
        )
    }


def keep(connection: Connection, consumer: Consumer, types: tuple[str, ...]) -> None:
    """Remember what the consumer wants now; whether it is paused stays as it is."""
    run(
        connection,
        "INSERT INTO events_consumers (tenant, consumer, types, paused) VALUES (?, ?, ?, 0)"
        " ON CONFLICT (tenant, consumer) DO UPDATE SET types = excluded.types",
        (consumer.tenant, consumer.name, msgspec.json.encode(types).decode()),
    )


def remove(connection: Connection, consumer: Consumer) -> int | None:
    """Forget it, with what waits for it and its dead letters; how many events those were, None: there is none.

    Who holds its slots can commit nothing more, as their tokens are gone.
    """
    here = "WHERE tenant = ? AND consumer = ?"
    whose = (consumer.tenant, consumer.name)
    if not run(connection, sql("DELETE FROM events_consumers", here), whose).rowcount:
        return None
    for table in ("events_slots", "events_holders"):
        run(connection, sql("DELETE FROM", table, here), whose)
    if consumer.tenant == HOUSE:
        # A handler's rows are of the tenants whose events they are, but for those with a consumer of the same name.
        here = "WHERE consumer = ? AND tenant NOT IN (SELECT tenant FROM events_consumers WHERE consumer = ?)"
        whose = (consumer.name, consumer.name)
    return sum(
        run(connection, sql("DELETE FROM", table, here), whose).rowcount for table in ("events_parked", "events_dead")
    )


def set_paused(connection: Connection, consumer: Consumer, paused: bool) -> bool:
    """Pause or resume; whether there is such a consumer."""
    done = run(
        connection,
        "UPDATE events_consumers SET paused = ? WHERE tenant = ? AND consumer = ?",
        (int(paused), consumer.tenant, consumer.name),
    )
    return bool(done.rowcount)
