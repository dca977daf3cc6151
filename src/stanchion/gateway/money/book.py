"""Budgets and teams: those that the system declares, and every version of those that were made at run time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, and_, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.errors import Conflict, FieldProblem, InvalidInput, Misconfigured, NotFound
from ...core.storage import Database
from ..contract.money import BudgetSpec, BudgetState, Team
from .subjects import Rule, Rules, rule
from .tables import budgets, team_members, teams

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MEMBER = re.compile(r"(key|user):[^\0*\ud800-\udfff]{1,190}")
_MOST_MEMBERS = 1_000


class Book:
    """All tenants' budgets and teams, kept in memory; `refresh` notices what other processes changed."""

    def __init__(self, database: Database, declared: Sequence[BudgetSpec], *, clock: Clock) -> None:
        names = [(spec.tenant, spec.name) for spec in declared]
        if len(set(names)) < len(names):
            raise Misconfigured("two budgets are declared under one name")
        self._database = database
        self._clock = clock
        self._declared = [rule(spec) for spec in declared]
        self._made: dict[str, dict[str, BudgetState]] = {}
        self._teams: dict[str, dict[str, Team]] = {}
        self._rules: dict[str, Rules] = {}
        self._seen = (-1, -1)
        self.generation = 0

    def rules(self, tenant: str) -> Rules:
        """What holds for the tenant at this moment."""
        found = self._rules.get(tenant)
        if found is None:
            found = self._rules[tenant] = self._compose(tenant)
        return found

    async def refresh(self) -> bool:
        """Read what changed; whether anything did."""
        seen, made, known = await self._database.read(lambda connection: _changes(connection, self._seen))
        if seen == self._seen:
            return False
        self._seen = seen
        self._made = _by_tenant(made)
        self._teams = _by_tenant(known)
        self._rules.clear()
        self.generation += 1
        return True

    def budgets(self, tenant: str) -> list[BudgetState]:
        """All budgets of the tenant by name, without their levels."""
        found = {rule.spec.name: BudgetState(rule.spec) for rule in self._of(tenant)}
        found |= self._made.get(tenant, {})
        return [found[name] for name in sorted(found)]

    def teams(self, tenant: str) -> list[Team]:
        """All teams of the tenant by name."""
        known = self._teams.get(tenant, {})
        return [known[name] for name in sorted(known)]

    async def put_budget(self, ctx: Context, spec: BudgetSpec, expected: int | None) -> BudgetState:
        """A new version. Raises InvalidInput, Conflict."""
        spec = replace(spec, tenant="")
        rule(spec)
        state = BudgetState(spec, 0, False, self._clock.now(), ctx.principal)
        text = msgspec.json.encode(spec).decode()
        version = await self._write(ctx, budgets, spec.name, expected, {"spec": text})
        return replace(state, version=version)

    async def delete_budget(self, ctx: Context, name: str, expected: int | None) -> None:
        """Raises NotFound, Conflict."""
        if name not in self._made.get(ctx.tenant, {}):
            await self.refresh()
        if name not in self._made.get(ctx.tenant, {}):
            if any(rule.spec.name == name for rule in self._of(ctx.tenant)):
                raise Conflict(
                    f"the budget {name} is declared in the system's file", next_step="Remove it there, or replace it."
                )
            raise NotFound(f"there is no budget {name!r:.80}")
        await self._write(ctx, budgets, name, expected, {"spec": ""})

    async def put_team(self, ctx: Context, name: str, members: Sequence[str], expected: int | None) -> Team:
        """A new version. Raises InvalidInput, Conflict."""
        _check_team(name, members)
        ordered = tuple(sorted(set(members)))
        row = {"members": msgspec.json.encode(ordered).decode(), "removed": False}
        version = await self._write(ctx, teams, name, expected, row, members=ordered)
        return Team(name, ordered, version, self._clock.now(), ctx.principal)

    async def delete_team(self, ctx: Context, name: str, expected: int | None) -> None:
        """Raises NotFound, Conflict."""
        if name not in self._teams.get(ctx.tenant, {}):
            await self.refresh()
        if name not in self._teams.get(ctx.tenant, {}):
            raise NotFound(f"there is no team {name!r:.80}")
        await self._write(ctx, teams, name, expected, {"members": "[]", "removed": True}, members=())

    async def _write(
        self,
        ctx: Context,
        table: Table,
        name: str,
        expected: int | None,
        values: dict[str, Any],
        members: Sequence[str] | None = None,
    ) -> int:
        now = micros(self._clock.now())
        row = {"tenant": ctx.tenant, "name": name, "changed_at": now, "changed_by": ctx.principal, **values}

        def work(connection: Connection) -> int:
            if members is not None:
                _enrol(connection, ctx.tenant, name, members)
            version = _append(connection, table, row, expected)
            if ctx.effect is not None:  # before the transaction ends: its audit event is written in it
                removed = bool(values.get("removed", values.get("spec") == ""))
                ctx.effect.note(name=name, version=version, removed=removed)
            return version

        version = await self._database.write(ctx, work)
        await self.refresh()
        return version

    def _of(self, tenant: str) -> list[Rule]:
        return [rule for rule in self._declared if rule.spec.tenant in ("", tenant)]

    def _compose(self, tenant: str) -> Rules:
        held = [rule(state.spec) for state in self.budgets(tenant)]
        members = {member: team.name for team in self.teams(tenant) for member in team.members}
        return Rules(held, members)


def _changes(connection: Connection, seen: tuple[int, int]) -> tuple[tuple[int, int], list[Any], list[Any]]:
    # Versions are only ever added, so their number tells whether there are new ones.
    counts = [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (budgets, teams)]
    now = (int(counts[0]), int(counts[1]))
    if now == seen:
        return now, [], []
    made = [(row.tenant, _state(row)) for row in _newest(connection, budgets) if row.spec]
    known = [(row.tenant, _team(row)) for row in _newest(connection, teams) if not row.removed]
    return now, made, known


def _newest(connection: Connection, table: Table) -> Any:
    latest = select(table.c.tenant, table.c.name, func.max(table.c.version).label("version"))
    newest = latest.group_by(table.c.tenant, table.c.name).subquery()
    same = and_(*(table.c[name] == newest.c[name] for name in ("tenant", "name", "version")))
    return connection.execute(select(table).join(newest, same))


def _append(connection: Connection, table: Table, row: dict[str, Any], expected: int | None) -> int:
    this = and_(table.c.tenant == row["tenant"], table.c.name == row["name"])
    newest = select(table).where(this).order_by(table.c.version.desc()).limit(1)
    found = connection.execute(newest).mappings().first()
    gone = found is None or found.get("spec") == "" or bool(found.get("removed"))
    version = 0 if found is None else int(found["version"])
    if expected is not None and expected != (0 if gone else version):
        raise Conflict(f"{row['name']} is at version {0 if gone else version}, not {expected}")
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values({**row, "version": version + 1}).on_conflict_do_nothing()
    if not connection.execute(statement).rowcount:
        raise Conflict(f"{row['name']} was changed at the same moment")
    return version + 1


def _enrol(connection: Connection, tenant: str, team: str, members: Sequence[str]) -> None:
    connection.execute(delete(team_members).where(team_members.c.tenant == tenant, team_members.c.team == team))
    if not members:
        return
    taken = select(team_members).where(team_members.c.tenant == tenant, team_members.c.member.in_(members)).limit(1)
    if (other := connection.execute(taken).first()) is not None:
        raise Conflict(
            f"{other.member} is in the team {other.team}", next_step="Take it out of that team first: it pays once."
        )
    connection.execute(insert(team_members), [{"tenant": tenant, "member": m, "team": team} for m in members])


def _state(row: Any) -> BudgetState:
    spec = msgspec.json.decode(row.spec, type=BudgetSpec)
    return BudgetState(spec, row.version, False, moment(row.changed_at), row.changed_by)


def _team(row: Any) -> Team:
    members = msgspec.json.decode(row.members, type=tuple[str, ...])
    return Team(row.name, members, row.version, moment(row.changed_at), row.changed_by)


def _by_tenant(rows: Sequence[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for tenant, item in rows:
        found.setdefault(tenant, {})[item.spec.name if isinstance(item, BudgetState) else item.name] = item
    return found


def _check_team(name: str, members: Sequence[str]) -> None:
    faults = []
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        faults.append(FieldProblem("$.name", "has 1 to 64 letters, digits, dots, underscores and hyphens"))
    if len(members) > _MOST_MEMBERS:
        faults.append(FieldProblem("$.members", f"are at most {_MOST_MEMBERS}"))
    faults += [
        FieldProblem(f"$.members[{i}]", "is key:ID or user:NAME")
        for i, member in enumerate(members)
        if not _MEMBER.fullmatch(member)
    ]
    if faults:
        raise InvalidInput("the team is not valid", fields=faults)
