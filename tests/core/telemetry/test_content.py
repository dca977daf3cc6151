from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from stanchion.core.context import Context
from stanchion.core.errors import NotTrustworthy
from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage import Database
from stanchion.core.telemetry.content import ContentStore
from stanchion.core.telemetry.tables import content

both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def store(database: Database, clock: Any) -> ContentStore:
    await database.prepare(SECURITY_SCHEMA)
    vault = Vault(database, MasterKeys.single(b"m" * 32), clock=clock)
    return ContentStore(database, vault, clock, enabled=True)


def caller(tenant: str = "acme", request: str = "r1") -> Context:
    return Context(tenant=tenant, principal="key:1", request_id=request)


async def test_what_was_kept_is_read_back(store: ContentStore) -> None:
    await store.keep(caller(), "input", b"question")
    await store.keep(caller(), "output", b"answer")
    found = await store.content(caller(request="another"), "r1")
    assert [(c.kind, c.data) for c in found] == [("input", b"question"), ("output", b"answer")]


async def test_nothing_is_kept_unless_it_is_switched_on(database: Database, clock: Any) -> None:
    class NoSealer:
        async def encrypt(self, tenant: str, place: str, plaintext: bytes) -> bytes:
            raise AssertionError

        async def decrypt(self, tenant: str, place: str, sealed: bytes) -> bytes:
            raise AssertionError

    store = ContentStore(database, NoSealer(), clock)
    await store.keep(caller(), "input", b"question")
    assert await store.content(caller(), "r1") == []


async def test_another_tenant_finds_nothing(store: ContentStore) -> None:
    await store.keep(caller(), "input", b"question")
    assert await store.content(caller(tenant="globex"), "r1") == []


async def test_the_stored_bytes_do_not_hold_the_content(store: ContentStore, database: Database) -> None:
    await store.keep(caller(), "input", b"canary-datum")
    blobs = await database.read(lambda c: c.execute(select(content.c.blob)).scalars().all())
    assert all(b"canary" not in blob for blob in blobs)


@pytest.mark.parametrize("moved", [{"request_id": "r2"}, {"kind": "output"}, {"tenant": "globex"}])
@both
async def test_content_moved_to_another_row_or_tenant_does_not_open(
    store: ContentStore, database: Database, moved: dict[str, str]
) -> None:
    await store.keep(caller(), "input", b"question")
    await store.keep(caller(tenant="globex", request="other"), "input", b"so that globex has a key")
    await database.write(
        caller(), lambda c: c.execute(update(content).where(content.c.request_id == "r1").values(**moved))
    )
    reader = caller(tenant=moved.get("tenant", "acme"))
    with pytest.raises(NotTrustworthy):
        await store.content(reader, moved.get("request_id", "r1"))


async def test_content_has_its_own_retention(store: ContentStore, clock: Any) -> None:
    await store.keep(caller(), "input", b"old")
    clock.forward(7_200)
    await store.keep(caller(request="r2"), "input", b"new")
    assert await store.prune(clock.now() - timedelta(hours=1)) == 1
    assert await store.content(caller(), "r1") == []
    assert len(await store.content(caller(), "r2")) == 1
