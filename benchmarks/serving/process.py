"""Servers as processes of their own: start one, ask it, load it, and read what it cost from the kernel's books."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
CONNECTIONS = 32
_TICK = os.sysconf("SC_CLK_TCK")
_PATIENCE = 30
_SETTLE = 1.0  # the ledger is written up to 50 ms after the answer; its cost belongs to the requests


@dataclass(frozen=True, slots=True)
class Server:
    """A started server, and the key that it wants to see."""

    pid: int
    url: str
    key: str | None = None

    def cpu(self) -> float:
        """Seconds of processor time that the process and its living descendants have used so far."""
        return sum(_cpu(pid) for pid in family(self.pid))

    def memory(self) -> float:
        """Resident memory of the process and its descendants, in MB."""
        return sum(_resident(pid) for pid in family(self.pid)) / 1e6

    def post(self, path: str, body: bytes) -> bytes:
        """The answer's body. Raises RuntimeError unless it is a success."""
        return self.ask("POST", path, body, {"Content-Type": "application/json"})

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        """The answer's body, whatever redirection it tells. Raises RuntimeError if it is an error."""
        place = urlsplit(self.url)
        link = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
        try:
            key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
            link.request(method, path, body, {**key, **(headers or {})})
            answer = link.getresponse()
            content = answer.read()
        finally:
            link.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {content[:300].decode()}")
        return content


@dataclass(frozen=True, slots=True)
class Round:
    """One load: answers a second, processor time of the server for each answer, and latencies with all connections."""

    requests: int
    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


@contextmanager
def started(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    key: str | None = None,
    ready_seconds: float = 180,
) -> Iterator[tuple[Server, dict[str, object]]]:
    """Run a command that prints `{"event": "ready", "url": ...}`; gives the server and that line.

    Afterwards it is told to end, and whatever it started is killed if it has not ended by then. Raises RuntimeError
    with the end of its stderr if it is not ready in time.
    """
    _end_tidily()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **(env or {})}
        )
        late = threading.Timer(ready_seconds, lambda: kill(family(process.pid)))
        late.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line) if line.startswith(b"{") else {}
                if event.get("event") == "ready":
                    break
            else:
                errors.seek(0)
                told = errors.read()[-3000:].decode(errors="replace")
                raise RuntimeError(f"{' '.join(map(str, command))} was not ready:\n{told}")
            late.cancel()
            yield Server(process.pid, event["url"], key), event
        finally:
            late.cancel()
            stopped(process)
            process.stdout.close() if process.stdout else None


@contextmanager
def stanchion(system: Path, data: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A system file as `stanchion run` serves it: callers checked, calls gated, every request in the ledger."""
    command = [sys.executable, "-m", "stanchion", "run", system, "--data", data, "--port", "0", "--json", *options]
    with started(command, env=env) as (server, ready):
        yield Server(server.pid, server.url, Path(str(ready["key_file"])).read_text().strip())


def stopped(process: subprocess.Popen[bytes], *, seconds: float = 20) -> None:
    """Tell a process to end, and kill it and all that it started if some of them are left."""
    all_of_it = family(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        all_of_it = {**all_of_it, **family(process.pid)}
    kill(all_of_it)
    process.wait()


def kill(found: Mapping[int, str]) -> None:
    """Kill those of the processes that are still the same ones: a number may belong to another one by now."""
    for pid, born in found.items():
        if _born(pid) == born:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _end_tidily() -> None:
    """Let SIGTERM end this process as an exception, so that the servers it started end with it."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def fire(server: Server, path: str, body: bytes, *, seconds: float, connections: int = CONNECTIONS) -> Round:
    """Load the server with wrk: one thread, 32 kept connections, each with one request under way.

    wrk takes whole seconds only. Raises RuntimeError if any answer was not a success.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        env = {**os.environ, "BENCH_BODY": file.name} | ({"BENCH_KEY": server.key} if server.key else {})
        before = server.cpu()
        done = subprocess.run(
            [
                wrk,
                "-t1",
                f"-c{connections}",
                f"-d{max(1, round(seconds))}s",
                # Else an answer after more than two seconds counts as failed.
                f"--timeout={_PATIENCE}s",
                "-s",
                str(HERE / "post.lua"),
                server.url + path,
            ],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + 60,
        )
        if done.returncode != 0:
            raise RuntimeError(f"wrk ended with code {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    time.sleep(_SETTLE)
    cpu = server.cpu() - before
    told = json.loads(done.stdout.strip().splitlines()[-1])
    if told["failed"] or not told["requests"]:
        raise RuntimeError(f"{told['failed']} of {told['requests']} requests to {server.url}{path} failed")
    return Round(
        requests=told["requests"],
        per_second=told["requests"] / told["seconds"],
        cpu_us=cpu / told["requests"] * 1e6,
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
    )


def family(pid: int) -> dict[int, str]:
    """The process and its living descendants, with the tick in which each was born."""
    found: dict[int, str] = {}
    new = [pid]
    while new:
        found |= {each: born for each in new if (born := _born(each))}
        new = [child for parent in new for child in _children(parent) if child not in found]
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread may end meanwhile
            found += [int(word) for word in tasks.read_text().split()]
    return found


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) from the third on, or none for a process that has ended."""
    try:
        # The name in brackets may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _born(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields else ""


def _cpu(pid: int) -> float:
    # utime and stime, and those of children that have ended and were waited for.
    return sum(int(each) for each in _stat(pid)[11:15]) / _TICK


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
