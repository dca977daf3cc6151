"""A registry of the tests' own, with its stores and its clock at hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta

import pytest

from stanchion.core.security.signing import Signer
from stanchion.core.storage import Blobs, Database
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA
from stanchion.registry.packages import Packages
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.testing.clock import FakeClock


@dataclass
class Bench:
    """One database and one blob store, and registries over them."""

    database: Database
    blobs: Blobs
    clock: FakeClock
    signer: Signer

    async def close(self) -> None:
        await self.blobs.close()
        await self.database.close()

    def registry(
        self,
        *,
        development: bool = False,
        seal: Seal | None = None,
        blobs: Blobs | None = None,
        poll_seconds: float = 60,
        most_bytes: int = 1 << 20,
    ) -> RegistryService:
        store = SqlStore(self.database)
        return RegistryService(
            store=store,
            packages=Packages(
                store,
                blobs or self.blobs,
                clock=self.clock,
                most_bytes=most_bytes,
                abandoned_after=timedelta(hours=1),
            ),
            seal=seal or Seal(self.signer),
            watch=Watch(store, poll_seconds=poll_seconds),
            clock=self.clock,
            development=development,
        )


async def new_bench() -> Bench:
    database, blobs = open_database("memory:"), open_blobs("memory:")
    await database.prepare(SCHEMA)
    return Bench(database, blobs, FakeClock(), Signer.generate())


@pytest.fixture
def make_bench() -> Callable[[], Coroutine[None, None, Bench]]:
    """Makes a bench for whoever closes it."""
    return new_bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = await new_bench()
    yield made
    await made.close()


@pytest.fixture
def registry(bench: Bench) -> RegistryService:
    return bench.registry()
