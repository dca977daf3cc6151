"""Keys, policies and the audit log over HTTP. Thin: every rule is behind the doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import StreamingResponse

from ...core.context import Context
from ...core.http.routes import Routes, context_of
from ...core.security.contract import (
    Audit,
    AuditEvent,
    AuditReport,
    InclusionProof,
    Keys,
    Policies,
    PolicySetInfo,
    Verdict,
)
from ..keyview import key_view


def _caller(request: Request) -> Context:
    return context_of(request)


Caller = Annotated[Context, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewKeyBody(_Body):
    """What a new key is to be."""

    name: str = Field(min_length=1, max_length=100)
    roles: list[str] = Field([], max_length=20)
    scopes: list[str] = Field([], max_length=100)
    ttl_days: float | None = Field(None, gt=0, le=3650)


class RotateBody(_Body):
    """How long the old key works on."""

    overlap_seconds: float = Field(86_400, ge=0, le=30 * 86_400)


class PolicyBody(_Body):
    """A tenant's whole Cedar text, and the version it replaces."""

    text: str = Field(max_length=200_000)
    version: int = Field(ge=0)


class CheckBody(_Body):
    """A call that is asked about."""

    roles: list[str] = Field([], max_length=20)
    scopes: list[str] = Field([], max_length=100)
    action: str = Field(max_length=200)
    resource: str = Field("*", max_length=500)


class KeyView(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    roles: list[str]
    scopes: list[str]
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    replaced_by: str | None
    last_used_at: str | None


class NewKeyView(KeyView):
    """A key just made; the secret is shown this once."""

    secret: str


def routes(keys: Keys, policies: Policies, audit: Audit) -> Routes:
    """The management routes of security."""
    api = APIRouter(prefix="/v1")
    _key_routes(api, keys)
    _policy_routes(api, policies)
    _audit_routes(api, audit)
    return Routes(api=api)


def _key_routes(api: APIRouter, keys: Keys) -> None:
    @api.get("/keys", tags=["keys"], response_model=list[KeyView])
    async def list_keys(ctx: Caller, after: Annotated[str, Query(max_length=64)] = "", limit: Limit = 100) -> object:
        """API keys of the tenant, revoked ones too, by id."""
        return [key_view(info) for info in await keys.list(ctx, after=after, limit=limit)]

    @api.post("/keys", tags=["keys"], status_code=201, response_model=NewKeyView)
    async def create_key(ctx: Caller, body: NewKeyBody) -> object:
        """Make a key. Its secret is in this answer and nowhere else."""
        made = await keys.create(ctx, **body.model_dump())
        return {**key_view(made.info), "secret": made.secret}

    @api.post("/keys/{key_id}/rotate", tags=["keys"], status_code=201, response_model=NewKeyView)
    async def rotate_key(ctx: Caller, key_id: str, body: RotateBody) -> object:
        """Make the key's successor; the old one works on for the overlap."""
        made = await keys.rotate(ctx, key_id, overlap_seconds=body.overlap_seconds)
        return {**key_view(made.info), "secret": made.secret}

    @api.delete("/keys/{key_id}", tags=["keys"], response_model=KeyView)
    async def revoke_key(ctx: Caller, key_id: str) -> object:
        """End the key now."""
        return key_view(await keys.revoke(ctx, key_id))


def _policy_routes(api: APIRouter, policies: Policies) -> None:
    @api.get("/policies", tags=["policies"])
    async def get_policies(ctx: Caller) -> PolicySetInfo:
        """The tenant's own Cedar policies."""
        return await policies.get(ctx)

    @api.get("/policies/built-in", tags=["policies"])
    async def built_in(ctx: Caller) -> dict[str, str]:
        """The policies that hold for every tenant."""
        return {"text": await policies.built_in(ctx)}

    @api.put("/policies", tags=["policies"])
    async def put_policies(ctx: Caller, body: PolicyBody) -> PolicySetInfo:
        """Replace the tenant's own policies, if their version is still the one named."""
        return await policies.put(ctx, body.text, version=body.version)

    @api.post("/policies/check", tags=["policies"])
    async def check(ctx: Caller, body: CheckBody) -> Verdict:
        """Ask whether a call would be permitted; nothing is done."""
        return await policies.check(
            ctx, roles=body.roles, scopes=body.scopes, action=body.action, resource=body.resource
        )


def _audit_routes(api: APIRouter, audit: Audit) -> None:
    @api.get("/audit/events", tags=["audit"])
    async def events(
        ctx: Caller,
        before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
        limit: Limit = 100,
        action: Annotated[str | None, Query(max_length=200)] = None,
    ) -> list[AuditEvent]:
        """The tenant's audit events, newest first."""
        return list(await audit.events(ctx, before=before, limit=limit, action=action))

    @api.post("/audit/verify", tags=["audit"])
    async def verify(ctx: Caller) -> AuditReport:
        """Check the whole log against its chain, its tree and its signed checkpoints."""
        return await audit.verify(ctx)

    @api.get("/audit/proofs/{seq}", tags=["audit"])
    async def prove(ctx: Caller, seq: int) -> InclusionProof:
        """RFC 6962 inclusion proof of one event of the tenant."""
        return await audit.prove(ctx, seq)

    @api.get("/audit/export", tags=["audit"], response_class=StreamingResponse)
    async def export(ctx: Caller, after: Annotated[int, Query(ge=-1, le=2**62)] = -1) -> StreamingResponse:
        """The tenant's events in ascending order, one JSON document a line."""
        items = audit.export(ctx, after=after)
        # The first event is asked for before the status is sent, so that a refusal is a proper problem document.
        first = await anext(items, None)
        return StreamingResponse(_lines(first, items), media_type="application/x-ndjson")


async def _lines(first: AuditEvent | None, items: AsyncIterator[AuditEvent]) -> AsyncIterator[bytes]:
    if first is None:
        return
    yield msgspec.json.encode(asdict(first)) + b"\n"
    async for event in items:
        yield msgspec.json.encode(asdict(event)) + b"\n"
