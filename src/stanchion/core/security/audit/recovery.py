"""The start of a log: what a kill left unsigned is signed for, but only if it goes on from what was signed before.

This is not the full verification. The tree at the newest checkpoint is built from the stored nodes, so an old body that
was edited is found by `verify`, not here. It cannot become signed either: the root that goes on is the old one's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select, text

from ...errors import NotTrustworthy
from .checkpoint import Checkpoint, Note, Verifier, parsed
from .merkle import CHAIN_START, CompactRange, chain_hash, leaf_hash, range_at
from .tables import EVENTS, Head, StoredTree, chain_at, event_count, read_head


def newest_note(notes: Mapping[str, Sequence[str]], verifier: Verifier) -> Note | None:
    """The note for the most events among the sinks; None if they hold none.

    Raises NotTrustworthy if any note is unreadable, or if one of the newest is forged.
    """
    best: list[Note] = []
    for sink, lines in notes.items():
        for number, line in enumerate(lines, start=1):
            try:
                checkpoint = parsed(line)
            except NotTrustworthy as error:
                raise NotTrustworthy(f"{sink}, checkpoint {number} {error.detail}") from error
            if best and checkpoint.size > best[0].checkpoint.size:
                best.clear()
            if not best or checkpoint.size == best[0].checkpoint.size:
                best.append(Note(checkpoint, line))
    for note in {note.text: note for note in best}.values():
        try:
            verifier.opened(note.text)
        except NotTrustworthy as error:
            raise NotTrustworthy(f"the newest checkpoint {error.detail}") from error
    if len({note.checkpoint.root for note in best}) > 1:
        raise NotTrustworthy(f"two signed checkpoints for {best[0].checkpoint.size} events have different roots")
    return best[0] if best else None


def begin(connection: Connection) -> Head:
    """The head row, made if this is a new log. Raises NotTrustworthy if it was removed from an old one."""
    if read_head(connection) is None and event_count(connection):
        raise NotTrustworthy("the audit log holds events, and its head row is gone")
    # Two processes may begin the same log at once.
    connection.execute(
        text("INSERT INTO audit_head (id, size, chain, peaks) VALUES (1, 0, :chain, :peaks) ON CONFLICT DO NOTHING"),
        {"chain": CHAIN_START, "peaks": b""},
    )
    head = read_head(connection)
    if head is None:
        raise NotTrustworthy("the audit log's head row cannot be made")
    return head


def continued(connection: Connection, signed: Checkpoint | None) -> Head:
    """The head, if it goes on from the signed checkpoint (from the very beginning if None).

    Raises NotTrustworthy if events are missing, or differ from what was signed, or do not lead to the head row.
    """
    try:
        return _continued(connection, signed)
    except TypeError as error:  # a value of another type than the column's, which SQLite admits
        raise NotTrustworthy("a row of the audit log is damaged") from error


def _continued(connection: Connection, signed: Checkpoint | None) -> Head:
    size, tree = 0, CompactRange()
    head = read_head(connection)
    if signed is not None:
        size = signed.size
        if head is None or head.size < size:
            there = 0 if head is None else head.size
            raise NotTrustworthy(f"the audit log holds {there} events, and a checkpoint is signed for {size}")
        tree = range_at(size, StoredTree(connection))
        if tree.root() != signed.root:
            raise NotTrustworthy(f"the audit log's first {size} events are not those that were signed for")
    chain = chain_at(connection, size) if size else CHAIN_START
    rows = connection.execute(
        select(EVENTS.c.seq, EVENTS.c.hash, EVENTS.c.body)
        .where(EVENTS.c.seq >= size)
        .order_by(EVENTS.c.seq)
        .execution_options(yield_per=2000)
    )
    for seq, stored, body in rows:
        leaf = leaf_hash(body)
        chain = chain_hash(chain or b"", leaf)
        if seq != tree.size or chain != stored:
            raise NotTrustworthy(f"event {seq} of the audit log does not follow from the event before it")
        tree.push(leaf)
    if head is None or head != Head(tree.size, chain or b"", tree.packed()):
        raise NotTrustworthy("the audit log's events do not lead to its head row")
    return head
