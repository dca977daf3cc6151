"""The rules of webhooks: what may be declared, whose signature holds, and what event a message is."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from ...core.clock import Clock
from ...core.context import Context, Rights
from ...core.errors import InvalidInput, MalformedRequest, NotAllowed, NotFound
from ...core.http.strict import check_json
from ...core.security.roles import lacking
from ..contract.event import Event
from ..contract.events import Events
from ..contract.hooks import Admitted, HookMade, Hooks, HookSpec, HookView, check_hook
from ..contract.rules import matches
from ..wire import binary, structured
from ..wire.media import BATCHED, STRUCTURED, bare, is_json, is_media_type
from .addresses import Addresses
from .keeping import Hook, HookTable, Secret
from .signing import key_of, new_secret, refused, verify

PUBLISH = "events:publish"


class HookService(Hooks):
    """Webhooks of all tenants."""

    def __init__(self, table: HookTable, *, addresses: Addresses, bus: Events, clock: Clock) -> None:
        self._table = table
        self._addresses = addresses
        self._bus = bus
        self._clock = clock

    async def hooks(self, ctx: Context) -> Sequence[HookView]:
        return await self._table.all(ctx)

    async def put_hook(self, ctx: Context, spec: HookSpec, *, secret: str | None = None) -> HookMade:
        check_hook(spec)
        if spec.direction == "out":
            self._check_url(spec.url)
        else:
            _check_rights(ctx, spec)
        if secret is not None:
            key_of(secret)
        before = await self._known(ctx, spec.name)
        kept = list(before.secrets) if before is not None and secret is None else [Secret(secret or new_secret())]
        # One change, one line in the audit log: that of the webhook.
        consumer = await self._consumer(replace(ctx, effect=None), spec, before)
        view = await self._table.put(ctx, spec, kept, consumer=consumer)
        return HookMade(view, kept[0].text)

    async def rotate_hook(self, ctx: Context, name: str, *, overlap: float = 86_400) -> HookMade:
        if not 0 <= overlap <= 30 * 86_400:
            raise InvalidInput("the overlap is 0 to 2,592,000 seconds")
        hook = await self._table.get(ctx.tenant, name)
        now = self._clock.now().timestamp()
        before = [Secret(each.text, min(each.until or now + overlap, now + overlap)) for each in hook.secrets[:3]]
        made = [Secret(new_secret()), *before]
        return HookMade(await self._table.put(ctx, hook.spec, made, consumer=hook.view.consumer), made[0].text)

    async def drop_hook(self, ctx: Context, name: str) -> None:
        hook = await self._table.get(ctx.tenant, name)
        await self._table.drop(ctx, name)
        await self._rest(replace(ctx, effect=None), hook.view.consumer)

    async def admit(self, ctx: Context, name: str, headers: Mapping[str, str], body: bytes) -> Admitted:
        try:
            hook = await self._table.get(ctx.tenant, name)
        except NotFound as error:
            raise refused() from error
        if hook.spec.direction != "in" or hook.view.state != "active":
            raise refused()
        now = self._clock.now().timestamp()
        identity = verify(hook.holding(now), headers, body, now=now)
        spec = hook.spec
        rights = Rights(frozenset(spec.roles), frozenset({*spec.scopes, PUBLISH}))
        return Admitted(f"webhook:{name}", rights, event_of(spec, identity, headers, body))

    def _check_url(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        self._addresses.check_literal(host)
        if parts.scheme == "http" and not self._addresses.private(host):
            raise NotAllowed(
                "webhooks are sent over https",
                next_step="Use https, or an address of a network that events.webhook_networks permits.",
            )

    async def _known(self, ctx: Context, name: str) -> Hook | None:
        try:
            return await self._table.get(ctx.tenant, name)
        except NotFound:
            return None

    async def _consumer(self, ctx: Context, spec: HookSpec, before: Hook | None) -> str:
        """The consumer that the webhook takes events as, ready to take them; the one before is laid to rest."""
        if before is not None and before.view.consumer:
            if spec.direction == "out" and before.spec.types == spec.types:
                await self._bus.resume(ctx, before.view.consumer)
                return before.view.consumer
            await self._rest(ctx, before.view.consumer)
        if spec.direction == "in":
            return ""
        name = f"webhook.{spec.name}.{secrets.token_hex(3)}"
        # The first call makes the consumer: it gets what is published from now on.
        await self._bus.take(ctx, name, types=spec.types, limit=1, wait=0.0)
        return name

    async def _rest(self, ctx: Context, consumer: str) -> None:
        """Nobody takes for it any more: what it does not take must not hold up those who publish."""
        if consumer:
            with suppress(NotFound):
                await self._bus.remove(ctx, consumer)


def _check_rights(ctx: Context, spec: HookSpec) -> None:
    missing = lacking(ctx.rights, Rights(frozenset(spec.roles), frozenset(spec.scopes)))
    if missing:
        raise NotAllowed(
            f"a webhook cannot be given rights that its maker does not hold: {', '.join(missing)}",
            next_step="Leave them out, or ask somebody who holds them.",
        )


def event_of(spec: HookSpec, identity: str, headers: Mapping[str, str], body: bytes) -> Event:
    """The event of a message whose signature held. Raises InvalidInput."""
    pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    kind = bare(headers.get("content-type", ""))
    if kind == BATCHED:
        raise InvalidInput("a webhook takes one event at a time")
    if kind == STRUCTURED or binary.is_binary(pairs):
        event = structured.read(body) if kind == STRUCTURED else binary.read(pairs, body)
        if not matches((spec.type,), event.type):
            raise InvalidInput(f"this webhook takes events of the type {spec.type}, not {event.type[:80]}")
        return event
    if "*" in spec.type:
        raise InvalidInput("this webhook takes CloudEvents only", next_step="Send application/cloudevents+json.")
    return _wrapped(spec, identity, headers.get("content-type"), body)


def _wrapped(spec: HookSpec, identity: str, content_type: str | None, body: bytes) -> Event:
    if content_type is not None and not is_media_type(content_type):
        raise MalformedRequest("the Content-Type is no media type")
    if content_type is not None and is_json(content_type):
        check_json(body)
    return Event(
        type=spec.type,
        source=spec.source,
        id=identity,
        data=body,
        content_type=content_type or binary.UNKNOWN,
    )
