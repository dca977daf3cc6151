"""Items in SQL: one set of statements for SQLite and PostgreSQL, each bound to one tenant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql.dml import ReturningInsert

from ...core.clock import micros, moment
from ...core.context import Context, system_context
from ...core.storage import Database
from ..contract import DatasetVersion, Reviewer
from ..ports import Facts, News, Notice, Records, Row, State, Store, Wanted
from .tables import UNKNOWN, copies, counters, datasets, holders, items, notices, reviewers, texts

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_state = msgspec.json.Decoder(State).decode
_facts = msgspec.json.Decoder(Facts).decode
_reviewer = msgspec.json.Decoder(Reviewer).decode
_FREED = delete(holders).where(holders.c.tenant == bindparam("of"), holders.c.item == bindparam("it"))
_TOLD = delete(notices).where(notices.c.tenant == bindparam("of"), notices.c.text.like(bindparam("it")))
_HELD, _TEXT, _COPIED = insert(holders), insert(texts), insert(copies)
_PLAIN = ("id", "number", "queue", "status", "priority", "level", "version", "author", "assignee", "golden", "finished")
_TIMES = ("opened_at", "warn_at", "due_at", "expires_at")


class Herald(Protocol):
    """Publishes events in the caller's transaction."""

    def tell(self, connection: Connection, ctx: Context, news: Sequence[News]) -> None:
        """Stage the events: they come to be with the commit, or not at all."""
        ...


class SqlStore(Store):
    """Transactions over the tables of review, which must have been prepared."""

    def __init__(self, database: Database, herald: Herald) -> None:
        self._database = database
        self._herald = herald

    async def read(self, tenant: str, work: Callable[[Records], T]) -> T:
        ctx = system_context(tenant, task="review-read")
        return await self._database.read(lambda connection: work(SqlRecords(connection, ctx, self._herald)))

    async def write(self, ctx: Context, work: Callable[[Records], T]) -> T:
        def locked(connection: Connection) -> T:
            records = SqlRecords(connection, ctx, self._herald)
            records.number("turn")
            return work(records)

        return await self._database.write(ctx, locked)

    async def waiting(self, at: datetime, limit: int) -> Sequence[str]:
        due = [
            select(table.c.tenant).where(table.c.next_at <= micros(at)).order_by(table.c.next_at).limit(limit)
            for table in (items, notices)
        ]
        query = union(*(select(each.subquery().c.tenant) for each in due))
        return await self._database.read(lambda connection: sorted(connection.execute(query).scalars()))

    async def tenants(self, queue: str) -> Sequence[str]:
        query = select(items.c.tenant).where(items.c.queue == queue).distinct().order_by(items.c.tenant)
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))


class SqlRecords(Records):
    """One tenant's rows over one connection."""

    def __init__(self, connection: Connection, ctx: Context, herald: Herald) -> None:
        self._connection = connection
        self._ctx = ctx
        self._tenant = ctx.tenant
        self._herald = herald

    def find(self, item: str) -> Row | None:
        return next(iter(self._rows(items.c.id == item, limit=1)), None)

    def keyed(self, queue: str, key: str) -> Row | None:
        return next(iter(self._rows(items.c.queue == queue, items.c.key == key, limit=1)), None)

    def page(self, wanted: Wanted, limit: int) -> Sequence[Row]:
        conditions: list[ColumnElement[bool]] = []
        if wanted.queue:
            conditions.append(items.c.queue == wanted.queue)
        if wanted.statuses:
            conditions.append(items.c.status.in_(wanted.statuses))
        if wanted.person:
            held = select(holders.c.item).where(holders.c.tenant == self._tenant, holders.c.holder == wanted.person)
            conditions.append(or_(items.c.assignee == wanted.person, items.c.id.in_(held)))
        if wanted.after:
            conditions.append(self._after(wanted.after))
        return self._rows(*conditions, limit=limit)

    def due(self, at: datetime, limit: int) -> Sequence[Row]:
        return self._rows(items.c.next_at <= micros(at), order=(items.c.next_at,), limit=limit)

    def recent(self, queue: str, since: datetime | None, limit: int, *, statuses: Sequence[str] = ()) -> Sequence[Row]:
        conditions = [items.c.queue == queue]
        if since is not None:
            conditions.append(items.c.opened_at >= micros(since))
        if statuses:
            conditions.append(items.c.status.in_(statuses))
        return self._rows(*conditions, order=(items.c.number.desc(),), limit=limit)

    def finished(self, queue: str, upto: int, after: int, limit: int) -> Sequence[Row]:
        wanted = and_(items.c.queue == queue, items.c.finished > after, items.c.finished <= upto)
        return self._rows(wanted, order=(items.c.finished,), limit=limit)

    def ended(self, queue: str, opened_before: datetime, after: int, limit: int) -> Sequence[Row]:
        old = items.c.opened_at < micros(opened_before)
        over = items.c.status.in_(("decided", "expired"))
        wanted = and_(items.c.queue == queue, items.c.number > after, old, over)
        return self._rows(wanted, order=(items.c.number,), limit=limit)

    def hold(self, holder: str, wanted: Sequence[str]) -> None:
        noted = and_(copies.c.tenant == self._tenant, copies.c.holder == holder)
        self._connection.execute(delete(copies).where(noted))
        if rows := [{"tenant": self._tenant, "item": item, "holder": holder} for item in wanted]:
            self._connection.execute(_COPIED, rows)

    def holders(self, wanted: Sequence[str]) -> Sequence[Row]:
        holding = self._holding(copies.c.item.in_(wanted), copies.c.holder.not_in(wanted))
        return self._rows(holding, order=(items.c.number,), limit=None)

    def unnoted(self, queue: str, limit: int) -> Sequence[Row]:
        return self._rows(self._holding(copies.c.item == UNKNOWN), items.c.queue == queue, limit=limit)

    def remove(self, wanted: Sequence[str]) -> None:
        owned = (texts.c.item, holders.c.item, copies.c.item, copies.c.holder, items.c.id)
        for table, column in ((each.table, each) for each in owned):
            self._connection.execute(delete(table).where(table.c.tenant == self._tenant, column.in_(wanted)))
        for item in wanted:
            # Their subjects hold titles; ids are of letters that no pattern gives a meaning to.
            self._connection.execute(_TOLD, {"of": self._tenant, "it": f"%{item}%"})

    def drop_texts(self, wanted: Sequence[str]) -> None:
        self._connection.execute(delete(texts).where(texts.c.tenant == self._tenant, texts.c.id.in_(wanted)))

    def counts(self, queue: str) -> Mapping[str, int]:
        undecided = items.c.status.in_(("open", "claimed", "waiting", "deferred"))
        query = (
            select(
                items.c.status,
                func.count(),
                func.sum(case((and_(undecided, items.c.warned.is_(True)), 1), else_=0)),
                func.sum(case((and_(undecided, items.c.level > 0), 1), else_=0)),
            )
            .where(items.c.tenant == self._tenant, items.c.queue == queue)
            .group_by(items.c.status)
        )
        found = {"warned": 0, "raised": 0}
        for status, number, warned, raised in self._connection.execute(query):
            found[status] = number
            found["warned"] += int(warned)
            found["raised"] += int(raised)
        return found

    def oldest(self, queue: str) -> datetime | None:
        undecided = items.c.status.in_(("open", "claimed", "waiting", "deferred"))
        query = select(func.min(items.c.opened_at)).where(
            items.c.tenant == self._tenant, items.c.queue == queue, undecided
        )
        found = self._connection.execute(query).scalar()
        return None if found is None else moment(found)

    def held(self, people: Sequence[str], at: datetime) -> Mapping[str, int]:
        query = (
            select(holders.c.holder, func.count())
            .where(holders.c.tenant == self._tenant, holders.c.holder.in_(people), holders.c.until > micros(at))
            .group_by(holders.c.holder)
        )
        return {row[0]: row[1] for row in self._connection.execute(query)}

    def save(self, row: Row, next_at: datetime | None) -> None:
        values: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
        values |= {name: micros(getattr(row, name)) for name in _TIMES}
        values |= {
            "tenant": self._tenant,
            # Items without a key are no duplicates of each other: SQL counts no NULL as equal to another.
            "key": row.key or None,
            "warned": row.state.warned,
            "next_at": None if next_at is None else micros(next_at),
            "facts": _encode(row.facts),
            "state": _encode(row.state),
        }
        self._connection.execute(_upsert(self._connection.dialect.name, items), values)
        self._connection.execute(_FREED, {"of": self._tenant, "it": row.id})
        if row.state.leases:
            held = [
                {"tenant": self._tenant, "item": row.id, "holder": lease.holder, "until": micros(lease.until)}
                for lease in row.state.leases
            ]
            self._connection.execute(_HELD, held)

    def number(self, counter: str) -> int:
        row = {"tenant": self._tenant, "counter": counter, "last": 1}
        return int(self._connection.execute(_raised(self._connection.dialect.name), row).scalar_one())

    def last(self, counter: str) -> int:
        query = select(counters.c.last).where(counters.c.tenant == self._tenant, counters.c.counter == counter)
        return int(self._connection.execute(query).scalar() or 0)

    def put_text(self, text: str, item: str, sealed: bytes) -> None:
        row = {"tenant": self._tenant, "id": text, "item": item, "body": sealed}
        self._connection.execute(_TEXT, row)

    def texts(self, wanted: Sequence[str]) -> Mapping[str, bytes]:
        query = select(texts.c.id, texts.c.body).where(texts.c.tenant == self._tenant, texts.c.id.in_(wanted))
        return {row.id: row.body for row in self._connection.execute(query)}

    def reviewers(self) -> Sequence[Reviewer]:
        query = select(reviewers.c.entry).where(reviewers.c.tenant == self._tenant).order_by(reviewers.c.principal)
        return [_reviewer(entry) for entry in self._connection.execute(query).scalars()]

    def put_reviewer(self, reviewer: Reviewer) -> None:
        row = {"tenant": self._tenant, "principal": reviewer.principal, "entry": _encode(reviewer)}
        self._connection.execute(_upsert(self._connection.dialect.name, reviewers), row)

    def datasets(self, queue: str, limit: int) -> Sequence[tuple[DatasetVersion, int]]:
        query = (
            select(datasets)
            .where(datasets.c.tenant == self._tenant, datasets.c.queue == queue)
            .order_by(datasets.c.version.desc())
            .limit(limit)
        )
        return [
            (DatasetVersion(row.queue, row.version, row.rows, row.sha256, moment(row.at), row.by), row.upto)
            for row in self._connection.execute(query)
        ]

    def add_dataset(self, version: DatasetVersion, upto: int) -> None:
        row = {
            "tenant": self._tenant,
            "queue": version.queue,
            "version": version.version,
            "rows": version.rows,
            "upto": upto,
            "sha256": version.sha256,
            "at": micros(version.at),
            "by": version.by,
        }
        self._connection.execute(insert(datasets).values(row))

    def tell(self, news: Sequence[News]) -> None:
        if news:
            self._herald.tell(self._connection, self._ctx, news)

    def notify(self, wanted: Sequence[Notice]) -> None:
        rows = [
            {
                "tenant": self._tenant,
                "id": notice.id,
                "to": notice.to,
                "subject": notice.subject,
                "text": notice.text,
                "at": micros(notice.at),
                "attempts": 0,
                "next_at": micros(notice.at),
            }
            for notice in wanted
        ]
        if rows:
            self._connection.execute(insert(notices), rows)

    def notices(self, at: datetime, limit: int) -> Sequence[Notice]:
        query = (
            select(notices)
            .where(notices.c.tenant == self._tenant, notices.c.next_at <= micros(at))
            .order_by(notices.c.next_at, notices.c.id)
            .limit(limit)
        )
        return [
            Notice(row.id, row.to, row.subject, row.text, moment(row.at), row.attempts)
            for row in self._connection.execute(query)
        ]

    def sent(self, notice: str, again_at: datetime | None, attempts: int) -> None:
        this = and_(notices.c.tenant == self._tenant, notices.c.id == notice)
        values = {"next_at": None if again_at is None else micros(again_at), "attempts": attempts}
        self._connection.execute(update(notices).where(this).values(values))

    def _after(self, item: str) -> ColumnElement[bool]:
        query = select(items.c.priority, items.c.number).where(items.c.tenant == self._tenant, items.c.id == item)
        last = self._connection.execute(query).first()
        if last is None:
            return items.c.number < 0
        same = and_(items.c.priority == last.priority, items.c.number > last.number)
        return or_(items.c.priority > last.priority, same)

    def _holding(self, *noted: ColumnElement[bool]) -> ColumnElement[bool]:
        return items.c.id.in_(select(copies.c.holder).where(copies.c.tenant == self._tenant, *noted))

    def _rows(
        self,
        *conditions: ColumnElement[bool],
        limit: int | None,
        order: Sequence[ColumnElement[Any]] = (items.c.priority, items.c.number),
    ) -> list[Row]:
        query = select(items).where(items.c.tenant == self._tenant, *conditions).order_by(*order).limit(limit)
        return [_row(each) for each in self._connection.execute(query).mappings()]


@cache
def _upsert(dialect: str, table: Table) -> Insert:
    """Inserts a row or overwrites the one with its key. Built once: making a statement costs more than running it."""
    statement = _insert(dialect, table)
    rest = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    keys = [column.name for column in table.primary_key]
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


@cache
def _raised(dialect: str) -> ReturningInsert[Any]:
    statement = _insert(dialect, counters)
    raised = {"last": counters.c.last + 1}
    return statement.on_conflict_do_update(index_elements=["tenant", "counter"], set_=raised).returning(counters.c.last)


def _insert(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _row(found: RowMapping) -> Row:
    return Row(
        **{name: found[name] for name in _PLAIN},
        opened_at=moment(found["opened_at"]),
        warn_at=moment(found["warn_at"]),
        due_at=moment(found["due_at"]),
        expires_at=moment(found["expires_at"]),
        key=found["key"] or "",
        facts=_facts(found["facts"]),
        state=_state(found["state"]),
    )
