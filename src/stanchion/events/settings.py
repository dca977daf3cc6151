"""The settings of the bus, its workers and its ways to the outside."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..core.module import Settings


class EventsSettings(Settings):
    """Settings of the bus and its workers."""

    bus: Literal["database", "memory", "nats", "redis", "kafka"] = Field(
        "database", description="Where events lie: the house's own database, or a broker."
    )
    url: str = Field("", description="The broker, such as `nats://host:4222` or `redis://host:6379/0`.")
    workers: bool = Field(True, description="Whether this process runs the declared handlers.")
    backlog: int = Field(
        100_000, ge=1, description="By how many events a consumer may be behind before `publish` is refused."
    )
    lease_seconds: float = Field(
        10.0, ge=0.2, le=600, description="After which silence another process takes over a worker's share."
    )
    delivery_seconds: float = Field(30.0, ge=1, le=3_600, description="How long a taken event may stay unsettled.")
    schemas: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="What is done with events whose data do not fit the newest schema registered for their type.",
    )
    keep_days: float = Field(7.0, gt=0, le=3_650, description="For how long handled events stay, to be replayed.")
    handled_days: float | None = Field(
        None,
        ge=1,
        le=3_650,
        description="For how long it is noted that an event was handled; an event that is published again later is"
        " handled again. Without it: for ever.",
    )
    webhook_networks: tuple[str, ...] = Field(
        (), description="Networks such as `10.1.0.0/16` that webhooks may be sent to beside the public one."
    )
    webhook_failures: int = Field(
        20, ge=1, le=10_000, description="After how many failures in a row a webhook is disabled."
    )
    mqtt_url: str = Field(
        "", description="An MQTT broker whose messages become events, such as `mqtt://user@host:1883`; `mqtts` is TLS."
    )
    mqtt_password: str | None = Field(None, description="Reference to the broker's password: `env:NAME`.")
    mqtt_session: str = Field(
        "stanchion",
        min_length=1,
        max_length=64,
        description="Name of the session at the broker; each process has its own.",
    )
    mqtt_topics: dict[str, str] = Field(
        {}, description="Event types by topic filter: `{'plant/+/temperature': 'temperature.measured'}`."
    )
    mqtt_roles: tuple[str, ...] = Field((), description="Roles with which events from MQTT are handled.")
    mqtt_scopes: tuple[str, ...] = Field((), description="Scopes with which events from MQTT are handled.")
