"""Servers of a test's own, as processes that it may kill, freeze and start again over a folder that outlives them."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psycopg

PATIENCE = 60.0
TOPIC = "judged"
_CLUSTERS = "/usr/lib/postgresql"
Kind = Literal["nats", "redis", "postgres", "kafka"]


class Server:
    """A process that listens on a port of its own. `url` names it, whether it runs or not.

    With `keeps` false it keeps its content in its memory: it can be frozen, but a kill would be a loss by definition.
    """

    def __init__(
        self, url: str, command: Sequence[str], port: int, folder: Path, *, user: str | None = None,
        keeps: bool = True, freezes: bool = True,
    ) -> None:  # fmt: skip
        self.url = url
        self.keeps = keeps
        self.freezes = freezes
        self._command, self._port, self._user = command, port, user
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens. Raises TimeoutError."""
        until = time.monotonic() + PATIENCE
        self._run()
        while not self._listens():
            if self._gone():
                # What a killed server leaves behind (children, a lock) may be in the way for a moment.
                self._run()
            if time.monotonic() > until:
                self.end()
                told = self._log.read_text(errors="replace")[-2_000:]
                raise TimeoutError(f"{self._command[0]} does not listen after {PATIENCE:g} s: {told}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a loss of its process would, with the processes that it began; it is gone when this returns."""
        children = [] if self._gone() or self._process is None else _children(self._process.pid)
        self._signal(signal.SIGKILL)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(PATIENCE)

    def freeze(self) -> None:
        """Let it stand still, with all connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it for good, frozen or not."""
        self.thaw()
        self.kill()

    def _run(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, user=self._user,
            )  # fmt: skip

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return not self._gone()
        return False

    def _gone(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _signal(self, number: signal.Signals) -> None:
        if not self._gone() and self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


def _children(pid: int) -> list[int]:
    """The processes that it began and that live."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []  # not on Linux, or gone: they end by themselves when they notice


class Postgres(Server):
    """Its first process listens before those that serve can: a connection is refused while it recovers."""

    def _listens(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=1):
            return not self._gone()
        return False


class MockKafka(Server):
    """librdkafka's mock cluster of three brokers in a process of its own. What it holds ends with the process."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / "kafka.txt"
        command = [sys.executable, __file__, str(self._place)]
        super().__init__("", command, 0, folder, keeps=False)

    def _listens(self) -> bool:
        if self._place.exists():
            self.url = f"kafka://{self._place.read_text()}?name={TOPIC}&durable=no"
        return bool(self.url)


def program(kind: Kind) -> str | None:
    """The server's program on this machine, None where there is none. Kafka's mock cluster is a library."""
    if kind == "kafka":
        return sys.executable
    if kind == "postgres":
        found = sorted(Path(_CLUSTERS).glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
        return shutil.which("postgres") or (str(found[-1]) if found else None)
    return shutil.which(f"{kind}-server")


def private_server(kind: Kind, folder: Path) -> Server:
    """A server of that kind over the folder, not started. It keeps what it acknowledges, but for Kafka's.

    Raises FileNotFoundError where the machine has no such server.
    """
    found, port = program(kind), free_port()
    if found is None:
        raise FileNotFoundError(f"there is no {kind} server here")
    match kind:
        case "nats":
            command = [found, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)]
            return Server(f"nats://127.0.0.1:{port}", command, port, folder)
        case "redis":
            keeps = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
            place = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
            return Server(f"redis://127.0.0.1:{port}/0", [found, *place, *keeps], port, folder)
        case "postgres":
            return _postgres(found, folder, port)
        case "kafka":
            return MockKafka(folder)


def _postgres(found: str, folder: Path, port: int) -> Server:
    """A cluster made by initdb. PostgreSQL refuses to run as root, so root lends it the user `postgres`.

    Only its first process can be frozen, which does not stop those that serve: it is killed, never frozen.
    """
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
        _lets_in(folder, pwd.getpwnam(user).pw_uid)
    data = folder / "cluster"
    initdb = [str(Path(found).with_name("initdb")), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*initdb, "--locale=C"], check=True, stdout=subprocess.DEVNULL, user=user, timeout=PATIENCE)
    command = [found, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    return Postgres(url, command, port, folder, user=user, freezes=False)


def _lets_in(folder: Path, uid: int) -> None:
    """Raises PermissionError where the folder lies below one that its user may not pass."""
    for each in folder.parents:
        if not each.stat().st_mode & 0o001 and each.stat().st_uid != uid:
            raise PermissionError(f"the server's user may not pass {each}: give it a folder elsewhere")


def free_port() -> int:
    """A port that nobody listens at, below those that the system gives to outgoing connections.

    Of those one could be taken while its server is away: by a client that connects to itself, of all things.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def main() -> None:
    """Be the mock cluster: write its addresses into the file named by the first argument, and serve."""
    from confluent_kafka import Producer

    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3, "log_level": 0})
    # It makes a topic when that is asked for.
    brokers = cluster.list_topics(TOPIC, timeout=PATIENCE).brokers.values()
    place = Path(sys.argv[1])
    written = place.with_suffix(".new")
    written.write_text(",".join(f"{each.host}:{each.port}" for each in brokers))
    written.rename(place)
    while os.getppid() != 1:  # whoever plays has not ended
        time.sleep(1.0)


if __name__ == "__main__":
    main()
