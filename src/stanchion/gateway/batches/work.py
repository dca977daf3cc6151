"""One batch worked off: its file is checked, its lines are called, and what became of them is put into files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ...core.clock import Clock
from ...core.errors import NotFound, Unavailable
from ...core.http.door import Book
from ...core.security.vault import Vault
from ..contract.batches import BatchFault, CallBatchState
from ..contract.gateway import Gateway
from .calling import Caller, Told, Unmade, bad_line, unmade_line
from .files import BatchFiles, Finished, Writer
from .pacing import Turns
from .reading import BadLine, Checker, Line, Wanted, lines_of, read_line
from .standing import Standing
from .store import BatchStore, Held, Result

_PAGE = 100
_TOLD = 50
_PAUSES = (0.2, 1.0, 3.0, 10.0)


@dataclass(frozen=True, slots=True)
class Tools:
    """What batches are worked off with. `parallel` lines of one batch are under way at most, each so many `seconds`."""

    gateway: Gateway
    book: Book
    store: BatchStore
    files: BatchFiles
    vault: Vault
    turns: Turns
    standing: Standing
    clock: Clock
    parallel: int
    seconds: float
    lines: int


class Work:
    """Works one batch off, from where it stopped. What ends `run` early leaves the batch to be taken up again."""

    def __init__(self, tools: Tools, held: Held) -> None:
        self.held = held
        self._tools = tools
        self._enough = asyncio.Event()
        self._state: CallBatchState = held.batch.state
        self._leaving = False

    def cancel(self) -> None:
        """The caller wants no further call."""
        self._state = "cancelling"
        self._enough.set()

    def leave(self) -> None:
        """Begin no further call, as the process ends; those under way come to their end."""
        self._leaving = True
        self._enough.set()

    async def run(self) -> None:
        """Go on to the end. Raises TakenOver, StanchionError."""
        if self._state == "validating" and not await self._validated():
            return
        if self._state == "in_progress":
            await self._called()
        if self._leaving:
            return
        await self._ended()

    # -- the file

    def _parts(self) -> AsyncIterator[bytes]:
        return self._tools.files.parts(self.held.tenant, self.held.batch.input_file)

    async def _validated(self) -> bool:
        """Whether the file holds anything to be done; else the batch has failed."""
        checker, good, total = Checker(self.held.batch.endpoint), 0, 0
        bad: list[BadLine] = []
        try:
            async with aclosing(lines_of(self._parts())) as chunks:
                async for chunk in chunks:
                    sound, found = await asyncio.to_thread(checker.check, chunk)
                    good, total = good + sound, total + len(chunk)
                    bad += found
                    if total > self._tools.lines:
                        return await self._failed("too_many_lines", f"the file has more than {self._tools.lines} lines")
        except NotFound:
            return await self._failed("file_not_found", f"the file {self.held.batch.input_file} is not there any more")
        if not good:
            return await self._failed("no_valid_line", "no line of the file can be done", bad)
        results = [await self._sealed(line.number, bad_line(self.held, line)) for line in bad]
        await self._tools.store.validated(self.held, total, results)
        if self._state == "validating":
            self._state = "in_progress"
        return True

    async def _failed(self, code: str, message: str, bad: Sequence[BadLine] = ()) -> bool:
        faults = [BatchFault(code, message), *(BatchFault("invalid_line", b.message, b.number) for b in bad[:_TOLD])]
        await self._tools.store.end(self.held, "failed", faults=faults)
        return False

    # -- the calls

    async def _called(self) -> None:
        tools = self._tools
        caller = Caller(
            self.held,
            tools.gateway,
            tools.book,
            tools.turns,
            tools.standing,
            tools.clock,
            seconds=tools.seconds,
            enough=self._enough,
            left=self._left,
        )
        done = await tools.store.done(self.held)
        room = asyncio.Semaphore(tools.parallel)
        timer = asyncio.get_running_loop().call_later(max(0.0, self._left()), self._expire)
        try:
            async with asyncio.TaskGroup() as group, aclosing(self._open_lines(done)) as lines:
                async for line in lines:
                    await room.acquire()
                    if self._enough.is_set():
                        room.release()
                        break
                    task = group.create_task(self._one(caller, line))
                    task.add_done_callback(lambda _: room.release())
        finally:
            timer.cancel()

    async def _one(self, caller: Caller, line: Wanted) -> None:
        try:
            told = await caller.told(line)
        except Unmade:
            return
        result = await self._sealed(line.number, told)
        for pause in (*_PAUSES, None):
            try:
                await self._tools.store.record(self.held, result)
                return
            except Unavailable:
                # The answer is paid for: a moment's fault of the database shall not lose it.
                if pause is None:
                    raise
                await asyncio.sleep(pause)

    async def _open_lines(self, done: set[int]) -> AsyncGenerator[Wanted, None]:
        """The sound lines that have no result yet."""
        async with aclosing(lines_of(self._parts())) as chunks:
            async for chunk in chunks:
                open_ = [line for line in chunk if line.number not in done]
                for found in await asyncio.to_thread(_read, open_, self.held.batch.endpoint):
                    yield found

    def _expire(self) -> None:
        if self._state == "in_progress":
            self._state = "expired"
            self._enough.set()

    def _left(self) -> float:
        """Seconds until the batch expires."""
        return (self.held.batch.expires_at - self._tools.clock.now()).total_seconds()

    async def _sealed(self, number: int, told: Told) -> Result:
        sealed = await self._tools.vault.encrypt(self.held.tenant, self._place(number), told.text + b"\n")
        return Result(number, told.good, sealed, told.usage, told.cost)

    def _place(self, number: int) -> str:
        return f"gateway/batches/{self.held.batch.id}/{number}"

    # -- the end

    async def _ended(self) -> None:
        state, store = self._state, self._tools.store
        last: CallBatchState = "cancelled" if state == "cancelling" else "completed"
        if last == "completed":
            await store.enter(self.held, "finalizing")
        output, errors = _Late(self, "output"), _Late(self, "error")
        after = 0
        while results := await store.results(self.held, after, _PAGE):
            for number, good, sealed in results:
                text = await self._tools.vault.decrypt(self.held.tenant, self._place(number), sealed)
                await (output if good else errors).write(text)
                after = number
        unmade = 0
        # A process that went on from here does not know whether the batch expired: the lines that are left tell.
        if last == "completed" and state != "in_progress":
            async with aclosing(self._open_lines(await store.done(self.held))) as lines:
                async for line in lines:
                    await errors.write(unmade_line(self.held, line) + b"\n")
                    unmade += 1
            last = "expired" if unmade else last
        await store.end(self.held, last, output=await output.finished(), errors=await errors.finished(), unmade=unmade)

    async def writer(self, kind: str) -> Writer:
        """Begin a file of results. Its id has the epoch: two processes never write to one file."""
        held = self.held
        name = held.batch.id.removeprefix("batch_")
        file = f"file-{name}{held.epoch:x}{kind[0]}"
        return await self._tools.files.writer(
            held.tenant, held.principal, file, f"{held.batch.id}_{kind}.jsonl", "batch_output"
        )


class _Late:
    """A file that is begun with its first line: one without any is not there at all."""

    def __init__(self, work: Work, kind: str) -> None:
        self._work = work
        self._kind = kind
        self._writer: Writer | None = None

    async def write(self, text: bytes) -> None:
        """Add a line."""
        if self._writer is None:
            self._writer = await self._work.writer(self._kind)
        await self._writer.write(text)

    async def finished(self) -> Finished | None:
        """The file, None where no line was written."""
        return None if self._writer is None else await self._writer.finished()


def _read(lines: Sequence[Line], endpoint: str) -> list[Wanted]:
    """The sound ones. What was found bad when the file was checked has a result, and is not among them."""
    found = [read_line(line, endpoint) for line in lines]
    return [each for each in found if isinstance(each, Wanted)]
