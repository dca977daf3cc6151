"""Jobs in a worker process with a process group of its own, so that ending it ends all it started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping, Sequence

from ...core.errors import Unavailable
from ...core.redaction import redact
from ..ports import Job, Join, Package, Progress, Spine, Trainer
from ..worker.wire import decode, encode_job

COMMAND = (sys.executable, "-m", "stanchion.training.worker")
_LINE = 1 << 24
_TAIL = 8192
_SHOWN = 6


class ProcessTrainer(Trainer):
    """Starts one worker for each job.

    The worker gets `environment` without our own settings: declared code has no need of the service's secrets.
    `command` is another worker, for tests.
    """

    def __init__(self, *, environment: Mapping[str, str], command: Sequence[str] = COMMAND) -> None:
        kept = {name: value for name, value in environment.items() if not name.startswith("STANCHION_")}
        # Threads of OpenMP that spin while they wait take the processor from the service itself.
        self._environment = {"OMP_WAIT_POLICY": "PASSIVE", **kept}
        self._command = tuple(command)

    async def run(self, job: Job, join: Join) -> AsyncGenerator[Progress | Package, None]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._environment,
            limit=_LINE,
            start_new_session=True,
        )
        told = _Tail()
        listener = asyncio.create_task(told.follow(process))
        try:
            finished = False
            async for message in _messages(process, job):
                if isinstance(message, Spine):
                    await _answer(process, await join(message))
                    continue
                finished = isinstance(message, Package)
                yield message
            if not finished:
                code = await process.wait()
                await asyncio.wait([listener], timeout=1)
                raise Unavailable(
                    f"the training worker {_end(code)}{told.last()}",
                    next_step="Read the lines in `detail`, correct the declaration or the data, and train again.",
                )
        finally:
            _kill(process.pid)
            listener.cancel()
            await asyncio.shield(process.wait())


class _Tail:
    """The end of what a worker wrote on stderr."""

    def __init__(self) -> None:
        self._bytes = b""

    async def follow(self, process: Process) -> None:
        if process.stderr is not None:
            while piece := await process.stderr.read(_TAIL):
                self._bytes = (self._bytes + piece)[-_TAIL:]

    def last(self) -> str:
        lines = [line for line in self._bytes.decode(errors="replace").splitlines() if line.strip()]
        return redact(": " + " | ".join(line.strip() for line in lines[-_SHOWN:])) if lines else ""


async def _messages(process: Process, job: Job) -> AsyncGenerator[Progress | Spine | Package, None]:
    if process.stdin is None or process.stdout is None:
        raise Unavailable("the training worker has no pipes")
    process.stdin.write(encode_job(job))
    try:
        # Left open: the worker ends itself when this end is gone.
        await process.stdin.drain()
        async for line in process.stdout:
            yield decode(line)
    except ConnectionError:
        # It died before it read its job: the missing package tells.
        return
    except ValueError as error:
        raise Unavailable("the training worker sent what cannot be read") from error


async def _answer(process: Process, line: str) -> None:
    if process.stdin is not None:
        try:
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
        except ConnectionError:
            # It has died: the missing package tells.
            return


def _end(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def _kill(leader: int) -> None:
    # The group outlives its leader while a child of it runs, so this is done even after a good end.
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
