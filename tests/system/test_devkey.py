"""The development key: the same at every start, private, and replaced where it works no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import NotAuthenticated
from stanchion.core.security.keyformat import id_of
from stanchion.core.security.keys import KeyService
from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.security.verifier import KeyVerifier
from stanchion.core.storage.contract import Database
from stanchion.core.storage.open import open_database
from stanchion.system.devkey import development_key
from stanchion.testing.clock import FakeClock

ADMIN = Context(tenant="default", principal="key:root", rights=Rights(roles=frozenset({"admin"})))
PEPPER = bytes(range(32))


@dataclass
class Keys:
    database: Database
    clock: FakeClock

    def __post_init__(self) -> None:
        self.verifier = self.new_verifier()
        self.service = KeyService(self.database, verifier=self.verifier, pepper=PEPPER, clock=self.clock)

    def new_verifier(self) -> KeyVerifier:
        """What another process would hold."""
        return KeyVerifier(self.database, pepper=PEPPER, clock=self.clock)


@pytest.fixture
async def keys() -> AsyncIterator[Keys]:
    database = open_database("memory:")
    await database.prepare(SECURITY_SCHEMA)
    yield Keys(database, FakeClock())
    await database.close()


async def test_the_development_key_stays_the_same_and_is_private(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "dev.key"
    first = await development_key(path, tenant="default", keys=keys.service, verifier=keys.verifier)
    assert path.stat().st_mode & 0o777 == 0o600
    again = await development_key(path, tenant="default", keys=keys.service, verifier=keys.new_verifier())
    assert first == again == path.read_text().strip()
    assert (await keys.verifier.verify(first)).rights.roles == {"admin"}


async def test_a_development_key_whose_file_was_never_written_is_replaced(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "dev.key"
    lost = await development_key(path, tenant="default", keys=keys.service, verifier=keys.verifier)
    path.unlink()
    found = await development_key(path, tenant="default", keys=keys.service, verifier=keys.verifier)
    await keys.verifier.verify(found)
    with pytest.raises(NotAuthenticated):
        await keys.verifier.verify(lost)


async def test_a_development_key_file_whose_key_is_gone_is_replaced(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "dev.key"
    path.touch(mode=0o600)
    first = await development_key(path, tenant="default", keys=keys.service, verifier=keys.verifier)
    await keys.service.revoke(ADMIN, id_of(first) or "")
    second = await development_key(path, tenant="default", keys=keys.service, verifier=keys.verifier)
    assert first != second
    await keys.verifier.verify(second)
