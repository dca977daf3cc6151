"""A process that changes things and records it, until it has made so many or is killed.

Run as: writer.py URL FOLDER NAME COUNT. Prints `up`, `ready` once the log is open, then NAME-NUMBER for each
change that was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, insert

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Effect
from stanchion.core.security.audit.file_sink import FileSink
from stanchion.core.security.audit.journal import AuditJournal
from stanchion.core.security.audit.service import AuditLog
from stanchion.core.security.signing import Signer
from stanchion.core.storage.contract import Database
from stanchion.core.storage.open import open_database
from stanchion.core.storage.schema import Schema

THINGS = Table("things", MetaData(), Column("id", String(50), primary_key=True))


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def change(db: Database, name: str) -> None:
    effect = Effect("things:make", "write", name, "acme", "key:child", "r", "t")

    def work(connection: Connection) -> None:
        connection.execute(insert(THINGS).values(id=name))

    await db.write(Context(tenant="acme", principal="key:child", effect=effect), work)
    say(name)


async def main(url: str, folder: Path, name: str, count: int) -> None:
    say("up")
    clock = SystemClock()
    signer = Signer.load_or_create(folder / "audit.key")
    journal = AuditJournal(signer, [FileSink(folder / "checkpoints.jsonl", clock)], clock)
    db = open_database(url, journal=journal)
    log = AuditLog(db, journal, clock)
    await db.prepare(Schema("things", THINGS.metadata))
    await log.prepare()
    await log.heal()
    say("ready")
    for start in range(0, count, 7):
        await asyncio.gather(*(change(db, f"{name}-{n}") for n in range(start, min(start + 7, count))))
    await db.close()
    await log.close()


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
