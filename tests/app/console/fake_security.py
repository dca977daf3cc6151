"""Keys, policies and an audit log for the console's tests; what is asked of them is written down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, InvalidInput, NotAllowed
from stanchion.core.security.contract import (
    Audit,
    AuditEvent,
    AuditReport,
    InclusionProof,
    KeyInfo,
    Keys,
    NewKey,
    Policies,
    PolicySetInfo,
    Verdict,
)
from tests.app.console.fake_features import NOW

SECRET = "st_9fKq2LmN4pRs_ZXCVBNMasdfghjklqwertyuiop1234567890zxcvbn_0aB1cD"


@dataclass
class FakeKeys(Keys):
    held: list[KeyInfo]
    calls: list[tuple[object, ...]] = field(default_factory=list)

    async def create(
        self,
        ctx: Context,
        *,
        name: str,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        ttl_days: float | None = None,
    ) -> NewKey:
        self.calls.append(("create", name, tuple(roles), tuple(scopes), ttl_days))
        if name == "refuse":
            raise NotAllowed("you cannot give away admin")
        rights = Rights(frozenset(roles), frozenset(scopes))
        return NewKey(KeyInfo("9fKq2LmN4pRs", ctx.tenant, name, rights, NOW, ctx.principal), SECRET)

    async def list(self, ctx: Context, *, after: str = "", limit: int = 100) -> Sequence[KeyInfo]:
        return [k for k in self.held if k.id > after][:limit]

    async def rotate(self, ctx: Context, key_id: str, *, overlap_seconds: float = 86_400) -> NewKey:
        self.calls.append(("rotate", key_id, overlap_seconds))
        return NewKey(replace(self.held[0], id="successor0001"), SECRET)

    async def revoke(self, ctx: Context, key_id: str) -> KeyInfo:
        self.calls.append(("revoke", key_id))
        return replace(self.held[0], revoked_at=NOW)


@dataclass
class FakePolicies(Policies):
    own: PolicySetInfo
    calls: list[tuple[object, ...]] = field(default_factory=list)

    async def get(self, ctx: Context) -> PolicySetInfo:
        return self.own

    async def built_in(self, ctx: Context) -> str:
        return '// admin: everything in its tenant\npermit (principal in Role::"admin", action, resource);\n'

    async def put(self, ctx: Context, text: str, *, version: int) -> PolicySetInfo:
        self.calls.append(("put", text, version))
        if "broken" in text:
            raise InvalidInput("line 1: unexpected token `broken`")
        return replace(self.own, version=version + 1, text=text)

    async def check(
        self, ctx: Context, *, roles: Sequence[str], scopes: Sequence[str], action: str, resource: str
    ) -> Verdict:
        return Verdict("admin" in roles, ("built-in: admin",) if "admin" in roles else ())


@dataclass
class FakeAudit(Audit):
    log: list[AuditEvent]
    faults: tuple[str, ...] = ()

    async def events(
        self, ctx: Context, *, before: int | None = None, limit: int = 100, action: str | None = None
    ) -> Sequence[AuditEvent]:
        found = [e for e in self.log if (before is None or e.seq < before) and action in (None, e.action)]
        return found[:limit]

    async def verify(self, ctx: Context) -> AuditReport:
        return AuditReport(not self.faults, len(self.log), "ab12" * 16, 3, len(self.log), self.faults, 0.04)

    async def prove(self, ctx: Context, seq: int) -> InclusionProof:
        if seq > 100:
            raise Conflict("no checkpoint covers it yet")
        return InclusionProof(seq, "1e" * 32, 128, ("aa" * 32, "bb" * 32), "ab12" * 16, "stanchion\n128\n", "{}")

    async def export(self, ctx: Context, *, after: int = -1) -> AsyncIterator[AuditEvent]:
        for event in reversed(self.log):
            yield event
