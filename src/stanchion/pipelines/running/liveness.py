"""Which processes live: by their heartbeats, and on this machine by the kernel's word."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from ..ports import Executor


def own_id() -> str:
    """An id that no other process has: machine, process, its time of start, chance."""
    pid = os.getpid()
    return f"{_machine()}.{pid}.{_started(pid) or 0}.{secrets.token_hex(4)}"


def _machine() -> str:
    """The same for processes that see each other's numbers: host, boot and namespace of processes."""
    parts = [socket.gethostname()]
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
        except OSError:
            # Without them only heartbeats tell: such a process shares its machine's name with nobody.
            parts.append(secrets.token_hex(8))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _started(pid: int) -> int | None:
    """The start of a process in ticks since boot (field 22 of its stat); None if it is gone, or waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Watchman:
    """Finds processes that died. `lease` is the seconds without a heartbeat after which one counts as dead.

    Beats are counters and time is this process's own: clocks of other machines may be wrong.
    """

    def __init__(self, own: str, *, lease: float) -> None:
        self._own = own
        self._lease = lease
        self._seen: dict[str, tuple[int, float]] = {}

    def dead(self, known: Sequence[Executor], now: float) -> list[str]:
        """Ids of those that died, judged at the monotonic moment `now`."""
        found = []
        for executor in known:
            beat, since = self._seen.get(executor.id, (-1, now))
            if beat != executor.beat:
                self._seen[executor.id] = (executor.beat, now)
                since = now
            if executor.id != self._own and (self._gone(executor.id) or now - since >= self._lease):
                found.append(executor.id)
        self._seen = {executor.id: self._seen[executor.id] for executor in known}
        return found

    def _gone(self, executor: str) -> bool:
        machine, pid, started, _ = executor.split(".")
        if machine != self._own.partition(".")[0] or started == "0":
            return False
        return _started(int(pid)) != int(started)
