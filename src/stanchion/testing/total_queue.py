"""The judge of every bus: what was attempted, acknowledged and done, while processes are killed and frozen.

Publishers and workers are processes of their own. A publisher writes down what it is about to publish and what was
acknowledged; a worker's handler inserts a row in the transaction of its commit. At the end the rows are compared:
acknowledged and not done is lost, done twice is duplicated, never attempted is unexpected, and within a key the order
of the rows is the order of publication. After Jepsen's checker `total-queue` (jepsen.checker, Kyle Kingsbury).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, text

from stanchion.core.context import Context, system_context
from stanchion.core.errors import StanchionError
from stanchion.core.storage.open import open_database
from stanchion.events import Commit, Event, HandlerSpec

from .events import caller, running

CONSUMER = "judged"
_CTX = system_context("acme", task="judge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is played: so many events over so many keys, and how often somebody is killed or frozen.

    `url` is the house's database, `settings` are those of the events module, such as another bus.
    """

    url: str
    events: int
    keys: int
    workers: int
    kills: int
    publishers: int = 2
    at_once: int = 20
    lease_seconds: float = 1.5
    seed: int = 7
    patience: float = 120.0
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Verdict:
    """What the rows say; a fault is named by key and number."""

    attempted: int = 0
    acknowledged: int = 0
    done: int = 0
    kills: int = 0
    freezes: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, doubled, made up or moved."""
        return not (self.lost or self.duplicated or self.unexpected or self.reordered)


def judge(attempted: set[str], acknowledged: set[str], rows: Sequence[str]) -> Verdict:
    """Compare what was sent with the rows, in the order in which they were committed. Names are `key:number`."""
    seen: set[str] = set()
    last: dict[str, int] = defaultdict(lambda: -1)
    verdict = Verdict(len(attempted), len(acknowledged), len(rows))
    for name in rows:
        key, _, number = name.rpartition(":")
        if name in seen:
            verdict.duplicated.append(name)
        elif int(number) < last[key]:
            verdict.reordered.append(name)
        last[key] = max(last[key], int(number))
        seen.add(name)
    verdict.lost = sorted(acknowledged - seen)
    verdict.unexpected = sorted(seen - attempted)
    return verdict


async def play(plan: Plan, folder: Path) -> Verdict:
    """Publish, kill, freeze and start again until all is done, or the patience after the last kill is over."""
    database = open_database(plan.url)
    await database.write(_CTX, _make_table)
    order = folder / "plan.json"
    order.write_text(json.dumps({name: getattr(plan, name) for name in Plan.__slots__}))
    staff = Staff(plan, order, folder)
    try:
        await staff.begin()
        kills, freezes = await staff.torment()
        await staff.finish_publishing()
        wanted = staff.acknowledged()
        until = time.monotonic() + plan.patience
        while (await database.read(_count)) < len(wanted) and time.monotonic() < until:
            await asyncio.sleep(0.2)
            staff.replace_dead()
        # Whoever would do something twice gets the time for it: more than a lease, with all of them awake.
        await asyncio.sleep(2 * plan.lease_seconds)
        verdict = judge(staff.attempted(), staff.acknowledged(), await database.read(_rows))
        verdict.kills, verdict.freezes = kills, freezes
        return verdict
    finally:
        staff.end()
        await database.close()


class Drawn:
    """Numbers from 0 to 1 that are the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn = 0

    def __call__(self) -> float:
        self._drawn += 1
        digest = sha256(f"{self._seed}:{self._drawn}".encode()).digest()
        return int.from_bytes(digest[:8]) / 2**64


class Staff:
    """The processes under trial."""

    def __init__(self, plan: Plan, order: Path, folder: Path) -> None:
        self._plan = plan
        self._order = order
        self._folder = folder
        self._random = Drawn(plan.seed)
        self._publishers: dict[int, asyncio.subprocess.Process] = {}
        self._workers: dict[int, asyncio.subprocess.Process] = {}
        self._log = (folder / "staff.log").open("ab")
        self._starting: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Start all of them; the first worker makes the consumer known before anything is published."""
        await self._start(self._workers, 0, "work")
        async with asyncio.timeout(self._plan.patience):
            await self._ready()
        for number in range(1, self._plan.workers):
            await self._start(self._workers, number, "work")
        for number in range(self._plan.publishers):
            await self._start(self._publishers, number, "publish")

    async def torment(self) -> tuple[int, int]:
        """Kill or freeze somebody at random moments, as often as planned; how many of each."""
        done = [0, 0]
        while sum(done) < self._plan.kills:
            await asyncio.sleep(0.05 + 0.55 * self._random())
            self.replace_dead()
            crowd = self._publishers if self._random() < 0.2 else self._workers
            number = sorted(crowd)[int(self._random() * len(crowd))] if crowd else None
            if number is None or crowd[number].returncode is not None:
                continue
            frozen = crowd is self._workers and self._random() < 0.3
            if frozen:
                _send(crowd[number], signal.SIGSTOP)
                await asyncio.sleep(1.5 * self._plan.lease_seconds)
                _send(crowd[number], signal.SIGCONT)
            else:
                _send(crowd[number], signal.SIGKILL)
                await crowd[number].wait()
            done[frozen] += 1
        return done[0], done[1]

    async def finish_publishing(self) -> None:
        """Wait until every publisher has had each of its events acknowledged."""
        while any(process.returncode != 0 for process in self._publishers.values()):
            self.replace_dead()
            await asyncio.sleep(0.1)

    def replace_dead(self) -> None:
        """Start whoever ended before its time."""
        for number, process in list(self._workers.items()):
            if process.returncode is not None:
                del self._workers[number]
                self._later(self._workers, number, "work")
        for number, process in list(self._publishers.items()):
            if process.returncode not in (None, 0):
                del self._publishers[number]
                self._later(self._publishers, number, "publish")

    def attempted(self) -> set[str]:
        """What publishers were about to publish."""
        return self._told("attempted")

    def acknowledged(self) -> set[str]:
        """What they had a receipt for."""
        return self._told("acknowledged")

    def end(self) -> None:
        """End all of them."""
        for process in (*self._publishers.values(), *self._workers.values()):
            _send(process, signal.SIGCONT)
            _send(process, signal.SIGKILL)
        self._log.close()

    async def _ready(self) -> None:
        for _ in count():
            if (self._folder / "ready").exists():
                return
            await asyncio.sleep(0.05)

    def _later(self, crowd: dict[int, asyncio.subprocess.Process], number: int, role: str) -> None:
        task = asyncio.ensure_future(self._start(crowd, number, role))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, crowd: dict[int, asyncio.subprocess.Process], number: int, role: str) -> None:
        crowd[number] = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stanchion.testing.total_queue", role, str(self._order), str(number),
            stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def _told(self, what: str) -> set[str]:
        found: set[str] = set()
        for path in self._folder.glob(f"{what}-*.txt"):
            # A line that was cut by a kill is no acknowledgement.
            found |= {line for line in path.read_text().split("\n")[:-1] if line}
        return found


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        try:
            process.send_signal(number)
        except ProcessLookupError:
            return


def _make_table(connection: Connection) -> None:
    number = "BIGSERIAL" if connection.dialect.name == "postgresql" else "INTEGER"
    connection.execute(text(f"CREATE TABLE effects (number {number} PRIMARY KEY, name TEXT NOT NULL)"))


def _count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM effects")).scalar_one())


def _rows(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute(text("SELECT name FROM effects ORDER BY number"))]


async def work(plan: Plan, folder: Path) -> None:
    """A worker: one row for each event, in the transaction of its commit."""

    async def handle(ctx: Context, event: Event, commit: Commit) -> None:
        commit.write(lambda c: _insert(c, event.id))

    spec = HandlerSpec(name=CONSUMER, types=("judged.*",), function=handle, attempts=50, base=0.05, maximum=0.5)
    async with running(plan.url, spec, durable=True, lease_seconds=plan.lease_seconds, **plan.settings):
        (folder / "ready").touch()
        for _ in count():
            await asyncio.sleep(1)
            if os.getppid() == 1:
                return  # whoever plays has ended, and nobody would end this worker


def _insert(connection: Connection, name: str) -> None:
    connection.execute(text("INSERT INTO effects (name) VALUES (:name)"), {"name": name})


async def publish(plan: Plan, folder: Path, number: int) -> None:
    """A publisher: its keys in turn; what is not acknowledged is published again under the same ids, and in order."""
    attempted = _told(folder / f"attempted-{number}.txt")
    acknowledged = _told(folder / f"acknowledged-{number}.txt")
    keys = [key for key in range(plan.keys) if key % plan.publishers == number]
    mine = [f"{keys[n % len(keys)]}:{n // len(keys)}" for n in range(plan.events // plan.publishers)]
    left = [name for name in mine if name not in acknowledged]
    ctx = caller()
    with (
        (folder / f"attempted-{number}.txt").open("a") as tries,
        (folder / f"acknowledged-{number}.txt").open("a") as receipts,
    ):
        async with running(plan.url, durable=True, workers=False, **plan.settings) as bus:
            for start in range(0, len(left), plan.at_once):
                names = left[start : start + plan.at_once]
                _note(tries, [name for name in names if name not in attempted])
                events = [
                    Event(type="judged.sent", source="/judge", id=name, subject=name.split(":")[0]) for name in names
                ]  # fmt: skip
                while True:
                    try:
                        await bus.publish(ctx, events)
                        break
                    except StanchionError:
                        await asyncio.sleep(0.2)
                _note(receipts, names)


def _told(path: Path) -> set[str]:
    if not path.exists():
        return set()
    whole = path.read_text()
    if whole and not whole.endswith("\n"):
        # Cut by a kill in the middle of a line: what follows must not be written behind it.
        whole = whole[: whole.rfind("\n") + 1]
        path.write_text(whole)
    return set(whole.split("\n")) - {""}


def _note(file: IO[str], names: Sequence[str]) -> None:
    file.write("".join(f"{name}\n" for name in names))
    file.flush()


def main() -> None:
    """Run as one of the staff: `work` or `publish`, the plan's file, and which one it is."""
    role, order, number = sys.argv[1:4]
    path = Path(order)
    plan = Plan(**json.loads(path.read_text()))
    if os.getppid() == 1:
        return  # whoever plays has ended
    asyncio.run(work(plan, path.parent) if role == "work" else publish(plan, path.parent, int(number)))


if __name__ == "__main__":
    main()
