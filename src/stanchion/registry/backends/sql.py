"""The registry's store in SQL: one set of statements for SQLite and PostgreSQL, each bound to one tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from ...core.context import Context, system_context
from ...core.storage import Database
from ..contract import Change, ModelSummary, Promotion, Stage
from ..ports import Content, Records, Store, Tenure, VersionRow
from .tables import aliases, changes, contents, cursors, models, promotions, tenures, versions

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SqlStore(Store):
    """Transactions over the registry's tables, which must have been prepared."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, tenant: str, work: Callable[[Records], T]) -> T:
        return await self._database.read(lambda connection: work(SqlRecords(connection, tenant)))

    async def write(self, ctx: Context, work: Callable[[Records], T]) -> T:
        def locked(connection: Connection) -> T:
            _take_turn(connection, ctx.tenant)
            return work(SqlRecords(connection, ctx.tenant))

        return await self._database.write(ctx, locked)

    async def claim_abandoned(self, before: datetime, at: datetime, *, limit: int) -> Sequence[Content]:
        old = and_(contents.c.state != "kept", contents.c.at < _micros(before))

        def work(connection: Connection) -> list[Content]:
            keys = (contents.c.tenant, contents.c.sha256)
            chosen = connection.execute(select(*keys).where(old).limit(limit)).all()
            claimed = []
            for tenant, sha256 in chosen:
                # The condition again: on PostgreSQL a registration may have come in between.
                mine = and_(contents.c.tenant == tenant, contents.c.sha256 == sha256, old)
                taken = connection.execute(update(contents).where(mine).values(state="sweeping", at=_micros(at)))
                if taken.rowcount:
                    claimed.append(Content(tenant, sha256))
            return claimed

        return await self._database.write(_housekeeping(), work)

    async def forget(self, gone: Sequence[Content]) -> None:
        these = tuple_(contents.c.tenant, contents.c.sha256).in_([tuple(content) for content in gone])
        statement = delete(contents).where(these, contents.c.state == "sweeping")
        await self._database.write(_housekeeping(), lambda connection: connection.execute(statement).rowcount)


class SqlRecords(Records):
    """One tenant's rows over one connection."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant

    def find(self, model: str, version: str) -> VersionRow | None:
        return self._first(self._of(versions, model), versions.c.version == version)

    def same_package(self, model: str, package_sha256: str) -> VersionRow | None:
        return self._first(self._of(versions, model), versions.c.package_sha256 == package_sha256)

    def newest(self, model: str, *, stages: Sequence[Stage] = ()) -> VersionRow | None:
        staged = [versions.c.stage.in_(stages)] if stages else []
        return self._first(self._of(versions, model), *staged)

    def aliased(self, model: str, alias: str) -> VersionRow | None:
        wanted = select(aliases.c.version).where(self._of(aliases, model), aliases.c.alias == alias)
        return self._first(self._of(versions, model), versions.c.version == wanted.scalar_subquery())

    def versions(self, model: str, limit: int) -> Sequence[VersionRow]:
        return self._rows([self._of(versions, model)], limit)

    def summaries(self, after: str, limit: int) -> Sequence[ModelSummary]:
        page = (
            select(models.c.model, models.c.updated_at)
            .where(models.c.tenant == self._tenant, models.c.model > after)
            .order_by(models.c.model)
            .limit(limit)
        )
        found = {row.model: row.updated_at for row in self._connection.execute(page)}
        counted = self._by_model(found, func.count())
        newest = self._numbered(found)
        usable = self._numbered(found, versions.c.stage != "archived")
        production = self._numbered(found, versions.c.stage == "production")
        return [
            ModelSummary(
                model=name,
                versions=counted[name],
                latest=usable.get(name, newest[name]),
                production=production.get(name),
                updated_at=_moment(updated_at),
            )
            for name, updated_at in found.items()
        ]

    def add(self, row: VersionRow) -> None:
        values = {column.name: getattr(row, column.name) for column in versions.c if column.name != "tenant"}
        self._connection.execute(insert(versions).values(tenant=self._tenant, **values))

    def set_stage(self, model: str, version: str, stage: Stage) -> None:
        this = and_(self._of(versions, model), versions.c.version == version)
        self._connection.execute(update(versions).where(this).values(stage=stage))

    def set_alias(self, model: str, alias: str, version: str | None) -> bool:
        this = and_(self._of(aliases, model), aliases.c.alias == alias)
        existed = self._connection.execute(delete(aliases).where(this)).rowcount > 0
        if version is not None:
            row = {"tenant": self._tenant, "model": model, "alias": alias, "version": version}
            self._connection.execute(insert(aliases).values(row))
        return existed

    def pending(self, model: str) -> Sequence[Promotion]:
        return self._promotions(None, self._of(promotions, model), promotions.c.status == "pending")

    def promotions(self, model: str, limit: int) -> Sequence[Promotion]:
        return self._promotions(limit, self._of(promotions, model))

    def save_promotion(self, promotion: Promotion) -> None:
        row = {
            "to": promotion.to,
            "evidence": promotion.evidence,
            "status": promotion.status,
            "decided_at": None if promotion.decided_at is None else _micros(promotion.decided_at),
            "decided_by": promotion.decided_by,
            "replaces": promotion.replaces,
        }
        this = and_(promotions.c.tenant == self._tenant, promotions.c.id == promotion.id)
        if self._connection.execute(update(promotions).where(this).values(row)).rowcount:
            return
        row |= {
            "tenant": self._tenant,
            "id": promotion.id,
            "number": self._next(promotions, promotion.model),
            "model": promotion.model,
            "version": promotion.version,
            "requested_at": _micros(promotion.requested_at),
            "requested_by": promotion.requested_by,
        }
        self._connection.execute(insert(promotions).values(row))

    def tenures(self, model: str) -> Sequence[Tenure]:
        same = and_(
            versions.c.tenant == tenures.c.tenant,
            versions.c.model == tenures.c.model,
            versions.c.version == tenures.c.version,
        )
        query = (
            select(tenures.c.number, tenures.c.version, versions.c.stage)
            .join(versions, same)
            .where(self._of(tenures, model), tenures.c.undone.is_(False))
            .order_by(tenures.c.number.desc())
        )
        return [Tenure(*row) for row in self._connection.execute(query)]

    def begin_tenure(self, model: str, version: str) -> None:
        row = {"tenant": self._tenant, "model": model, "version": version, "undone": False}
        self._connection.execute(insert(tenures).values(number=self._next(tenures, model), **row))

    def undo_tenures(self, model: str, *, above: int) -> None:
        later = and_(self._of(tenures, model), tenures.c.number > above)
        self._connection.execute(update(tenures).where(later).values(undone=True))

    def changed(self, change: Change, at: datetime) -> None:
        mine = cursors.c.tenant == self._tenant
        raised = update(cursors).where(mine).values(last=cursors.c.last + 1).returning(cursors.c.last)
        cursor = self._connection.execute(raised).scalar_one()
        row = {"model": change.model, "version": change.version, "kind": change.kind, "at": _micros(at)}
        self._connection.execute(insert(changes).values(tenant=self._tenant, cursor=cursor, **row))
        touched = {"tenant": self._tenant, "model": change.model, "updated_at": _micros(at)}
        _upsert(self._connection, models, touched, ("tenant", "model"))

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        query = (
            select(changes.c.cursor, changes.c.model, changes.c.version, changes.c.kind)
            .where(changes.c.tenant == self._tenant, changes.c.cursor > after)
            .order_by(changes.c.cursor)
            .limit(limit)
        )
        return [Change(*row) for row in self._connection.execute(query)]

    def last_cursor(self) -> int:
        query = select(cursors.c.last).where(cursors.c.tenant == self._tenant)
        return self._connection.execute(query).scalar_one_or_none() or 0

    def expect(self, digests: Sequence[str], at: datetime, *, held_since: datetime) -> bool:
        these = and_(contents.c.tenant == self._tenant, contents.c.sha256.in_(digests))
        swept = and_(these, contents.c.state == "sweeping", contents.c.at > _micros(held_since))
        if self._connection.execute(select(contents.c.sha256).where(swept)).first():
            return False
        free = and_(these, contents.c.state != "kept")
        self._connection.execute(update(contents).where(free).values(state="uploading", at=_micros(at)))
        known = set(self._connection.execute(select(contents.c.sha256).where(these)).scalars())
        rows = [self._content(sha256, at) for sha256 in digests if sha256 not in known]
        if rows:
            self._connection.execute(insert(contents), rows)
        return True

    def keep(self, digests: Sequence[str]) -> bool:
        wanted = set(digests)
        ours = and_(contents.c.tenant == self._tenant, contents.c.sha256.in_(wanted), contents.c.state != "sweeping")
        return self._connection.execute(update(contents).where(ours).values(state="kept")).rowcount == len(wanted)

    def _content(self, sha256: str, at: datetime) -> dict[str, object]:
        return {"tenant": self._tenant, "sha256": sha256, "state": "uploading", "at": _micros(at)}

    def _of(self, table: Table, model: str) -> ColumnElement[bool]:
        return and_(table.c.tenant == self._tenant, table.c.model == model)

    def _first(self, *conditions: ColumnElement[bool]) -> VersionRow | None:
        return next(iter(self._rows(conditions, 1)), None)

    def _rows(self, conditions: Iterable[ColumnElement[bool]], limit: int) -> Sequence[VersionRow]:
        columns = [column for column in versions.c if column.name != "tenant"]
        query = select(*columns).where(*conditions).order_by(versions.c.ordinal.desc()).limit(limit)
        rows = [VersionRow(**row) for row in self._connection.execute(query).mappings()]
        if not rows:
            return rows
        pointed = aliases.c.version.in_([row.version for row in rows])
        query = select(aliases.c.version, aliases.c.alias).where(self._of(aliases, rows[0].model), pointed)
        names: dict[str, list[str]] = {}
        for version, alias in self._connection.execute(query):
            names.setdefault(version, []).append(alias)
        return [replace(row, aliases=tuple(sorted(names.get(row.version, ())))) for row in rows]

    def _by_model(
        self, names: Iterable[str], value: ColumnElement[int], *conditions: ColumnElement[bool]
    ) -> dict[str, int]:
        these = and_(versions.c.tenant == self._tenant, versions.c.model.in_(list(names)), *conditions)
        query = select(versions.c.model, value.label("number")).where(these).group_by(versions.c.model)
        return {row.model: row.number for row in self._connection.execute(query)}

    def _numbered(self, names: Iterable[str], *conditions: ColumnElement[bool]) -> dict[str, str]:
        """The version with the highest ordinal of each model, among those that meet the conditions."""
        highest = self._by_model(names, func.max(versions.c.ordinal), *conditions)
        these = tuple_(versions.c.model, versions.c.ordinal).in_(list(highest.items()))
        query = select(versions.c.model, versions.c.version).where(versions.c.tenant == self._tenant, these)
        return {row.model: row.version for row in self._connection.execute(query)}

    def _promotions(self, limit: int | None, *conditions: ColumnElement[bool]) -> Sequence[Promotion]:
        query = select(promotions).where(*conditions).order_by(promotions.c.number.desc()).limit(limit)
        return [_promotion(row) for row in self._connection.execute(query)]

    def _next(self, table: Table, model: str) -> int:
        query = select(func.coalesce(func.max(table.c.number), 0)).where(self._of(table, model))
        return int(self._connection.execute(query).scalar_one()) + 1


def _take_turn(connection: Connection, tenant: str) -> None:
    """Lock the tenant's row until the transaction ends. SQLite has one writer anyway; there this makes the row."""
    _upsert(connection, cursors, {"tenant": tenant, "last": 0}, ("tenant",), keep=True)


def _upsert(
    connection: Connection, table: Table, row: Mapping[str, object], key: Sequence[str], *, keep: bool = False
) -> None:
    """Insert the row or overwrite the one with its key; `keep`: write back what stands there, for the lock's sake."""
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = build(table).values(row)
    rest = [column for column in row if column not in key]
    new: dict[str, Any] = {name: table.c[name] if keep else statement.excluded[name] for name in rest}
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=new))


def _promotion(row: Row[Any]) -> Promotion:
    return Promotion(
        id=row.id,
        model=row.model,
        version=row.version,
        to=row.to,
        evidence=row.evidence,
        status=row.status,
        requested_at=_moment(row.requested_at),
        requested_by=row.requested_by,
        decided_at=None if row.decided_at is None else _moment(row.decided_at),
        decided_by=row.decided_by,
        replaces=row.replaces,
    )


def _housekeeping() -> Context:
    return system_context("", task="registry-sweep")


def _micros(moment: datetime) -> int:
    # By integers: a float of seconds is off by a microsecond now and then.
    return (moment - _EPOCH) // _MICROSECOND


def _moment(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND
