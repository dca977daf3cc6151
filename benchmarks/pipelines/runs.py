"""Durable runs: steps a second beside bare DBOS, what ten thousand parked runs cost, how fast interrupted ones go on.

Run: python benchmarks/pipelines/runs.py [--postgres URL] [--steps 4000] [--waiting 10000] [--interrupted 1000]
[--no-dbos]; 0 leaves a part out.

Steps are timed side by side in one run, in turns, on new databases of the same engine with the same settings: SQLite in
WAL mode, every commit synced (synchronous=FULL), or PostgreSQL as it is. DBOS (installed by
benchmarks/rivals/install.py, unless it lies beside Stanchion) gets an engine in that mode, its own pickle serializer,
and no telemetry. The work is a run of async steps that add one to a number; `alone` is one run, `many` sixteen at once.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROUNDS = 3
MANY = 16
HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "rivals"))
import install  # noqa: E402 - lies beside the rivals


def declared() -> Any:
    """The pipelines that are measured."""
    from stanchion.pipelines import LiveRun
    from stanchion.testing.pipelines import Declared

    app = Declared()

    @app.stage()
    async def add(number: int) -> int:
        return number + 1

    @app.stage()
    async def slow(number: int) -> int:
        await asyncio.sleep(3_600 if os.environ.get("BENCH_HANG") else 0)
        return number + 1

    @app.pipeline("steps", version="1")
    async def steps(run: LiveRun, count: int) -> int:
        found = 0
        for _ in range(count):
            found = await run.step(add, found)
        return found

    @app.pipeline("waits", version="1")
    async def waits(run: LiveRun, number: int) -> int:
        await run.step(add, number)
        return int(await run.wait("go", timeout=86_400))

    @app.pipeline("cut", version="1")
    async def cut(run: LiveRun, number: int) -> int:
        return await run.step(slow, await run.step(add, number))

    return app


async def opened(url: str, *, concurrency: int = MANY, lease: float = 10.0) -> tuple[Any, Any]:
    """A working service and its database."""
    from stanchion.core.clock import SystemClock
    from stanchion.core.storage.open import open_blobs, open_database
    from stanchion.pipelines.backends.tables import SCHEMA
    from stanchion.testing.pipelines import pipeline_service

    database = open_database(url)
    await database.prepare(SCHEMA)
    service = await pipeline_service(
        database, open_blobs("memory:"), declared(), clock=SystemClock(), concurrency=concurrency, lease=lease, poll=0.5
    )
    await service.start()
    return service, database


def caller() -> Any:
    """Who starts the runs."""
    from stanchion.core.context import Context

    return Context("acme", "bench")


async def ours(url: str, steps: int) -> dict[str, float]:
    """Steps a second: one run, then many at once."""
    service, database = await opened(url)
    found = {}
    for name, runs in (("alone", 1), ("many", MANY)):
        began = time.perf_counter()
        started = [await service.begin(caller(), "steps", steps // runs) for _ in range(runs)]
        for run in started:
            while (await service.wait(caller(), run.id, seconds=60)).ended is None:
                pass
        found[name] = steps / (time.perf_counter() - began)
    await service.stop()
    await database.close()
    return found


async def theirs(url: str, steps: int) -> dict[str, float]:
    """The same by bare DBOS."""
    import sqlalchemy
    from dbos import DBOS

    config: dict[str, Any] = {
        "name": "bare", "system_database_url": url, "run_admin_server": False, "enable_otlp": False,
        "log_level": "ERROR",
    }  # fmt: skip
    if url.startswith("sqlite"):
        engine = sqlalchemy.create_engine(url)

        @sqlalchemy.event.listens_for(engine, "connect")
        def prepared(link: Any, record: object) -> None:
            link.isolation_level = "IMMEDIATE"
            for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                link.execute(f"PRAGMA {pragma}")

        config["system_database_engine"] = engine
    DBOS(config=config)  # type: ignore[arg-type]

    @DBOS.step()
    async def add(number: int) -> int:
        return number + 1

    @DBOS.workflow()
    async def flow(count: int) -> int:
        found = 0
        for _ in range(count):
            found = await add(found)
        return found

    DBOS.launch()
    found = {}
    for name, runs in (("alone", 1), ("many", MANY)):
        began = time.perf_counter()
        handles = [await DBOS.start_workflow_async(flow, steps // runs) for _ in range(runs)]
        for handle in handles:
            assert await handle.get_result() == steps // runs
        found[name] = steps / (time.perf_counter() - began)
    return found


def memory() -> float:
    """This process's resident megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def processor() -> float:
    """Seconds of a core that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def until(service: Any, status: str, count: int) -> None:
    """Return once so many runs are in that state."""
    found = -1
    while found < count:
        await asyncio.sleep(0.05)
        found = sum(queue.counts.get(status, 0) for queue in await service.queues(caller()))


async def waiting(url: str, count: int) -> dict[str, float]:
    """What parked runs cost: memory beyond an idle service, share of a core, and the way back."""
    service, database = await opened(url, concurrency=64)
    ctx, before, began = caller(), memory(), time.perf_counter()
    runs = [await service.begin(ctx, "waits", number) for number in range(count)]
    await until(service, "waiting", count)
    parking, grown = time.perf_counter() - began, memory() - before
    used, looked = processor(), time.perf_counter()
    await asyncio.sleep(20)
    share = (processor() - used) / (time.perf_counter() - looked)
    began = time.perf_counter()
    await service.signal(ctx, runs[-1].id, "go", 7)
    assert (await service.wait(ctx, runs[-1].id, seconds=60)).output == 7
    woken = time.perf_counter() - began
    await service.stop()
    await database.close()
    return {
        "runs": count, "parked_per_s": count / parking, "megabytes": grown, "core": share, "woken_s": woken
    }  # fmt: skip


async def hang(url: str, count: int) -> None:
    """Begin runs that hang in their second step, tell when all do, and wait to be killed."""
    service, _ = await opened(url, concurrency=count)
    for number in range(count):
        await service.begin(caller(), "cut", number)
    await until(service, "running", count)
    sys.stdout.write("hanging\n")
    sys.stdout.flush()
    await asyncio.sleep(3_600)


async def recovery(url: str, count: int) -> dict[str, float]:
    """Kill a process with so many runs under way; the seconds until the next one has ended them all."""
    command = [sys.executable, str(HERE), "--hang", url, "--interrupted", str(count)]
    first = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, "BENCH_HANG": "1"}
    )
    assert first.stdout is not None and await first.stdout.readline() == b"hanging\n"
    first.kill()
    await first.wait()
    began = time.perf_counter()
    service, database = await opened(url)
    await until(service, "done", count)
    seconds = time.perf_counter() - began
    await service.stop()
    await database.close()
    return {"runs": count, "seconds": seconds}


def python(name: str) -> str:
    """The side's own Python; DBOS is installed now if it was not."""
    beside = name == "ours" or importlib.util.find_spec("dbos") is not None
    return sys.executable if beside else str(install.install("dbos"))


def side(name: str, url: str, steps: int) -> dict[str, float]:
    """One side in a process of its own."""
    command = [python(name), str(HERE), "--side", name, url, "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def absent() -> str:
    """Why DBOS cannot be measured, empty: it can."""
    try:
        python("theirs")
    except subprocess.CalledProcessError as error:
        return f"not installed: {str(error.stderr or error.stdout)[-500:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)[-500:]
    return ""


def beside(place: Path, steps: int, server: str | None, *, rival: bool) -> dict[str, Any]:
    """Both sides in turns."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []} if rival else {"ours": []}
    for turn in range(ROUNDS):
        for name, rounds in found.items():
            with database(place, server, f"{name}{turn}") as url:
                rounds.append(side(name, url, steps))
    middle = {
        name: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }
    if not rival:
        return {"stanchion": middle["ours"]}
    return {
        "stanchion": middle["ours"], "dbos": middle["theirs"],
        "times_dbos": {key: middle["ours"][key] / middle["theirs"][key] for key in ("alone", "many")},
    }  # fmt: skip


@contextmanager
def database(place: Path, server: str | None, name: str) -> Iterator[str]:
    """The URL of a new database: a file, or one of a server that is dropped afterwards."""
    if server is None:
        yield f"sqlite:///{place}/{name}.db"
        return
    import psycopg

    base = f"bench_{name}_{os.getpid()}_{time.time_ns()}"
    with psycopg.connect(server, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {base}")
        try:
            yield f"{server.rsplit('/', 1)[0]}/{base}"
        finally:
            link.execute(f"DROP DATABASE {base} WITH (FORCE)")


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4_000)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--interrupted", type=int, default=1_000)
    parser.add_argument("--postgres")
    parser.add_argument("--no-dbos", action="store_true")
    parser.add_argument("--side", nargs=2)
    parser.add_argument("--hang")
    given = parser.parse_args()
    if given.side is not None:
        work = ours if given.side[0] == "ours" else theirs
        print(json.dumps(asyncio.run(work(given.side[1], given.steps))), flush=True)
        os._exit(0)  # DBOS leaves threads behind
    if given.hang is not None:
        asyncio.run(hang(given.hang, given.interrupted))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found: dict[str, Any] = {}
        for name, server in (("sqlite", None), ("postgres", given.postgres)):
            if name == "sqlite" or server:
                found[name] = engine(place, server, given)
    print(json.dumps(found, indent=1))


def engine(place: Path, server: str | None, given: argparse.Namespace) -> dict[str, Any]:
    """What is measured of one engine; 0 leaves a part out."""
    found: dict[str, Any] = {}
    if given.steps:
        missing = "" if given.no_dbos else absent()
        found["steps_per_s"] = beside(place, given.steps, server, rival=not (given.no_dbos or missing))
        if missing:
            found["steps_per_s"]["missing"] = missing
    if given.waiting:
        with database(place, server, "waiting") as url:
            found["waiting"] = asyncio.run(waiting(url, given.waiting))
    if given.interrupted:
        with database(place, server, "recovery") as url:
            found["recovery"] = asyncio.run(recovery(url, given.interrupted))
    return found


if __name__ == "__main__":
    main()
