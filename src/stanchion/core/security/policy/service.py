"""Each tenant's policies: kept with their history, held in memory parsed, asked on every call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from ...clock import Clock, micros, moment
from ...context import Context, Rights
from ...contract import Action, methods
from ...errors import Conflict, FieldProblem, InvalidInput, Misconfigured, NotAllowed
from ...gate import Authoriser
from ...storage.contract import Database
from .. import contract
from ..contract import PolicySetInfo, Verdict
from ..tables import policy_sets
from .engine import Engine, Resource
from .engine import Policies as Parsed
from .filters import Filter
from .residuals import filter_of
from .schema import Attributes

if TYPE_CHECKING:
    from sqlalchemy import Connection

_WRITE = next(m.action for m in methods(contract.Policies) if m.name == "put")


class _Stored(NamedTuple):
    tenant: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class _Held:
    """`policies` is None where the stored text cannot be parsed any more."""

    version: int
    policies: Parsed | None


class PolicyService(contract.Policies, Authoriser):
    """Decides from memory; `refresh` brings in what other processes changed.

    Until the first `refresh` every call is denied, as a tenant's forbids are not known yet. A tenant whose
    stored set cannot be parsed is denied everything but its policies, which can so be repaired.
    """

    def __init__(
        self, database: Database, *, actions: Iterable[Action], clock: Clock, attributes: Attributes | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._engine = Engine(actions, attributes=attributes)
        self._held: dict[str, _Held] = {}
        self._ready = False
        self._generation = 0

    @property
    def generation(self) -> int:
        return self._generation

    def permits(self, ctx: Context, action: Action, resource: str) -> bool:
        policies = self._policies(ctx.tenant, action)
        if policies is None:
            return False
        return self._engine.decide(policies, ctx, action, Resource(action.resource, resource, ctx.tenant, {})).allowed

    def filter_for(self, ctx: Context, action: Action, resource_type: str) -> Filter:
        """Which resources of the type the caller may do this to, as a condition for a store.

        Raises NotAllowed if a policy says something no store can be asked: never a broader filter.
        """
        policies = self._policies(ctx.tenant, action)
        if policies is None:
            raise NotAllowed(f"no policies are known for {action.name}")
        return filter_of(self._engine.residuals(policies, ctx, action), resource_type)

    async def refresh(self) -> None:
        """Take in the sets that other processes have stored. Call it at the start, then every second."""
        held = {tenant: known.version for tenant, known in self._held.items()}
        for row in await self._database.read(_newer(held)):
            try:
                policies = await asyncio.to_thread(self._engine.parse, row.text)
            except Misconfigured:
                self._hold(row.tenant, _Held(row.version, None))
            else:
                self._hold(row.tenant, _Held(row.version, policies))
        if not self._ready:
            self._ready = True
            self._generation += 1

    async def get(self, ctx: Context) -> PolicySetInfo:
        return await self._database.read(lambda connection: _newest(connection, ctx.tenant))

    async def built_in(self, ctx: Context) -> str:
        return self._engine.text

    async def put(self, ctx: Context, text: str, *, version: int) -> PolicySetInfo:
        faults = await asyncio.to_thread(self._engine.faults, text)
        if faults:
            raise InvalidInput("the policies are not valid", fields=faults)
        policies = self._engine.parse(text)
        if not self._engine.decide(policies, ctx, _WRITE, Resource(_WRITE.resource, "*", ctx.tenant, {})).allowed:
            fault = FieldProblem("$.text", f"would deny {ctx.principal} the action {_WRITE.name}")
            raise InvalidInput("these policies would lock their author out", fields=[fault])
        info = PolicySetInfo(ctx.tenant, version + 1, text, self._clock.now(), ctx.principal)
        if ctx.effect is not None:
            ctx.effect.note(version=info.version, sha256=hashlib.sha256(text.encode()).hexdigest())
        await self._database.write(ctx, _replace(info, expected=version))
        self._hold(ctx.tenant, _Held(info.version, policies))
        return info

    async def check(
        self, ctx: Context, *, roles: Sequence[str], scopes: Sequence[str], action: str, resource: str
    ) -> Verdict:
        known = self._engine.actions.get(action)
        if known is None:
            raise InvalidInput("there is no such action", fields=[FieldProblem("$.action", "is not known")])
        caller = replace(ctx, principal="key:check", rights=Rights(frozenset(roles), frozenset(scopes)))
        policies = self._policies(ctx.tenant, known)
        if policies is None:
            return Verdict(allowed=False, reasons=(), errors=("the tenant's policies cannot be used",))
        acted_on = Resource(known.resource, resource.removeprefix(f"{known.resource}::"), ctx.tenant, {})
        return self._engine.decide(policies, caller, known, acted_on)

    def _policies(self, tenant: str, action: Action) -> Parsed | None:
        if not self._ready:
            return None
        held = self._held.get(tenant)
        if held is None:
            return self._engine.built_in
        if held.policies is None and action.resource == _WRITE.resource:
            return self._engine.built_in
        return held.policies

    def _hold(self, tenant: str, newer: _Held) -> None:
        held = self._held.get(tenant)
        # A snapshot read before a `put` of this process may arrive after it.
        if held is None or held.version < newer.version:
            self._held[tenant] = newer
            self._generation += 1


def _newer(held: dict[str, int]) -> Callable[[Connection], list[_Stored]]:
    table = policy_sets.c

    def work(connection: Connection) -> list[_Stored]:
        versions = select(table.tenant, func.max(table.version).label("version")).group_by(table.tenant)
        changed = [row for row in connection.execute(versions) if held.get(row.tenant, 0) < row.version]
        texts = [
            connection.execute(
                select(table.text).where(table.tenant == row.tenant, table.version == row.version)
            ).scalar_one()
            for row in changed
        ]
        return [_Stored(row.tenant, row.version, text) for row, text in zip(changed, texts, strict=True)]

    return work


def _newest(connection: Connection, tenant: str) -> PolicySetInfo:
    query = policy_sets.select().where(policy_sets.c.tenant == tenant).order_by(policy_sets.c.version.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return PolicySetInfo(tenant, 0, "", None, "")
    return PolicySetInfo(tenant, row.version, row.text, moment(row.changed_at), row.changed_by)


def _replace(info: PolicySetInfo, *, expected: int) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        from sqlalchemy.exc import IntegrityError

        present = _newest(connection, info.tenant).version
        changed = Conflict(f"the policies have changed: their version is {present}, not {expected}")
        if present != expected or info.changed_at is None:
            raise changed
        row = {
            "tenant": info.tenant,
            "version": info.version,
            "text": info.text,
            "changed_at": micros(info.changed_at),
            "changed_by": info.changed_by,
        }
        try:
            connection.execute(policy_sets.insert().values(row))
        except IntegrityError as error:
            # Another process stored this version between the look and the insert.
            raise changed from error

    return work
