"""Builds review from the declared queues."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..core.dormant import Dormant
from ..core.errors import Misconfigured
from ..core.module import Module, Parts, Settings
from ..events import Events
from .contract import Reviews, ReviewSpec

if TYPE_CHECKING:
    from ..core.http import Routes
    from .ports import Notifier
    from .service import ReviewService


class ReviewSettings(Settings):
    """Settings of review."""

    tick_seconds: float = Field(
        1.0, gt=0, le=60, description="How often deadlines, leases and undo windows are looked at, in seconds."
    )
    poll_seconds: float = Field(
        1.0, gt=0, le=60, description="How long another process's decision may stay unseen by who waits, in seconds."
    )
    notify: Literal["none", "file", "smtp", "chat"] = Field(
        "none",
        description="Where notices go: nowhere, `review/notices.jsonl` in the data folder, e-mail, or a chat room.",
    )
    link: str = Field(
        "",
        description="How a notice names an item's page, such as https://stanchion.example.com/console/review/{item}.",
    )
    chat_url: str = Field(
        "",
        description="A reference to the address of a room's webhook, such as env:CHAT_URL, for `notify = chat`.",
    )
    smtp_host: str = Field("", description="The mail server, for `notify = smtp`.")
    smtp_port: int = Field(587, ge=1, le=65_535, description="Its port.")
    smtp_from: str = Field("", description="The sender's address.")
    smtp_user: str = Field("", description="The user to log in as; empty: no login.")
    smtp_password: str = Field("", description="A reference to the password, such as env:SMTP_PASSWORD.")
    smtp_starttls: bool = Field(True, description="Whether the connection must be encrypted by STARTTLS.")


async def _build(parts: Parts, settings: ReviewSettings) -> ReviewService | Dormant:
    """A system that declares no queue pays nothing for review, until somebody asks for it."""
    return (
        await _made(parts, settings)
        if parts.declared
        else Dormant(Reviews, lambda: _made(parts, settings), empty=("queues",))
    )


async def _made(parts: Parts, settings: ReviewSettings) -> ReviewService:
    from .backends.heralds import BusHerald, SilentHerald
    from .backends.sql import SqlStore
    from .backends.tables import SCHEMA
    from .desk import Bell, Desk
    from .seals import Seals
    from .service import ReviewService

    await parts.database.prepare(SCHEMA)
    herald = SilentHerald() if parts.find(Events) is None else BusHerald()
    store = SqlStore(parts.database, herald)
    specs = {spec.name: spec for spec in parts.declared if isinstance(spec, ReviewSpec)}
    desk = Desk(store, Seals(store, parts.vault), parts.clock, specs, Bell(), settings.link)
    return ReviewService(
        desk,
        _notifier(parts, settings),
        tick_seconds=settings.tick_seconds,
        poll_seconds=settings.poll_seconds,
        # A command that only looks knows no queue's rules: it lets no time pass by the usual ones instead.
        ticking=bool(parts.declared or parts.system_file),
    )


def _notifier(parts: Parts, settings: ReviewSettings) -> Notifier:
    from ..core.security.secrets import SecretSource
    from .backends.notifiers import FileNotifier, NoNotifier, SmtpNotifier, SmtpServer

    if settings.notify == "none":
        return NoNotifier()
    if settings.notify == "file":
        return FileNotifier(Path(parts.folder) / "review" / "notices.jsonl")
    source = SecretSource(parts.database, parts.vault, environment=os.environ, clock=parts.clock)

    async def secret(reference: str) -> str:
        return (await source.resolve(reference, tenant=parts.tenant)).reveal()

    if settings.notify == "chat":
        from .backends.chat import ChatNotifier

        if not settings.chat_url:
            raise Misconfigured("review.notify is chat, so review.chat_url must be set")
        return ChatNotifier(lambda: secret(settings.chat_url))
    if not settings.smtp_host or not settings.smtp_from:
        raise Misconfigured("review.notify is smtp, so review.smtp_host and review.smtp_from must be set")
    server = SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=settings.smtp_from,
        starttls=settings.smtp_starttls,
        user=settings.smtp_user,
    )
    return SmtpNotifier(server, (lambda: secret(settings.smtp_password)) if settings.smtp_password else None)


def _routes(reviews: Reviews) -> Routes:
    from .routes import routes

    return routes(reviews)


MODULE = Module(
    name="review",
    contract=Reviews,
    build=_build,
    settings=ReviewSettings,
    wants=(Events,),
    declares=(ReviewSpec,),
    routes=_routes,
)
