"""Appends events in the transaction of the change they tell of, and signs for them once it is committed.

Fail-closed. An event that cannot be written rolls its change back. A checkpoint that a sink does not take
comes too late for that, as the commit stands: the log is then `degraded` and refuses further events, and with
them their effects, until the sink has taken the checkpoint owed. So at most one commit is ever without evidence.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert

from ...clock import Clock, micros
from ...context import Effect
from ...errors import Misconfigured, NotTrustworthy, Unavailable
from ...storage.contract import Journal
from .body import encode, make
from .checkpoint import Checkpoint, Note, Verifier, checked_origin, sign
from .merkle import chain_hash, leaf_hash
from .ports import CheckpointSink, NoteSigner
from .tables import NODES, Head, chain_at, read_head

# On the driver's own cursor: past SQLAlchemy, which costs several times as much as the hashing.
_INSERT = "INSERT INTO audit_events (seq, tenant, at, action, hash, body) VALUES (?, ?, ?, ?, ?, ?)"
_HEAD = "UPDATE audit_head SET size = ?, chain = ?, peaks = ?"


@dataclass(slots=True)
class Told(Effect):
    """An effect that is recorded with another outcome than `done`."""

    outcome: str = "done"


class AuditJournal(Journal):
    """The writing half of the audit log. Give it to `open_database`, then build the AuditLog over both.

    It takes no event before `AuditLog.heal` has compared the database with the sinks. `origin` is the log's name,
    one for each database; `trusted` are public keys that signed for this log before the signer's own.
    """

    def __init__(
        self,
        signer: NoteSigner,
        sinks: Sequence[CheckpointSink],
        clock: Clock,
        *,
        origin: str = "stanchion-audit",
        trusted: Sequence[bytes] = (),
    ) -> None:
        if not sinks:
            raise Misconfigured("an audit log without a checkpoint sink could be rewritten unseen")
        self.sinks = tuple(sinks)
        self.origin = checked_origin(origin)
        self.verifier = Verifier(origin, [*trusted, signer.public])
        self._signer = signer
        self._clock = clock
        self._lock = threading.Lock()
        self._written: Head | None = None  # by the transaction that is under way
        self._settled: Head | None = None  # committed, and known to this process: nobody may rewrite it unseen
        self._note: Note | None = None
        self._fault = "the audit log has not been compared with its checkpoints yet"

    @property
    def degraded(self) -> str:
        """Why no event is taken at present; empty while all is well."""
        return self._fault

    @property
    def newest(self) -> Note | None:
        """The newest checkpoint that this process made."""
        return self._note

    def record(self, connection: Connection, effects: Sequence[Effect]) -> None:
        """Append one event for each effect; outcome `done`, or what a Told says."""
        self._admit()
        head = self._own_past(connection, read_head(connection, lock=True))
        tree, chain, at = head.tree(), head.chain, micros(self._clock.now())
        rows = []
        for effect in effects:
            told = make(effect, effect.outcome if isinstance(effect, Told) else "done", seq=tree.size, at=at)
            content = encode(told)
            leaf = leaf_hash(content)
            chain = chain_hash(chain, leaf)
            tree.push(leaf)
            rows.append((told.seq, told.tenant, at, told.action, chain, content))
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        cursor = connection.connection.cursor()
        cursor.executemany(_INSERT.replace("?", mark), rows)
        if tree.completed:
            connection.execute(insert(NODES), [node._asdict() for node in tree.completed])
        grown = Head(tree.size, chain, tree.packed())
        cursor.execute(_HEAD.replace("?", mark), (grown.size, grown.chain, grown.peaks))
        self._written = grown

    def committed(self) -> None:
        """Sign for the state just committed. Never raises: what a sink refuses is owed, and blocks the next record."""
        if self._written is not None:
            self.settle(self._written)

    def settle(self, head: Head) -> None:
        """Take the head for committed and verified, sign it, and give it to every sink."""
        with self._lock:
            self._settled = head
            self._note = sign(Checkpoint(self.origin, head.size, head.tree().root()), self._signer)
            self._offer(self._note.text)

    def _admit(self) -> None:
        if self._fault:
            with self._lock:
                if self._note is not None:
                    self._offer(self._note.text)
            if self._fault:
                raise Unavailable(f"no effect is possible without an audit event: {self._fault}")

    def _offer(self, note: str) -> None:
        faults = []
        for sink in self.sinks:
            try:
                sink.append(note)
            except Exception as error:  # whatever it is, the evidence is not where it must be
                faults.append(f"{sink.name} does not take checkpoints: {error}")
        self._fault = "; ".join(faults)

    def _own_past(self, connection: Connection, head: Head | None) -> Head:
        """The head; refuses a log whose past is not the one this process has seen.

        Otherwise whoever rewrote the database would get a valid checkpoint over it with the next effect. Events
        past the last seen one are another process's; the chain hash at that point binds all before.
        """
        seen = self._settled
        if head is None or seen is None or head.size < seen.size:
            raise NotTrustworthy("the audit log lost events that this process has seen")
        if head.size == seen.size:
            same = head == seen
        else:
            same = seen.size == 0 or chain_at(connection, seen.size) == seen.chain
        if not same:
            raise NotTrustworthy(f"the audit log's first {seen.size} events are not those that this process has seen")
        return head
