"""Webhooks over HTTP: their management, and the path where signed messages come in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.routing import Route

from ...core.context import Context, Rights
from ...core.http import context_of
from ...core.http.limits import read_body
from ...core.http.routes import BODY, CONTEXT, ROW
from ...core.redaction import redact
from ..contract import Direction, Events, Hooks, HookSpec, HookView
from ..webhooks.signing import refused

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATH = "/v1/webhooks/{tenant}/{hook}"
ADMIT = "events:admit"
_MOST = 8 << 20  # where no door has read the body already, as in a test
_LONGEST = 64
Caller = Annotated[Context, Depends(context_of)]
HookName = Annotated[str, Path(description="The name of a webhook.", max_length=63)]


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class HookRequest(Body):
    """A webhook to put. One that goes `out` has a url and types, one that comes `in` a type."""

    direction: Direction
    url: str = Field("", max_length=2_000, description="Where an outgoing one is sent.")
    types: list[str] = Field([], max_length=32, description="Event types that go out, or patterns such as `order.*`.")
    type: str = Field("", max_length=512, description="The type of events that come in; of CloudEvents, a pattern.")
    roles: list[str] = Field([], max_length=32, description="Roles with which events that come in are handled.")
    scopes: list[str] = Field([], max_length=64, description="Scopes with which events that come in are handled.")
    description: str = Field("", max_length=512)
    secret: str | None = Field(None, max_length=128, description="The other side's own, `whsec_...`; else one is made.")


class Rotation(Body):
    """A new secret."""

    overlap: float = Field(86_400, ge=0, le=2_592_000, description="Seconds for which the old one holds on.")


class HookItem(BaseModel):
    """A webhook as it does now."""

    name: str
    direction: Direction
    url: str
    types: list[str]
    type: str
    roles: list[str]
    scopes: list[str]
    description: str
    consumer: str
    state: str
    failures: int
    last_error: str
    last_done: str | None
    changed_at: str
    changed_by: str


class HookSecret(HookItem):
    """A webhook with its secret, which is shown this once."""

    secret: str


class HookList(BaseModel):
    """Webhooks, by name."""

    data: list[HookItem]


def add_hooks(api: APIRouter, events: Hooks) -> None:
    """Add the routes of management."""

    @api.get("/hooks")
    async def list_hooks(ctx: Caller) -> HookList:
        """Webhooks in and out, and how they do."""
        return HookList(data=[HookItem(**_item(each)) for each in await events.hooks(ctx)])

    @api.put("/hooks/{hook}")
    async def put_hook(ctx: Caller, hook: HookName, body: HookRequest) -> HookSecret:
        """Make or replace a webhook; a disabled one works again."""
        spec = HookSpec(
            name=hook,
            direction=body.direction,
            url=body.url,
            types=tuple(body.types),
            type=body.type,
            roles=tuple(body.roles),
            scopes=tuple(body.scopes),
            description=body.description,
        )
        made = await events.put_hook(ctx, spec, secret=body.secret)
        return HookSecret(**_item(made.view), secret=made.secret)

    @api.post("/hooks/{hook}/rotate")
    async def rotate_hook(ctx: Caller, hook: HookName, body: Rotation) -> HookSecret:
        """Make a new secret."""
        made = await events.rotate_hook(ctx, hook, overlap=body.overlap)
        return HookSecret(**_item(made.view), secret=made.secret)

    @api.delete("/hooks/{hook}", status_code=204)
    async def drop_hook(ctx: Caller, hook: HookName) -> Response:
        """Remove a webhook."""
        await events.drop_hook(ctx, hook)
        return Response(status_code=204)


class Incoming:
    """The ASGI application that signed messages reach. It needs no key: the signature is the credential."""

    def __init__(self, events: Events) -> None:
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get(BODY)
        if body is None:
            body = await read_body(receive, _MOST)
        tenant, hook = scope["path_params"]["tenant"], scope["path_params"]["hook"]
        if len(tenant) > _LONGEST or len(hook) > _LONGEST:
            raise refused()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        anybody: Context = scope[CONTEXT]
        # Whoever it is may do this one thing: show a signature. The tenant is theirs once it holds.
        asking = replace(
            anybody,
            tenant=tenant,
            principal="webhook",
            rights=Rights(scopes=frozenset({ADMIT}), limit=frozenset({ADMIT})),
        )
        admitted = await self._events.admit(asking, hook, headers, body)
        row = scope[ROW]
        row.tenant, row.principal, row.subject = tenant, admitted.principal, redact(admitted.event.type[:128])
        ctx = replace(anybody, tenant=tenant, principal=admitted.principal, rights=admitted.rights)
        receipts = await self._events.publish(ctx, [admitted.event])
        content = msgspec.json.encode({"data": receipts})
        headers_out = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers_out})
        await send({"type": "http.response.body", "body": content})


def incoming_route(events: Events) -> Route:
    """The route over gated events."""
    return Route(PATH, Incoming(events), methods=["POST"])


def _item(view: HookView) -> dict[str, Any]:
    spec = view.spec
    return {
        "name": spec.name,
        "direction": spec.direction,
        "url": spec.url,
        "types": list(spec.types),
        "type": spec.type,
        "roles": list(spec.roles),
        "scopes": list(spec.scopes),
        "description": spec.description,
        "consumer": view.consumer,
        "state": view.state,
        "failures": view.failures,
        "last_error": view.last_error,
        "last_done": None if view.last_done is None else view.last_done.isoformat(),
        "changed_at": view.changed_at.isoformat(),
        "changed_by": view.changed_by,
    }
