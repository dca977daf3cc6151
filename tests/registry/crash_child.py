"""Registers, promotes and rolls back for ever, telling on stdout what has been acknowledged, until it is killed.

Run as a program by test_crash.py: arguments are the folder of the stores and a number that no former run had.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from stanchion.core.clock import SystemClock
from stanchion.core.errors import Conflict
from stanchion.core.security.signing import Signer
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA
from stanchion.registry.packages import Packages
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.testing.registry_cases import ADA, BOB, draft


def tell(*words: str) -> None:
    print(*words, flush=True)


async def main(folder: Path, run: str) -> None:
    database = open_database(f"sqlite://{folder}/state.db")
    await database.prepare(SCHEMA)
    store, clock = SqlStore(database), SystemClock()
    packages = Packages(
        store,
        open_blobs((folder / "blobs").as_uri()),
        clock=clock,
        most_bytes=1 << 30,
        abandoned_after=timedelta(hours=1),
    )
    seal = Seal(Signer.load_or_create(folder / "signing.key"))
    watch = Watch(store, poll_seconds=1)
    registry = RegistryService(store=store, packages=packages, seal=seal, watch=watch, clock=clock, development=False)
    await registry.start()
    tell("ready")
    step = 0
    while True:
        step += 1
        # One content that every version has, and one of its own.
        files = {"shared": b"the same", "own": f"{run} {step}".encode() * 2000}
        made = await registry.register(ADA, draft(weights=f"{run} {step}"), files)
        tell("registered", made.version)
        await registry.promote(ADA, "churn", made.version, to="staging")
        await registry.promote(ADA, "churn", made.version, to="production", evidence="good")
        await registry.promote(BOB, "churn", made.version, to="production")
        tell("production", made.version)
        if step % 3 == 0:
            try:
                tell("production", (await registry.rollback(ADA, "churn", reason="bad")).version)
            except Conflict:
                tell("nothing to go back to")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
