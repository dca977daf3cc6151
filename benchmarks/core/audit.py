"""What the audit log costs: appending with durable group commit, verifying, proving; printed as one JSON line.

Run: python benchmarks/core/audit.py [events]. The ratios are taken within the run: appending against bare sqlite3
inserts of the same rows in commits of the same size, verifying against bare SHA-256 of the same bodies. On a machine
that others use too, the rates by processor time are the ones to compare.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Effect
from stanchion.core.security.audit.file_sink import FileSink
from stanchion.core.security.audit.journal import AuditJournal
from stanchion.core.security.audit.service import AuditLog
from stanchion.core.security.signing import Signer
from stanchion.core.storage.open import open_database

WRITERS = 2_560  # effects under way at once; the database makes commits of at most 256


def effect(number: int) -> Effect:
    return Effect(
        action="registry:promote",
        kind="write",
        resource=f"Model::churn-{number % 7}",
        tenant=f"tenant-{number % 3}",
        principal="key:abcdef",
        request_id=f"{number:024x}",
        trace_id=f"{number:032x}",
        facts={"version": "1.2.3", "number": number},
    )


async def ours(folder: Path, events: int) -> dict[str, float]:
    clock, signer = SystemClock(), Signer.generate()
    journal = AuditJournal(signer, [FileSink(folder / "checkpoints.jsonl", clock)], clock)
    db = open_database(f"sqlite://{folder}/audit.db", journal=journal)
    log = AuditLog(db, journal, clock)
    await log.prepare()
    await log.heal()
    started, cpu = time.perf_counter(), time.process_time()
    for first in range(0, events, WRITERS):
        numbers = range(first, min(events, first + WRITERS))
        await asyncio.gather(*(log.record(effect(number), "done") for number in numbers))
    appended, append_cpu = time.perf_counter() - started, time.process_time() - cpu
    ctx = Context(tenant="tenant-0", principal="benchmark")
    cpu = time.process_time()
    report = await log.verify(ctx)
    verify_cpu = time.process_time() - cpu
    assert report.ok, report.faults
    started = time.perf_counter()
    await log.prove(ctx, events // 2 // 3 * 3)
    proved = time.perf_counter() - started
    await db.close()
    await log.close()
    return {
        "append_per_second": events / appended,
        "append_per_cpu_second": events / append_cpu,
        "events_per_commit": events / report.checkpoints,
        "verify_per_second": events / report.seconds,
        "verify_per_cpu_second": events / verify_cpu,
        "prove_milliseconds": proved * 1000,
    }


def bare(folder: Path, per_commit: int) -> dict[str, float]:
    """The same rows without an audit log around them."""
    rows = sqlite3.connect(folder / "audit.db").execute("SELECT * FROM audit_events ORDER BY seq").fetchall()
    link = sqlite3.connect(folder / "bare.db", isolation_level=None)
    link.execute("PRAGMA journal_mode = WAL")
    link.execute("PRAGMA synchronous = FULL")
    link.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, tenant TEXT, at, action TEXT, hash BLOB, body BLOB)")
    link.execute("CREATE INDEX events_tenant ON events (tenant, seq, action)")
    started = time.perf_counter()
    for first in range(0, len(rows), per_commit):
        link.execute("BEGIN IMMEDIATE")
        link.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows[first : first + per_commit])
        link.execute("COMMIT")
    inserted = time.perf_counter() - started
    cpu = time.process_time()
    for row in rows:
        hashlib.sha256(row[5]).digest()
    hashed = time.process_time() - cpu
    return {"sqlite3_inserts_per_second": len(rows) / inserted, "sha256_per_cpu_second": len(rows) / hashed}


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = asyncio.run(ours(folder, events))
        result |= bare(folder, round(result["events_per_commit"]))
    result["append_of_bare_inserts"] = result["append_per_second"] / result["sqlite3_inserts_per_second"]
    result["verify_of_bare_sha256"] = result["verify_per_cpu_second"] / result["sha256_per_cpu_second"]
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(
        json.dumps(
            {"benchmark": "core/audit", "events": events, **{k: round(v, 3) for k, v in result.items()}} | machine
        )
    )


main()
