"""A bus for tests: the whole module over a database of the test's own, without a house around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stanchion.core.clock import Clock, SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.module import Parts, load
from stanchion.core.security.signing import Signer
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.metrics import Metrics
from stanchion.core.telemetry.spans import SpanRecorder
from stanchion.events import Events

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(sha256(b"of tests, and of no house").digest()))


def caller(tenant: str = "acme", principal: str = "ada", *scopes: str) -> Context:
    """A caller with these scopes."""
    return Context(tenant, principal, Rights(scopes=frozenset(scopes or ("events:*",))))


def parts(
    database: Database, declared: Sequence[object], *, clock: Clock | None = None, spans: SpanRecorder | None = None
) -> Parts:
    """What the module is built from, with nothing that it does not use."""
    unused: Any = None
    return Parts(
        clock=clock or SystemClock(),
        database=database,
        keyvalue=unused,
        blobs=unused,
        metrics=Metrics(),
        signer=SIGNER,
        vault=unused,
        folder="",
        system_file="",
        development=True,
        tenant="acme",
        declared=declared,
        spans=spans,
    )


@asynccontextmanager
async def running(
    url: str,
    /,
    *declared: object,
    durable: bool = False,
    spans: SpanRecorder | None = None,
    **settings: Any,
) -> AsyncIterator[Events]:
    """The service over the database at `url`, started; its gate is left out."""
    module = load("events")
    database = open_database(url, durable=durable)
    try:
        if module.schema is not None:
            await database.prepare(module.schema())
        made = parts(database, declared, spans=spans)
        chosen = module.settings(**{"lease_seconds": 2.0, **settings})
        service = await module.build(made, chosen)
        await service.start()
        try:
            yield service
        finally:
            await service.stop()
    finally:
        await database.close()


def sqlite_url(folder: Path) -> str:
    """A database file in the folder."""
    return f"sqlite://{folder}/state.db"
