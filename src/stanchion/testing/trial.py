"""The trial of a bus: who publishes and works, how they and the servers they use are killed, and what is compared."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Protocol


class Server(Protocol):
    """A broker or database under trial. All calls block."""

    keeps: bool
    """Whether what it has acknowledged outlives its process; one that does not is frozen and never killed."""
    freezes: bool
    """Whether it can be frozen."""

    def start(self) -> None:
        """Start it over what it kept, and return when it listens."""
        ...

    def kill(self) -> None:
        """End it as a loss of its process would."""
        ...

    def freeze(self) -> None:
        """Let it stand still, with all connections open."""
        ...

    def thaw(self) -> None:
        """Let it go on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is played: so many events over so many keys, and how often somebody is killed or frozen.

    `url` is the house's database, `settings` are those of the events module, such as another bus. A publisher waits
    `pause` seconds after each call, so that kills meet it at work.
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
    pause: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Verdict:
    """What the rows say; a fault is named by key and number."""

    attempted: int = 0
    acknowledged: int = 0
    done: int = 0
    kills: int = 0
    freezes: int = 0
    outages: int = 0
    seconds: float = 0.0
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


@dataclass(slots=True)
class Disturbed:
    """How many processes were killed or frozen, and how many servers were away."""

    kills: int = 0
    freezes: int = 0
    outages: int = 0


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

    def __init__(self, plan: Plan, order: Path, folder: Path, servers: Sequence[Server] = ()) -> None:
        self._plan = plan
        self._servers = servers
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

    async def torment(self) -> Disturbed:
        """Kill or freeze somebody at random moments, as often as planned; how often each was done."""
        done = Disturbed()
        for number in count():
            if done.kills + done.freezes + done.outages == self._plan.kills:
                break
            await asyncio.sleep(0.05 + 0.55 * self._random())
            self.replace_dead()
            if self._servers and number % 3 == 1:
                await self._outage()
                done.outages += 1
                continue
            crowd = self._publishers if self._random() < 0.2 else self._workers
            whom = self._some(crowd)
            if whom is None:
                continue
            if crowd is self._workers and self._random() < 0.3:
                _send(whom, signal.SIGSTOP)
                await asyncio.sleep(1.5 * self._plan.lease_seconds)
                _send(whom, signal.SIGCONT)
                done.freezes += 1
            else:
                _send(whom, signal.SIGKILL)
                await whom.wait()
                done.kills += 1
        return done

    async def _outage(self) -> None:
        """One server is away for a while, or stands still. Often a worker dies meanwhile, and another one starts."""
        server = self._servers[int(self._random() * len(self._servers))]
        frozen = server.freezes and (not server.keeps or self._random() < 0.3)
        await asyncio.to_thread(server.freeze if frozen else server.kill)
        worker = self._some(self._workers)
        if worker is not None and self._random() < 0.5:
            _send(worker, signal.SIGKILL)
            await worker.wait()
            self.replace_dead()
        await asyncio.sleep(0.2 + 2.3 * self._random())
        await asyncio.to_thread(server.thaw if frozen else server.start)

    def _some(self, crowd: dict[int, asyncio.subprocess.Process]) -> asyncio.subprocess.Process | None:
        """One who runs, if the draw meets one."""
        one = crowd[sorted(crowd)[int(self._random() * len(crowd))]] if crowd else None
        return one if one is not None and one.returncode is None else None

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

    async def end(self) -> None:
        """End all of them."""
        await asyncio.gather(*self._starting, return_exceptions=True)
        for process in (*self._publishers.values(), *self._workers.values()):
            _send(process, signal.SIGCONT)
            _send(process, signal.SIGKILL)
            await process.wait()
        self._log.close()

    async def _ready(self) -> None:
        for _ in count():
            if (self._folder / "ready").exists():
                return
            if self._workers[0].returncode is not None:
                raise RuntimeError(f"the first worker ended: {(self._folder / 'staff.log').read_text()[-2_000:]}")
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
