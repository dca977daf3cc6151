"""What the rest of the house may ask of security: keys, policies and the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..context import Context, EffectKind, Rights
from ..contract import action


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a credential proves the caller to be. The tenant comes from here and nowhere else."""

    tenant: str
    principal: str
    rights: Rights
    expires: datetime | None = None


class Authenticator(Protocol):
    """Turns credentials into an Identity."""

    async def authenticate(self, authorization: str | None, *, peer: str | None = None) -> Identity:
        """The caller behind an Authorization header value, or behind the SPIFFE id of a verified TLS peer.

        Raises NotAuthenticated, with the same message for an unknown, a revoked and a forged credential.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """An API key without its secret. `id` is the public part, also found at the head of the key itself."""

    id: str
    tenant: str
    name: str
    rights: Rights
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: str | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `secret` is shown this once and kept nowhere."""

    info: KeyInfo
    secret: str


class Keys(Protocol):
    """API keys of the caller's tenant."""

    @action("keys:create", effect="write", resource="Key")
    async def create(
        self,
        ctx: Context,
        *,
        name: str,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        ttl_days: float | None = None,
    ) -> NewKey:
        """A new key that holds no right its maker lacks. Raises NotAllowed, InvalidInput."""
        ...

    @action("keys:list", effect="read", resource="Key")
    async def list(self, ctx: Context, *, after: str = "", limit: int = 100) -> Sequence[KeyInfo]:
        """Keys of the tenant by ascending id, revoked ones too; at most 100."""
        ...

    @action("keys:rotate", effect="write", resource="Key", by="key_id")
    async def rotate(self, ctx: Context, key_id: str, *, overlap_seconds: float = 86_400) -> NewKey:
        """A successor with the same rights; the old key works on for the overlap. Raises NotFound, Conflict."""
        ...

    @action("keys:revoke", effect="write", resource="Key", by="key_id")
    async def revoke(self, ctx: Context, key_id: str) -> KeyInfo:
        """End the key now; ending it again changes nothing. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class PolicySetInfo:
    """A tenant's own Cedar policies, which add to the built-in ones."""

    tenant: str
    version: int
    text: str
    changed_at: datetime | None
    changed_by: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call would be permitted, and by which policies."""

    allowed: bool
    reasons: tuple[str, ...]
    errors: tuple[str, ...] = ()


class Policies(Protocol):
    """Cedar policies. Without a policy that permits, a call is denied; a `forbid` always wins."""

    @action("policies:read", effect="read", resource="PolicySet")
    async def get(self, ctx: Context) -> PolicySetInfo:
        """The tenant's own policies; version 0 and empty text where it has none."""
        ...

    @action("policies:read", effect="read", resource="PolicySet")
    async def built_in(self, ctx: Context) -> str:
        """The policies that hold for every tenant, as Cedar text."""
        ...

    @action("policies:write", effect="write", resource="PolicySet")
    async def put(self, ctx: Context, text: str, *, version: int) -> PolicySetInfo:
        """Replace the tenant's policies if their version still is `version`.

        Checked against the schema first; a set that would lock its author out of this very action is
        refused. Raises InvalidInput with each fault, Conflict.
        """
        ...

    @action("policies:read", effect="read", resource="PolicySet")
    async def check(
        self, ctx: Context, *, roles: Sequence[str], scopes: Sequence[str], action: str, resource: str
    ) -> Verdict:
        """What these policies would say to a caller with these rights; nothing is done."""
        ...


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One entry of the audit log. `outcome` is done, intent, failed or denied."""

    seq: int
    at: datetime
    tenant: str
    principal: str
    action: str
    kind: EffectKind
    resource: str
    outcome: str
    request_id: str
    trace_id: str
    facts: Mapping[str, str | int | float | bool | None]
    hash: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What verification found: `ok` only if no fault of any kind was found."""

    ok: bool
    events: int
    root: str
    checkpoints: int
    covered: int
    faults: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """RFC 6962 proof that an event is in the tree of a signed checkpoint; checkable without our code."""

    seq: int
    leaf_hash: str
    tree_size: int
    path: tuple[str, ...]
    root: str
    checkpoint: str
    event: str


class Audit(Protocol):
    """The tamper-evident log of every effect. Events are numbered from 0 without gaps, for all tenants."""

    @action("audit:read", effect="read", resource="AuditLog")
    async def events(
        self, ctx: Context, *, before: int | None = None, limit: int = 100, action: str | None = None
    ) -> Sequence[AuditEvent]:
        """The tenant's events, newest first; at most 100."""
        ...

    @action("audit:verify", effect="read", resource="AuditLog", seconds=600)
    async def verify(self, ctx: Context) -> AuditReport:
        """Check every event's hash, the chain, the tree and all checkpoints of the second sink."""
        ...

    @action("audit:read", effect="read", resource="AuditLog")
    async def prove(self, ctx: Context, seq: int) -> InclusionProof:
        """Proof for one event of the tenant. Raises NotFound, and Conflict while no checkpoint covers it."""
        ...

    @action("audit:export", effect="read", resource="AuditLog", seconds=600)
    def export(self, ctx: Context, *, after: int = -1) -> AsyncIterator[AuditEvent]:
        """The tenant's events in ascending order."""
        ...
