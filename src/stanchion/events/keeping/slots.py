"""Who reads which slot for which consumer: leases with fencing tokens, shared out among the living processes.

A process that says nothing for the lease's time is taken for dead. Its slots pass to others with a greater token, and
from then on nothing commits under the old one, should it come back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from ...core.errors import Unavailable
from ..backends.statements import many, marks, rows, run, sql
from ..ports import SLOTS

_HELD = (
    "SELECT slot, holder, token, high, normal, low, stalls FROM events_slots"
    " WHERE tenant = ? AND consumer = ? ORDER BY slot"
)
_ONE = "tenant = ? AND consumer = ? AND slot = ? AND token = ?"
HOUSE = "*"
"""The tenant of consumers that serve all tenants: the handlers of the system."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer's name and whose it is."""

    tenant: str
    name: str


@dataclass(slots=True)
class Slot:
    """A slot in this process's hands: `positions` by lane, up to which everything is done.

    `stalls` is how many processes have ended over its first events; of the first of these it is not known whether it
    had begun any. `noted`: this process counts from now on, should it end.
    """

    number: int
    token: int
    positions: dict[int, int]
    stalls: int = 0
    noted: bool = False


@dataclass(slots=True)
class Share:
    """What one beat found for a consumer: slots newly taken, tokens of all that are held, and those to give back."""

    taken: list[Slot] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)
    surplus: set[int] = field(default_factory=set)
    holders: int = 1


def register(connection: Connection, consumer: Consumer, heads: Mapping[int, int]) -> bool:
    """Make the consumer's slots, from these positions on, if there are none; whether they are new."""
    found = rows(
        connection,
        "SELECT 1 FROM events_slots WHERE tenant = ? AND consumer = ? LIMIT 1",
        (consumer.tenant, consumer.name),
    )
    if found:
        return False
    many(
        connection,
        "INSERT INTO events_slots (tenant, consumer, slot, holder, token, high, normal, low, stalls)"
        " VALUES (?, ?, ?, '', 0, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
        [
            (consumer.tenant, consumer.name, slot, *(heads.get(lane, 0) for lane in lanes_of(slot)))
            for slot in range(SLOTS)
        ],
    )
    return True


def lanes_of(slot: int) -> tuple[int, int, int]:
    """The slot's lanes: high, normal, low."""
    return slot, SLOTS + slot, 2 * SLOTS + slot


def beat(
    connection: Connection, holder: str, consumers: Mapping[Consumer, Mapping[int, int]], *, now: int, until: int
) -> dict[Consumer, Share]:
    """Say that the holder lives until then, and take what is its share of each consumer's slots and free.

    `consumers` tells the token of every slot that it knows to be its own.
    """
    many(
        connection,
        "INSERT INTO events_holders (holder, tenant, consumer, until) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (holder, tenant, consumer) DO UPDATE SET until = excluded.until",
        [(holder, consumer.tenant, consumer.name, until) for consumer in consumers],
    )
    run(connection, "DELETE FROM events_holders WHERE until < ?", (now - 3_600_000_000,))
    living: dict[Consumer, list[str]] = {consumer: [] for consumer in consumers}
    for tenant, name, other in rows(
        connection, "SELECT tenant, consumer, holder FROM events_holders WHERE until > ? ORDER BY holder", (now,)
    ):
        living.get(Consumer(tenant, name), []).append(other)
    return {
        consumer: _share(connection, holder, consumer, living[consumer], known)
        for consumer, known in sorted(consumers.items(), key=lambda each: (each[0].tenant, each[0].name))
    }


def _share(
    connection: Connection, holder: str, consumer: Consumer, living: Sequence[str], known: Mapping[int, int]
) -> Share:
    share = Share(holders=len(living))
    wanted: list[Slot] = []
    for slot, other, token, high, normal, low, stalls in rows(connection, _HELD, (consumer.tenant, consumer.name)):
        mine = living[slot % len(living)] == holder
        if other == holder and known.get(slot) == token:
            share.held[slot] = token
            if not mine:
                share.surplus.add(slot)
        elif other == holder or (mine and other not in living):
            # Its own without knowing it: the answer of the beat that took it was lost.
            died = 1 if other not in ("", holder) else 0
            taken = Slot(
                slot, token + 1, dict(zip(lanes_of(slot), (high, normal, low), strict=True)), max(stalls, died)
            )  # fmt: skip
            wanted.append(taken)
    share.taken = _claim(connection, holder, consumer, wanted)
    return share


def _claim(connection: Connection, holder: str, consumer: Consumer, slots: Sequence[Slot]) -> list[Slot]:
    """Take those whose tokens are still the ones before: who else wants them comes before this or after it."""
    free = _locked(connection, consumer, [slot.number for slot in slots])
    taken = [slot for slot in slots if free.get(slot.number) == slot.token - 1]
    many(
        connection,
        sql("UPDATE events_slots SET holder = ?, token = ?, stalls = ? WHERE", _ONE),
        [(holder, s.token, s.stalls, consumer.tenant, consumer.name, s.number, s.token - 1) for s in taken],
    )
    return taken


def give_back(connection: Connection, holder: str, consumer: Consumer, slots: Collection[Slot]) -> None:
    """Leave slots to others, with the positions reached."""
    save(connection, consumer, slots)
    many(
        connection,
        sql("UPDATE events_slots SET holder = '', stalls = 0 WHERE", _ONE, "AND holder = ?"),
        [(consumer.tenant, consumer.name, s.number, s.token, holder) for s in _mine(connection, consumer, slots)],
    )


def leave(connection: Connection, holder: str) -> None:
    """The holder ends."""
    run(connection, "DELETE FROM events_holders WHERE holder = ?", (holder,))


def save(connection: Connection, consumer: Consumer, slots: Collection[Slot]) -> None:
    """Keep how far the slots are done, where they are still held under their tokens."""
    many(
        connection,
        sql("UPDATE events_slots SET high = ?, normal = ?, low = ?, stalls = ? WHERE", _ONE),
        [
            (*(s.positions[lane] for lane in lanes_of(s.number)), s.stalls + s.noted, *_named(consumer, s))
            for s in _mine(connection, consumer, slots)
        ],
    )


def suspect(connection: Connection, consumer: Consumer, slots: Collection[Slot]) -> None:
    """Note of slots over which processes have ended that events of theirs begin now: another end is one more."""
    many(
        connection,
        sql("UPDATE events_slots SET stalls = ? WHERE", _ONE),
        [(s.stalls + 1, *_named(consumer, s)) for s in _mine(connection, consumer, slots)],
    )


def tokens(connection: Connection, consumer: Consumer, numbers: Collection[int]) -> dict[int, int]:
    """The present tokens of these slots, which nobody takes over until the transaction ends.

    Raises Unavailable where another transaction is about to: whose they are is known in a moment.
    """
    found = _locked(connection, consumer, numbers)
    if len(found) < len(numbers) and set(_tokens(connection, consumer, numbers)) - set(found):
        raise Unavailable(f"slots of the consumer {consumer.name} are being taken over", retry_after=0.1)
    return found


def _named(consumer: Consumer, slot: Slot) -> tuple[str, str, int, int]:
    return consumer.tenant, consumer.name, slot.number, slot.token


def _mine(connection: Connection, consumer: Consumer, slots: Collection[Slot]) -> Sequence[Slot]:
    """Those that are held under their tokens, locked."""
    held = _locked(connection, consumer, [slot.number for slot in slots])
    return [slot for slot in slots if held.get(slot.number) == slot.token]


def _locked(connection: Connection, consumer: Consumer, numbers: Collection[int]) -> dict[int, int]:
    """The tokens of those slots that no other transaction has locked; they are this one's until it ends.

    Nobody ever waits for a slot. One transaction holds the works of a process in the order of their coming, so there is
    no order of locks that all keep, and of two that wait for each other the server ends one.
    """
    lock = "ORDER BY slot FOR NO KEY UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    return _tokens(connection, consumer, numbers, lock)


def _tokens(connection: Connection, consumer: Consumer, numbers: Collection[int], lock: str = "") -> dict[int, int]:
    if not numbers:
        return {}
    query = sql(
        "SELECT slot, token FROM events_slots WHERE tenant = ? AND consumer = ?",
        f"AND slot IN ({marks(len(numbers))})",
        lock,
    )
    return dict(rows(connection, query, (consumer.tenant, consumer.name, *sorted(numbers))))


def positions(connection: Connection) -> dict[Consumer, dict[int, int]]:
    """Up to where every consumer is done, by lane."""
    found: dict[Consumer, dict[int, int]] = {}
    for tenant, name, slot, *three in rows(
        connection, "SELECT tenant, consumer, slot, high, normal, low FROM events_slots WHERE consumer NOT LIKE '-%'"
    ):
        found.setdefault(Consumer(tenant, name), {}).update(zip(lanes_of(slot), three, strict=True))
    return found
