"""The audit log's tables, and the tree as they hold it.

The one table of the house whose key does not begin with the tenant: all tenants share one chain, so that
nobody can remove a tenant's events unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    select,
)

from ...errors import NotTrustworthy
from ...storage.schema import Schema
from .merkle import STORED_LEVEL, CompactRange, leaf_hash

metadata = MetaData()

# On SQLite only a column of exactly the type INTEGER is the row's own address; BIGINT would cost a second tree.
_Seq = BigInteger().with_variant(Integer, "sqlite")

EVENTS = Table(
    "audit_events",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=False),
    Column("tenant", String(200), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("action", String(200), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # One index for a tenant's events with and without an action: a second one would halve the rate of appending.
    Index("audit_events_tenant", "tenant", "seq", "action"),
)
HEAD = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("peaks", LargeBinary, nullable=False),
)
NODES = Table(
    "audit_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("place", _Seq, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
AUDIT_SCHEMA = Schema("audit", metadata)
_READ = "SELECT size, chain, peaks FROM audit_head WHERE id = 1"


@dataclass(frozen=True, slots=True)
class Head:
    """How far the log has come: number of events, hash of the last one, roots of the complete subtrees."""

    size: int
    chain: bytes
    peaks: bytes

    def tree(self) -> CompactRange:
        """The tree, to read or to grow. Raises NotTrustworthy if the row is damaged."""
        try:
            return CompactRange(self.size, self.peaks)
        except ValueError as error:
            raise NotTrustworthy("the audit log's head row is damaged") from error


def read_head(connection: Connection, *, lock: bool = False) -> Head | None:
    """The head row, locked until the transaction ends if it will be replaced; None if there is none."""
    # SQLite has no row locks and needs none: its one writer holds the whole file.
    text = _READ + " FOR UPDATE" if lock and connection.dialect.name == "postgresql" else _READ
    cursor = connection.connection.cursor()
    cursor.execute(text)
    row = cursor.fetchone()
    return None if row is None else Head(*row)


def event_count(connection: Connection) -> int:
    """How many events the table holds."""
    return connection.execute(select(func.count()).select_from(EVENTS)).scalar_one()


def chain_at(connection: Connection, size: int) -> bytes | None:
    """The chain hash of the first `size` events, as their last one's row tells it."""
    return connection.execute(select(EVENTS.c.hash).where(EVENTS.c.seq == size - 1)).scalar_one_or_none()


class StoredTree:
    """Subtree hashes as the tables hold them: from level 8 up as rows, below that from a block of 256 bodies.

    So a proof in a log of any size reads at most two blocks and a row for each level. Nothing read here is
    trusted: whoever makes a proof verifies it against a signed root.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._blocks: dict[int, list[bytes]] = {}

    def __call__(self, level: int, place: int) -> bytes:
        """Raises NotTrustworthy if the rows for it are not there."""
        if level >= STORED_LEVEL:
            found: bytes | None = self._connection.execute(
                select(NODES.c.hash).where(NODES.c.level == level, NODES.c.place == place)
            ).scalar_one_or_none()
            if found is None:
                raise NotTrustworthy(f"the audit log's tree lacks its node {place} of level {level}")
            return found
        start, width = place << level, 1 << level
        leaves = self._block(start >> STORED_LEVEL)
        offset = start & (1 << STORED_LEVEL) - 1
        tree = CompactRange()
        for leaf in leaves[offset : offset + width]:
            tree.push(leaf)
        if tree.size != width:
            raise NotTrustworthy(f"the audit log lacks an event between {start} and {start + width - 1}")
        return tree.root()

    def _block(self, block: int) -> list[bytes]:
        if block not in self._blocks:
            first = block << STORED_LEVEL
            bodies = self._connection.execute(
                select(EVENTS.c.body)
                .where(EVENTS.c.seq >= first, EVENTS.c.seq < first + (1 << STORED_LEVEL))
                .order_by(EVENTS.c.seq)
            ).scalars()
            self._blocks[block] = [leaf_hash(body) for body in bodies]
        return self._blocks[block]
