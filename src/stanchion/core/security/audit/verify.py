"""Checks the whole log against itself and against the checkpoints, and says in words what is wrong and where.

Three nets. The chain tells at which event a log was changed, but whoever can write the database can re-chain it.
The tree's root in a signed checkpoint cannot be made again, and finds that. The columns, the head row and the
stored tree nodes are derived from the bodies, and are compared with what the bodies say.

The rows are read past SQLAlchemy's type handling: a damaged value must become a fault, not an exception. What costs
is SHA-256: three small hashes an event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection

from ...errors import NotTrustworthy
from .body import Columns, columns
from .checkpoint import Checkpoint, Verifier
from .merkle import CHAIN_START, CompactRange

MAX_FAULTS = 100
_ROWS = "SELECT seq, tenant, at, action, hash, body FROM audit_events ORDER BY seq"
_HEAD = "SELECT id, size, chain, peaks FROM audit_head"
_NODES = "SELECT level, place, hash FROM audit_nodes"


@dataclass(slots=True)
class Faults:
    """The first hundred faults, and the number of all."""

    listed: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, fault: str) -> None:
        """Note one fault."""
        self.count += 1
        if self.count <= MAX_FAULTS:
            self.listed.append(fault)

    def told(self) -> tuple[str, ...]:
        """At most 100 sentences; if there are more, the last one says how many."""
        more = self.count - MAX_FAULTS
        return tuple(self.listed) if more <= 0 else (*self.listed[:-1], f"and {more + 1} more faults")


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint with a good signature, and where it lies."""

    checkpoint: Checkpoint
    sink: str
    where: str


def open_notes(notes: Mapping[str, Sequence[str]], verifier: Verifier, faults: Faults) -> list[Signed]:
    """Every checkpoint of the sinks that a trusted key signed; the others are faults. `notes` is by sink."""
    opened: dict[str, Checkpoint] = {}
    signed = []
    for sink, lines in notes.items():
        if not lines:
            faults.add(f"{sink}: no checkpoint is there; the sink is missing or was emptied")
        for number, note in enumerate(lines, start=1):
            where = f"{sink}, checkpoint {number}"
            try:
                # The same note lies in every sink, and a signature costs as much to verify as a hundred events.
                checkpoint = opened.get(note) or verifier.opened(note)
            except NotTrustworthy as error:
                faults.add(f"{where} {error.detail}")
                continue
            opened[note] = checkpoint
            signed.append(Signed(checkpoint, sink, where))
    return signed


@dataclass(frozen=True, slots=True)
class Walk:
    """What one pass over the events found; `covered` is the size of the largest checkpoint they agree with."""

    events: int
    root: bytes
    covered: int


def check(connection: Connection, signed: Sequence[Signed], faults: Faults) -> Walk:
    """Read every event in order and compare everything; `connection` sees one snapshot."""
    walker = _Walker(signed, faults)
    before = faults.count
    try:
        for row in _rows(connection, _ROWS):
            walker.event(*row)
    except NotTrustworthy as error:
        faults.add(f"the events from {walker.tree.size} on cannot be read: {error.detail}")
    walker.finish()
    _check_derived(connection, walker, faults, clean=faults.count == before)
    return Walk(walker.count, walker.tree.root(), walker.covered)


class _Walker:
    """The state of the pass. After a fault it goes on from what is stored, so that one change is one fault."""

    def __init__(self, signed: Sequence[Signed], faults: Faults) -> None:
        self.tree = CompactRange()
        self.chain = CHAIN_START
        self.count = 0
        self.covered = 0
        self._due: dict[int, list[Signed]] = defaultdict(list)
        for each in signed:
            self._due[each.checkpoint.size].append(each)
        self._faults = faults
        self._comparable = True  # false once the past is known to be another: all later roots are others too
        self._compare()

    def event(self, seq: int, tenant: object, at: object, action: object, stored: object, content: object) -> None:
        """Take the next row."""
        self.count += 1
        if seq != self.tree.size and not self._skipped_to(seq):
            return
        if not isinstance(content, bytes):
            content = b""
        try:
            told = columns(content)
            if told.seq != seq or told.tenant != tenant or told.at != at or told.action != action:
                self._faults.add(_difference(seq, told, tenant=tenant, at=at, action=action))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._faults.add(f"event {seq}: its body cannot be read: {error}")
        leaf = sha256(b"\x00" + content).digest()
        chain = sha256(b"\x02" + self.chain + leaf).digest()
        if chain != stored:
            self._faults.add(f"event {seq}: its hash does not follow from its body and the event before it")
            chain = stored if isinstance(stored, bytes) else bytes(32)
        self.chain = chain
        self.tree.push(leaf)
        if self.tree.size in self._due:
            self._compare()

    def finish(self) -> None:
        """Tell of checkpoints for events that are not there."""
        end, furthest = self.tree.size, max(self._due, default=0)
        if furthest > end:
            last = self._due[furthest][0]
            self._faults.add(
                f"events {end} to {furthest - 1} are missing at the end: {last.where} proves that there were {furthest}"
            )

    def _skipped_to(self, seq: object) -> bool:
        """Tell of the gap and go on behind it; false if the row belongs nowhere."""
        size = self.tree.size
        if not isinstance(seq, int) or seq < size:
            self._faults.add(f"event {seq}: the number is not one of this log, or is there twice")
            return False
        self._faults.add(f"event {size} is missing" if seq == size + 1 else f"events {size} to {seq - 1} are missing")
        self.tree = CompactRange(seq, bytes(32 * seq.bit_count()))
        self._comparable = False
        return True

    def _compare(self) -> None:
        """Compare the tree with the checkpoints of its present size."""
        size = self.tree.size
        for each in self._due.get(size, ()):
            if self._comparable and each.checkpoint.root == self.tree.root():
                self.covered = size
            elif self._comparable:
                self._comparable = False
                self._faults.add(
                    f"{each.where} is signed for {size} events with another root: "
                    f"one of the events {self.covered} to {size - 1} was changed afterwards"
                )


def _check_derived(connection: Connection, walker: _Walker, faults: Faults, *, clean: bool) -> None:
    """Compare what is kept beside the events: the head row and the nodes that proofs are made from.

    Where events are faulty, only the head's size is compared: the rest differs for the same reason.
    """
    tree = walker.tree
    try:
        heads = [tuple(row) for row in _rows(connection, _HEAD)]
        stored = {(row[0], row[1]): row[2] for row in _rows(connection, _NODES)}
    except NotTrustworthy as error:
        faults.add(f"the log's head or tree cannot be read: {error.detail}")
        return
    if len(heads) != 1:
        faults.add(f"the log has {len(heads)} head rows where there must be one")
    elif heads[0][1] != tree.size:
        faults.add(f"the head row counts {heads[0][1]} events, and the last event there is {tree.size - 1}")
    elif clean and heads[0] != (1, tree.size, walker.chain, tree.packed()):
        faults.add("the head row's hashes are not those of the events")
    if clean:
        made = {(node.level, node.place): node.hash for node in tree.completed}
        wrong = [key for key in made.keys() | stored.keys() if made.get(key) != stored.get(key)]
        for level, place in sorted(wrong, key=repr):  # a damaged key may be of any type
            faults.add(f"node {place} of level {level} of the stored tree is not the one that the events make")


def _difference(seq: int, told: Columns, **stored: object) -> str:
    if told.seq != seq:
        return f"event {seq}: its body is that of event {told.seq}"
    name = next(name for name, value in stored.items() if getattr(told, name) != value)
    return f"event {seq}: the column {name} says something else than the body"


def _rows(connection: Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Raises NotTrustworthy if the database finds the rows damaged; a lost server is no damage and stays an error."""
    embedded, driver = connection.dialect.name == "sqlite", connection.dialect.loaded_dbapi
    link: Any = connection.connection.driver_connection  # no driver's own connection has a common type
    # PostgreSQL would send the whole log at once to any but a named cursor.
    with closing(link.cursor() if embedded else link.cursor(name="stanchion_audit")) as cursor:
        try:
            cursor.execute(query)
            while rows := cursor.fetchmany(2000):
                yield from rows
        except driver.Error as error:
            if not embedded and isinstance(error, driver.OperationalError):
                raise
            raise NotTrustworthy(str(error)) from error
