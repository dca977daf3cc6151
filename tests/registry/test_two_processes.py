"""Two processes over one database take turns: no number twice, no change passed by, one version in production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.storage.open import open_blobs, open_database
from stanchion.registry.backends.tables import SCHEMA
from stanchion.testing.registry_cases import ADA, FILES, draft


@pytest.fixture(params=["sqlite", "postgresql"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path, make_bench: Any) -> AsyncIterator[Sequence[Any]]:
    url = f"sqlite://{tmp_path}/state.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    one, blobs = await make_bench(), open_blobs("memory:")
    await one.close()
    databases = [open_database(url, durable=False) for _ in range(2)]
    registries = []
    for database in databases:
        await database.prepare(SCHEMA)
        one.database, one.blobs = database, blobs
        registries.append(one.registry(development=True, poll_seconds=0.02))
    yield registries
    for registry, database in zip(registries, databases, strict=True):
        await registry.stop()
        await database.close()
    await blobs.close()


async def test_registrations_of_both_get_their_own_numbers_and_are_all_watched(pair: Sequence[Any]) -> None:
    async def watched() -> list[tuple[int, str]]:
        stream, found = pair[0].watch(ADA, since=0), []
        while len(found) < 30:
            change = await anext(stream)
            found.append((change.cursor, change.version))
        return found

    watching = asyncio.create_task(watched())
    made = await asyncio.gather(
        *(pair[number % 2].register(ADA, draft(weights=f"w{number}"), FILES) for number in range(30))
    )
    wanted = [f"1.{number}.0" for number in range(30)]
    assert sorted((version.version for version in made), key=lambda v: int(v.split(".")[1])) == wanted
    async with asyncio.timeout(60):
        assert await watching == list(enumerate(wanted, start=1))


async def test_the_same_package_from_both_is_one_version(pair: Sequence[Any]) -> None:
    made = await asyncio.gather(*(pair[number % 2].register(ADA, draft(), FILES) for number in range(8)))
    assert {version.version for version in made} == {"1.0.0"}
    assert len(await pair[0].versions(ADA, "churn")) == 1


async def test_promotions_by_both_leave_one_version_in_production(pair: Sequence[Any]) -> None:
    for number in range(6):
        await pair[0].register(ADA, draft(weights=f"w{number}"), FILES)
    await asyncio.gather(
        *(
            pair[number % 2].promote(ADA, "churn", f"1.{number}.0", to="production", evidence="good")
            for number in range(6)
        )
    )
    for registry in pair:
        stages = sorted(version.stage for version in await registry.versions(ADA, "churn"))
        assert stages == ["production", *["staging"] * 5]
    done = await pair[1].promotions(ADA, "churn")
    assert [promotion.replaces for promotion in done] == [promotion.version for promotion in done[1:]] + [None]
