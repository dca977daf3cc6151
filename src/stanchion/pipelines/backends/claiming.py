"""Who runs what: claims within the queues' limits, heartbeats, and what a dead process leaves behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, insert, or_, select, text, tuple_, update

from ..contract import RunFault
from ..ports import Beat, Bound, Claimed, Executor, News, RunRow, Tale
from .rows import executor_of, journal, run_of, the_run
from .rows import text as json
from .tables import executors, runs, steps

_LOCK = 7_823_914_031
"""An advisory lock of PostgreSQL that no other part takes: limits are counted by one claim at a time."""


def _due(executor: Executor, now: int) -> Select[Any]:
    queues = () if "*" in executor.queues else (runs.c.queue.in_(executor.queues),)
    return select(runs).where(
        runs.c.status.in_(("queued", "waiting")),
        runs.c.due <= now,
        tuple_(runs.c.pipeline, runs.c.version).in_(list(executor.code)),
        *queues,
    )


def waiting(connection: Connection, executor: Executor, now: int) -> bool:
    """Whether anything could be claimed."""
    if not executor.code:
        return False
    return connection.execute(_due(executor, now).with_only_columns(runs.c.id).limit(1)).first() is not None


def claim(
    connection: Connection, executor: Executor, bounds: Mapping[str, Bound], limit: int, now: int
) -> list[Claimed]:
    """Take what is due, oldest first within a priority."""
    if not executor.code:
        return []
    if bounds and connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    rooms = {queue: _room(connection, queue, bound, now) for queue, bound in bounds.items()}
    busy = [queue for queue, room in rooms.items() if room.running <= 0]
    full = [queue for queue, room in rooms.items() if room.starting <= 0]
    # A rate is of beginnings: a parked run that wakes has begun already.
    open_ = and_(runs.c.queue.not_in(busy), or_(runs.c.queue.not_in(full), runs.c.started.is_not(None)))
    query = _due(executor, now).where(open_).order_by(runs.c.priority, runs.c.created, runs.c.id).limit(limit)
    taken = [
        replace(row, status="running", executor=executor.id, epoch=row.epoch + 1, started=row.started or now)
        for row in map(run_of, connection.execute(query.with_for_update(skip_locked=True)).mappings().all())
        if row.queue not in rooms or rooms[row.queue].admits(row)
    ]
    _store(connection, taken)
    by_tenant: dict[str, list[str]] = {}
    for row in taken:
        by_tenant.setdefault(row.tenant, []).append(row.id)
    journals = {tenant: journal(connection, tenant, ids) for tenant, ids in by_tenant.items()}
    return [Claimed(row, journals[row.tenant].get(row.id, ())) for row in taken]


@dataclass(slots=True)
class _Room:
    """How many runs of a queue may be taken at this moment, and how many of them may be new."""

    running: int
    starting: int

    def admits(self, row: RunRow) -> bool:
        """Whether this one may, and then one less."""
        new = row.started is None
        if self.running <= 0 or (new and self.starting <= 0):
            return False
        self.running -= 1
        self.starting -= new
        return True


def _room(connection: Connection, queue: str, bound: Bound, now: int) -> _Room:
    room = _Room(1 << 30, 1 << 30)
    if bound.concurrency is not None:
        busy = select(func.count()).where(runs.c.queue == queue, runs.c.status == "running")
        room.running = bound.concurrency - connection.execute(busy).scalar_one()
    if bound.rate is not None:
        since = now - int(bound.seconds * 1_000_000)
        begun = select(func.count()).where(runs.c.queue == queue, runs.c.started > since)
        room.starting = bound.rate - connection.execute(begun).scalar_one()
    return room


_MOVED = ("status", "executor", "epoch", "started", "due", "recoveries", "stalls", "marked")
_MOVE = (
    update(runs)
    .where(runs.c.tenant == bindparam("of_tenant"), runs.c.id == bindparam("of_run"))
    .values({name: bindparam(f"new_{name}") for name in _MOVED})
)


def _store(connection: Connection, moved: Sequence[RunRow]) -> None:
    """Write runs that were handed over: one statement for all, as a dead process may leave thousands."""
    if moved:
        own = [{"of_tenant": row.tenant, "of_run": row.id} for row in moved]
        new = [{f"new_{name}": getattr(row, name) for name in _MOVED} for row in moved]
        connection.execute(_MOVE, [mine | values for mine, values in zip(own, new, strict=True)])


def register(connection: Connection, executor: Executor) -> None:
    """Make a process known."""
    connection.execute(
        insert(executors).values(
            id=executor.id, beat=executor.beat, queues=json(list(executor.queues)), code=json(list(executor.code))
        )
    )


def beat(connection: Connection, executor: str) -> Beat:
    """Raise the counter of a process that is still known."""
    raised = connection.execute(update(executors).where(executors.c.id == executor).values(beat=executors.c.beat + 1))
    if raised.rowcount == 0:
        return Beat(alive=False)
    marked = select(runs.c.id).where(runs.c.executor == executor, runs.c.status == "running", runs.c.cancelling)
    return Beat(alive=True, cancelling=frozenset(connection.execute(marked).scalars()))


def known(connection: Connection) -> list[Executor]:
    """Every process that has not been buried."""
    return [executor_of(row) for row in connection.execute(select(executors)).mappings()]


def bury(connection: Connection, executor: str, now: int, stalls: int, news: News | None) -> int:
    """Make the runs of a dead process due for others. Its epoch is over: what it still brings is refused."""
    connection.execute(delete(executors).where(executors.c.id == executor))
    mine = and_(runs.c.executor == executor, runs.c.status == "running")
    found = [run_of(row) for row in connection.execute(select(runs).where(mine).with_for_update()).mappings()]
    if not found:
        return 0
    done = _finished(connection, found)
    stuck = [row for row in found if row.stalls >= stalls and done[row.tenant, row.id] <= row.marked]
    for row in stuck:
        error = RunFault("interrupted", f"its process ended {row.stalls + 1} times without finishing a step")
        values = {"status": "failed", "ended": now, "error": json(error), "executor": None, "epoch": row.epoch + 1}
        connection.execute(update(runs).where(the_run(row.tenant, row.id)).values(values))
        if news is not None:
            news.tell(connection, [Tale("run.ended", row, {"status": "failed", "error": error.code})])
    kept = {(row.tenant, row.id) for row in stuck}
    going_on = [row for row in found if (row.tenant, row.id) not in kept]
    _store(connection, [_freed(row, done[row.tenant, row.id], now) for row in going_on])
    return len(found)


def _freed(row: RunRow, finished: int, now: int) -> RunRow:
    """A run that is due for others."""
    return replace(
        row, status="queued", due=now, executor=None, epoch=row.epoch + 1, recoveries=row.recoveries + 1,
        stalls=0 if finished > row.marked else row.stalls + 1, marked=finished,
    )  # fmt: skip


def _finished(connection: Connection, found: Sequence[RunRow]) -> Counter[tuple[str, str]]:
    """How many steps each of the runs has in its journal."""
    counted: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(found), 500):
        part = [(row.tenant, row.id) for row in found[start : start + 500]]
        query = (
            select(steps.c.tenant, steps.c.run, func.count())
            .where(tuple_(steps.c.tenant, steps.c.run).in_(part))
            .group_by(steps.c.tenant, steps.c.run)
        )
        for tenant, run, number in connection.execute(query):
            counted[tenant, run] = number
    return counted


def release(connection: Connection, tenant: str, run: str, epoch: int) -> None:
    """Make a held run due again at once."""
    connection.execute(
        update(runs)
        .where(the_run(tenant, run), runs.c.epoch == epoch, runs.c.status == "running")
        .values(status="queued", executor=None)
    )


def gone(connection: Connection, executor: str) -> None:
    """Forget a process that ends in order and holds nothing."""
    connection.execute(delete(executors).where(executors.c.id == executor))
