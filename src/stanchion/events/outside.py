"""What the bus shares with the world outside: schemas of its data, webhooks in and out, and devices over MQTT."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..core.context import Context, Rights
from ..core.module import Parts
from ..core.security.secrets import SecretSource
from .contract.delivery import Envelope, Recalled, Selection
from .contract.events import Events, Recalling
from .contract.hooks import Admitted, HookMade, Hooks, HookSpec, HookView
from .contract.schemas import Compatibility, EventType, Judgement, SchemaKind, Schemas, SchemaVersion, Subject
from .contract.specs import EventSpec, HandlerSpec
from .mqtt.bridge import Bridge, broker_of
from .mqtt.reading import Topics
from .recalling import Recaller
from .schemas.deriving import register_derived
from .schemas.service import SchemaService
from .webhooks.addresses import Addresses, networks_of
from .webhooks.keeping import HookTable
from .webhooks.posting import Poster
from .webhooks.sending import Sender
from .webhooks.service import HookService

if TYPE_CHECKING:
    from .settings import EventsSettings


class Outside:
    """The registry, the webhooks and the bridge of one process. `start` and `stop` frame their life.

    `specs` are the declarations whose types have schemas, for the tenant that owns the system.
    """

    def __init__(
        self,
        *,
        schemas: SchemaService,
        hooks: HookService,
        sender: Sender | None,
        bridge: Bridge | None,
        specs: Sequence[object],
        tenant: str,
    ) -> None:
        self.schemas = schemas
        self.hooks = hooks
        self.bridge = bridge
        self._sender = sender
        self._specs = specs
        self._tenant = tenant

    async def prepare(self) -> None:
        """Register the declared types' schemas. Raises Conflict for a breaking change, before anything is handled."""
        if self._specs:
            await register_derived(self.schemas, self._specs, self._tenant)

    async def start(self) -> None:
        """Begin to send, and to listen to devices."""
        if self._sender is not None:
            await self._sender.start()
        if self.bridge is not None:
            await self.bridge.start()

    async def stop(self) -> None:
        """End both: nothing new comes in, and what was not sent is sent later."""
        if self.bridge is not None:
            await self.bridge.stop()
        if self._sender is not None:
            await self._sender.stop()


class Reaching(Recalling, Schemas, Hooks):
    """The part of the service that answers for schemas, webhooks and what was published."""

    outside: Outside
    recaller: Recaller

    async def recent(
        self, ctx: Context, *, selection: Selection | None = None, place: str = "", limit: int = 50
    ) -> Sequence[Envelope]:
        if place:
            return await self.recaller.at(ctx, place)
        return await self.recaller.recent(ctx, selection or Selection(), limit)

    async def recall(self, ctx: Context, place: str) -> Recalled:
        return await self.recaller.recall(ctx, place)

    async def subjects(self, ctx: Context) -> Sequence[Subject]:
        return await self.outside.schemas.subjects(ctx)

    async def schema(self, ctx: Context, subject: str, version: int | None = None) -> SchemaVersion:
        return await self.outside.schemas.schema(ctx, subject, version)

    async def schema_versions(self, ctx: Context, subject: str) -> Sequence[SchemaVersion]:
        return await self.outside.schemas.schema_versions(ctx, subject)

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
        return await self.outside.schemas.register(
            ctx, subject, text, kind=kind, compatibility=compatibility, lenient=lenient
        )

    async def judge(self, ctx: Context, subject: str, text: str, *, kind: SchemaKind = "json") -> Judgement:
        return await self.outside.schemas.judge(ctx, subject, text, kind=kind)

    async def set_compatibility(
        self, ctx: Context, subject: str, compatibility: Compatibility, *, lenient: bool | None = None
    ) -> Subject:
        return await self.outside.schemas.set_compatibility(ctx, subject, compatibility, lenient=lenient)

    async def catalogue(self, ctx: Context) -> Sequence[EventType]:
        return await self.outside.schemas.catalogue(ctx)

    async def hooks(self, ctx: Context) -> Sequence[HookView]:
        return await self.outside.hooks.hooks(ctx)

    async def put_hook(self, ctx: Context, spec: HookSpec, *, secret: str | None = None) -> HookMade:
        return await self.outside.hooks.put_hook(ctx, spec, secret=secret)

    async def rotate_hook(self, ctx: Context, name: str, *, overlap: float = 86_400) -> HookMade:
        return await self.outside.hooks.rotate_hook(ctx, name, overlap=overlap)

    async def drop_hook(self, ctx: Context, name: str) -> None:
        await self.outside.hooks.drop_hook(ctx, name)

    async def admit(self, ctx: Context, name: str, headers: Mapping[str, str], body: bytes) -> Admitted:
        return await self.outside.hooks.admit(ctx, name, headers, body)


def opened(parts: Parts, settings: EventsSettings, bus: Events) -> Outside:
    """What the settings ask for, around the ungated service of this process."""
    specs = [item for item in parts.declared if isinstance(item, EventSpec | HandlerSpec)]
    addresses = Addresses(networks_of(settings.webhook_networks))
    table = HookTable(parts.database, parts.vault, parts.clock)
    sender = Sender(table, Poster(addresses, parts.clock), bus, clock=parts.clock, failures=settings.webhook_failures)
    return Outside(
        schemas=SchemaService(parts.database, parts.clock, specs),
        hooks=HookService(table, addresses=addresses, bus=bus, clock=parts.clock),
        sender=sender if settings.workers else None,
        bridge=_bridge(parts, settings, bus) if settings.mqtt_url else None,
        specs=specs,
        tenant=parts.tenant,
    )


def _bridge(parts: Parts, settings: EventsSettings, bus: Events) -> Bridge:
    reference = settings.mqtt_password
    source = SecretSource(parts.database, parts.vault, environment=os.environ, clock=parts.clock)

    async def password() -> str:
        return (await source.resolve(reference or "", tenant=parts.tenant)).reveal()

    rights = Rights(frozenset(settings.mqtt_roles), frozenset({*settings.mqtt_scopes, "events:publish"}))
    return Bridge(
        broker_of(settings.mqtt_url, settings.mqtt_session),
        Topics(settings.mqtt_topics),
        bus.publish,
        author=lambda: Context(tenant=parts.tenant, principal="mqtt", rights=rights),
        password=None if reference is None else password,
    )
