"""The registry: subjects and their versions in SQL, each judged before it is added."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection, Row, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.errors import Conflict, FieldProblem, InvalidInput, NotFound
from ...core.storage import Database
from ..contract.schemas import (
    Clash,
    Compatibility,
    EventType,
    Judgement,
    SchemaKind,
    Schemas,
    SchemaVersion,
    Subject,
)
from ..contract.specs import EventSpec, HandlerSpec
from .judging import canonical_text, fingerprint, judged
from .tables import SCHEMA, subjects, versions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_MOST_VERSIONS = 1_000


class _Rule(NamedTuple):
    compatibility: Compatibility
    lenient: bool


class SchemaService(Schemas):
    """Schemas by subject. Its tables are made with the first use."""

    def __init__(self, database: Database, clock: Clock, specs: Sequence[object] = ()) -> None:
        self._specs = specs
        self._database = database
        self._clock = clock
        self._lock = asyncio.Lock()
        self._prepared = False

    async def subjects(self, ctx: Context) -> Sequence[Subject]:
        await self._prepare()
        newest = (
            select(versions.c.subject, func.max(versions.c.version).label("newest"))
            .where(versions.c.tenant == ctx.tenant)
            .group_by(versions.c.subject)
            .subquery()
        )
        wanted = (
            select(
                versions.c.subject, versions.c.kind, versions.c.version, subjects.c.compatibility, subjects.c.lenient
            )
            .join(newest, (versions.c.subject == newest.c.subject) & (versions.c.version == newest.c.newest))
            .join(subjects, (subjects.c.tenant == versions.c.tenant) & (subjects.c.subject == versions.c.subject))
            .where(versions.c.tenant == ctx.tenant)
            .order_by(versions.c.subject)
        )
        rows = await self._database.read(lambda connection: connection.execute(wanted).all())
        return [Subject(name, kind, number, rule, bool(lenient)) for name, kind, number, rule, lenient in rows]

    async def schema(self, ctx: Context, subject: str, version: int | None = None) -> SchemaVersion:
        known = await self.schema_versions(ctx, subject)
        if version is None:
            return known[-1]
        found = next((each for each in known if each.version == version), None)
        if found is None:
            raise NotFound(f"the schema of {subject} has no version {version}")
        return found

    async def schema_versions(self, ctx: Context, subject: str) -> Sequence[SchemaVersion]:
        known, _ = await self._known(ctx, subject)
        if not known:
            raise NotFound(f"there is no schema of {subject}")
        return known

    async def judge(self, ctx: Context, subject: str, text: str, *, kind: SchemaKind = "json") -> Judgement:
        _check_subject(subject)
        kept = canonical_text(kind, text)
        known, rule = await self._known(ctx, subject)
        clashes = judged(kind, kept, known, rule.compatibility, lenient=rule.lenient)
        return Judgement(not clashes, rule.compatibility, clashes)

    async def register(
        self,
        ctx: Context,
        subject: str,
        text: str,
        *,
        kind: SchemaKind = "json",
        compatibility: Compatibility | None = None,
        lenient: bool | None = None,
    ) -> SchemaVersion:
        _check_subject(subject)
        return await self._register(ctx, subject, canonical_text(kind, text), kind, compatibility, lenient)

    async def derive(self, ctx: Context, subject: str, text: str) -> SchemaVersion:
        """Register what was made from a Python type: known to be well-formed, and lenient until somebody changes it."""
        known, _ = await self._known(ctx, subject)
        kept = canonical_text("json", text, trusted=True)
        return await self._register(ctx, subject, kept, "json", None, None if known else True)

    async def _register(
        self,
        ctx: Context,
        subject: str,
        kept: str,
        kind: SchemaKind,
        compatibility: Compatibility | None,
        lenient: bool | None,
    ) -> SchemaVersion:
        known, before = await self._known(ctx, subject)
        rule = _Rule(compatibility or before.compatibility, before.lenient if lenient is None else lenient)
        same = next((each for each in known if each.fingerprint == fingerprint(kept) and each.kind == kind), None)
        if same is not None and same is known[-1]:
            if rule != before:
                await self.set_compatibility(ctx, subject, rule.compatibility, lenient=rule.lenient)
            return same
        clashes = judged(kind, kept, known, rule.compatibility, lenient=rule.lenient)
        if clashes:
            raise broken(subject, rule.compatibility, clashes)
        return await self._added(ctx, subject, kept, kind, rule, after=len(known))

    async def set_compatibility(
        self, ctx: Context, subject: str, compatibility: Compatibility, *, lenient: bool | None = None
    ) -> Subject:
        known, before = await self._known(ctx, subject)
        if not known:
            raise NotFound(f"there is no schema of {subject}")
        rule = _Rule(compatibility, before.lenient if lenient is None else lenient)
        await self._database.write(ctx, lambda connection: _rule(connection, ctx.tenant, subject, rule))
        return Subject(subject, known[-1].kind, known[-1].version, rule.compatibility, rule.lenient)

    async def catalogue(self, ctx: Context) -> Sequence[EventType]:
        found = {
            each.name: EventType(each.name, schema=await self.schema(ctx, each.name))
            for each in await self.subjects(ctx)
        }
        for spec in self._specs:
            if isinstance(spec, EventSpec):
                known = found.get(spec.type, EventType(spec.type))
                found[spec.type] = replace(known, description=spec.description)
            elif isinstance(spec, HandlerSpec):
                for kind in spec.types:
                    known = found.get(kind, EventType(kind))
                    found[kind] = replace(known, handlers=(*known.handlers, spec.name))
        return [found[kind] for kind in sorted(found)]

    async def _added(
        self, ctx: Context, subject: str, text: str, kind: SchemaKind, rule: _Rule, *, after: int
    ) -> SchemaVersion:
        if after >= _MOST_VERSIONS:
            raise Conflict(f"the schema of {subject} has {after} versions; it can have no more")
        at = self._clock.now()
        made = SchemaVersion(subject, after + 1, kind, text, fingerprint(text), at, ctx.principal)
        row = {
            "tenant": ctx.tenant,
            "subject": subject,
            "version": made.version,
            "kind": kind,
            "text": text,
            "fingerprint": made.fingerprint,
            "made_at": micros(at),
            "made_by": ctx.principal,
        }

        def work(connection: Connection) -> None:
            connection.execute(insert(versions).values(row))
            _rule(connection, ctx.tenant, subject, rule)

        if ctx.effect is not None:
            ctx.effect.note(subject=subject, version=made.version, fingerprint=made.fingerprint)
        try:
            await self._database.write(ctx, work)
        except IntegrityError as error:
            raise Conflict(f"the schema of {subject} was changed by somebody else at this moment") from error
        return made

    async def _known(self, ctx: Context, subject: str) -> tuple[list[SchemaVersion], _Rule]:
        await self._prepare()
        mine = (versions.c.tenant == ctx.tenant) & (versions.c.subject == subject)
        wanted = select(versions).where(mine).order_by(versions.c.version)
        rule = select(subjects.c.compatibility, subjects.c.lenient).where(
            subjects.c.tenant == ctx.tenant, subjects.c.subject == subject
        )
        rows, found = await self._database.read(lambda c: (c.execute(wanted).all(), c.execute(rule).first()))
        return [_version(row) for row in rows], _Rule("backward", False) if found is None else _Rule(found[0], found[1])

    async def _prepare(self) -> None:
        async with self._lock:
            if not self._prepared:
                await self._database.prepare(SCHEMA)
                self._prepared = True


def broken(subject: str, rule: Compatibility, clashes: Sequence[Clash]) -> Conflict:
    """The error for a breaking change: the first reason in words, every one with its path."""
    first = clashes[0]
    return Conflict(
        f"the schema of {subject} would break its users ({rule}, version {first.against}): "
        f"{first.path} {first.reason}: {first.message}",
        next_step="Keep to what earlier versions admit, publish under a new event type, or change the compatibility.",
        fields=[FieldProblem(c.path, f"{c.reason}: {c.message} (version {c.against})") for c in clashes],
    )


def _check_subject(subject: str) -> None:
    if _NAME.fullmatch(subject) is None:
        raise InvalidInput(
            f"{subject[:80]!r} cannot name a schema", next_step="Use the event type: letters, digits, dots and dashes."
        )


def _rule(connection: Connection, tenant: str, subject: str, rule: _Rule) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"tenant": tenant, "subject": subject, "compatibility": rule.compatibility, "lenient": rule.lenient}
    changed = {"compatibility": rule.compatibility, "lenient": rule.lenient}
    statement = dialect.insert(subjects).values(row)
    connection.execute(statement.on_conflict_do_update(index_elements=["tenant", "subject"], set_=changed))


def _version(row: Row[tuple[object, ...]]) -> SchemaVersion:
    made = row._mapping
    return SchemaVersion(
        made["subject"],
        made["version"],
        made["kind"],
        made["text"],
        made["fingerprint"],
        moment(made["made_at"]),
        made["made_by"],
    )
