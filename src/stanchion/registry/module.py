"""Builds the registry from a database, a blob store and the system's signing key."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import Field

from ..core.errors import Misconfigured
from ..core.module import Module, Parts, Settings
from .contract import Registry

if TYPE_CHECKING:
    from ..core.http import Routes
    from ..core.storage import Schema
    from .service import RegistryService


class RegistrySettings(Settings):
    """Settings of the registry."""

    poll_seconds: float = Field(
        1.0, gt=0, le=60, description="How long another process's change may stay unseen by watchers, in seconds."
    )
    abandoned_after_seconds: float = Field(
        3600.0, ge=60, description="Age at which uploads that no version needs are deleted at start, in seconds."
    )
    max_package_bytes: int = Field(2 << 30, gt=0, description="Most bytes of all files of one version together.")
    trusted_keys: tuple[str, ...] = Field(
        (), description="Ed25519 public keys (32 bytes in Base64) whose signatures count besides this system's own."
    )


async def _build(parts: Parts, settings: RegistrySettings) -> RegistryService:
    from .backends.sql import SqlStore
    from .packages import Packages
    from .seal import Seal
    from .service import RegistryService
    from .watching import Watch

    store = SqlStore(parts.database)
    packages = Packages(
        store,
        parts.blobs,
        clock=parts.clock,
        most_bytes=settings.max_package_bytes,
        abandoned_after=timedelta(seconds=settings.abandoned_after_seconds),
    )
    return RegistryService(
        store=store,
        packages=packages,
        seal=Seal(parts.signer, trusted=[_key(text) for text in settings.trusted_keys]),
        watch=Watch(store, poll_seconds=settings.poll_seconds),
        clock=parts.clock,
        development=parts.development,
    )


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Misconfigured("registry.trusted_keys holds something that is not Base64") from error
    if len(key) != 32:
        raise Misconfigured("registry.trusted_keys holds a key that is not 32 bytes long")
    return key


def _schema() -> Schema:
    from .backends.tables import SCHEMA

    return SCHEMA


def _routes(registry: Registry) -> Routes:
    from .routes import routes

    return routes(registry)


MODULE = Module(
    name="registry",
    contract=Registry,
    build=_build,
    settings=RegistrySettings,
    schema=_schema,
    routes=_routes,
)
