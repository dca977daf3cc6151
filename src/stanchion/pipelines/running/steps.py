"""One step of a run: a stage called with its arguments, tried again, checked, and written to the journal."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.clock import Clock, micros
from ...core.context import Context
from ...core.errors import DeadlineExceeded, InvalidInput, NotFound, StanchionError
from ...core.redaction import redact
from ...core.tasks import end_tasks
from ..contract import RunFault, StageSpec, Step, enter_run, injections
from ..gates import bad_row, judged
from ..ports import BadRow, Claimed, Engine, Kept, Recording, StepRow, Superseded
from ..values import Answers, codec, digest

if TYPE_CHECKING:
    from sqlalchemy import Connection

NOTES = 100
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_CHANCE = random.SystemRandom()
SOON = 5.0
"""Seconds up to which a retry waits in memory; longer ones are parked."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every run of a process shares."""

    engine: Engine
    answers: Answers
    clock: Clock
    pool: Pool

    def now(self) -> int:
        """The moment, as it is stored."""
        return micros(self.clock.now())


@dataclass(slots=True)
class Doing(Step):
    """The step as its stage sees it."""

    key: str
    attempt: int
    dry: bool
    bad: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def quarantine(self, record: str, reason: str, row: Any = None) -> None:
        self.bad.append(bad_row({"record": record} if row is None else row, "", 0, [reason]))
        self.bad[-1] = replace(self.bad[-1], record=record[:512])

    def note(self, text: str) -> None:
        if len(self.notes) < NOTES:
            self.notes.append(text[:500])


@dataclass(frozen=True, slots=True)
class Call:
    """Which step it is, of which stage, with which arguments (JSON by parameter)."""

    spec: StageSpec
    key: str
    number: int
    arguments: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The hash of the arguments."""
        return digest("\n".join(f"{name}={text}" for name, text in sorted(self.arguments.items())))


class Steps:
    """Runs the steps of one run."""

    def __init__(self, tools: Tools, claimed: Claimed, ctx: Context) -> None:
        self._tools = tools
        self.id = claimed.row.id
        self._run = claimed.row
        self._hold = claimed.hold
        self._ctx = ctx

    async def run(self, call: Call, before: StepRow | None) -> StepRow:
        """The step as it ended: done, failed, or to be tried again at a later moment. It is in the journal then."""
        tools, spec = self._tools, call.spec
        if (kept := await self._kept(call)) is not None:
            return await self._write(kept, new=before is None)
        attempt = 1 if before is None else before.attempts + 1
        started = tools.now()
        while True:
            doing = Doing(f"{self._run.id}/{call.key}", attempt, self._run.dry)
            try:
                return await self._tried(call, doing, started, new=before is None)
            except (Superseded, asyncio.CancelledError):
                raise
            except Exception as error:
                row = self._failed(call, doing, started, error)
                delay = _delay(spec, attempt, error)
            if delay is None:
                return await self._write(row, new=before is None, bad=doing.bad)
            if delay > SOON:
                later = replace(row, status="retrying", until=tools.now() + int(delay * 1e6))
                return await self._write(later, new=before is None)
            await asyncio.sleep(delay)
            attempt += 1

    async def _tried(self, call: Call, doing: Doing, started: int, *, new: bool) -> StepRow:
        spec = call.spec
        ctx = self._ctx if spec.timeout is None else self._ctx.until(self._tools.clock.monotonic() + spec.timeout)
        arguments = {name: codec(spec.parameters[name]).decode(text) for name, text in call.arguments.items()}
        if "sql" in spec.injected.values():
            return await self._by_sql(call, doing, arguments, ctx, started, new=new)
        value = await self._called(spec, doing, arguments, ctx)
        if spec.check is not None:
            verdict = await asyncio.get_running_loop().run_in_executor(
                self._tools.pool, judged, spec.check, value, spec.record
            )
            value, doing.bad = verdict.good, [*doing.bad, *verdict.bad]
        row = await self._done(call, doing, value, started)
        # An answer that set rows aside is not for other runs: each tells of its own, with the reasons.
        keep = None if doing.bad else await self._keep(call, row)
        return await self._write(row, new=new, bad=doing.bad, keep=keep)

    async def _called(self, spec: StageSpec, doing: Doing, arguments: Mapping[str, Any], ctx: Context) -> Any:
        given = {**arguments, **_injected(spec.injected, doing, ctx)}
        if spec.timeout is None:
            return await self.call(spec.function, given)
        task = asyncio.create_task(self.call(spec.function, given))
        try:
            ended, _ = await asyncio.wait([task], timeout=spec.timeout)
        finally:
            await end_tasks(task)
        if not ended:
            raise DeadlineExceeded(f"the stage {spec.name} took longer than {spec.timeout} s")
        return task.result()

    async def call(self, function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
        """Call a function outside of the run's own code: on the loop if it is async, else in a thread."""
        inside = contextvars.copy_context()
        inside.run(enter_run, None)
        if inspect.iscoroutinefunction(function):
            return await asyncio.get_running_loop().create_task(function(**given), context=inside)
        return await asyncio.get_running_loop().run_in_executor(
            self._tools.pool, partial(inside.run, function, **given)
        )

    async def _by_sql(
        self, call: Call, doing: Doing, arguments: Mapping[str, Any], ctx: Context, started: int, *, new: bool
    ) -> StepRow:
        """The stage's writes and its line in the journal are one commit: both are there, or neither."""
        spec, tools = call.spec, self._tools

        def work(connection: Connection) -> StepRow:
            given = {**arguments, **_injected(spec.injected, doing, ctx, connection)}
            text = codec(spec.output).encode(spec.function(**given))
            return _row(call, doing, "done", started, tools.now(), output=text)

        recording = Recording(_row(call, doing, "done", started, started), new=new, work=work)
        return await tools.engine.record(self._hold, recording)

    async def _done(self, call: Call, doing: Doing, value: Any, started: int) -> StepRow:
        kind = codec(call.spec.output)
        loop = asyncio.get_running_loop()
        # Thousands of rows take a while to write down: not on the loop. A handful does not pay the way to a thread.
        long = isinstance(value, list) and len(value) > 200
        text = await loop.run_in_executor(self._tools.pool, kind.encode, value) if long else kind.encode(value)
        output, blob = await self._tools.answers.keep(self._run.tenant, self._run.id, text)
        rows = len(value) if isinstance(value, list) else None
        row = _row(call, doing, "done", started, self._tools.now(), output=output, blob=blob)
        return replace(row, rows=rows, quarantined=len(doing.bad))

    def _failed(self, call: Call, doing: Doing, started: int, error: Exception) -> StepRow:
        row = _row(call, doing, "failed", started, self._tools.now())
        return replace(row, error=fault_of(error, call.spec.name), quarantined=len(doing.bad))

    async def _keep(self, call: Call, row: StepRow) -> Kept | None:
        if call.spec.cache is None:
            return None
        key = self._cache_key(call)
        blob = await self._tools.answers.share(self._run.tenant, key, row.blob) if row.blob else ""
        return Kept(key, self._tools.now() + int(call.spec.cache.total_seconds() * 1e6), blob)

    def _cache_key(self, call: Call) -> str:
        # Rights are part of it: what a caller could not have asked for is no answer to it.
        rights = self._ctx.rights
        held = [None if each is None else sorted(each) for each in (rights.roles, rights.scopes, rights.limit)]
        return digest(f"{call.spec.name} {call.spec.code} {call.digest} {held}")

    async def _kept(self, call: Call) -> StepRow | None:
        if call.spec.cache is None:
            return None
        now = self._tools.now()
        found = await self._tools.engine.kept(self._run.tenant, self._cache_key(call), now)
        if found is None:
            return None
        try:
            text = await self._tools.answers.load(*found) or "null"
        except NotFound:
            return None  # its time ended between the two looks
        output, blob = await self._tools.answers.keep(self._run.tenant, self._run.id, text)
        rows = len(_rows.decode(text)) if text.startswith("[") else None
        return replace(_row(call, None, "done", now, now, output=output, blob=blob), cached=True, rows=rows)

    async def _write(
        self, row: StepRow, *, new: bool, bad: list[BadRow] | None = None, keep: Kept | None = None
    ) -> StepRow:
        return await self._tools.engine.record(self._hold, Recording(row, new=new, bad=bad or (), keep=keep))


def _row(
    call: Call, doing: Doing | None, status: Any, started: int, ended: int, *, output: str | None = None, blob: str = ""
) -> StepRow:
    return StepRow(
        step=call.key,
        number=call.number,
        stage=call.spec.name,
        status=status,
        started=started,
        ended=ended,
        attempts=0 if doing is None else doing.attempt,
        output=output,
        blob=blob,
        digest=call.digest,
        notes=() if doing is None else tuple(doing.notes),
    )


def _injected(kinds: Mapping[str, str], doing: Doing, ctx: Context, sql: Connection | None = None) -> dict[str, Any]:
    what = {"context": ctx, "step": doing, "sql": sql}
    return {name: what[kind] for name, kind in kinds.items()}


def _delay(spec: StageSpec, attempt: int, error: Exception) -> float | None:
    """Seconds until the next attempt; None if there is none."""
    retry = spec.retry
    if attempt >= retry.attempts or not isinstance(error, retry.on) or isinstance(error, InvalidInput):
        return None
    delay = min(retry.most, retry.seconds * retry.factor ** (attempt - 1))
    asked = error.retry_after if isinstance(error, StanchionError) and error.retry_after is not None else 0.0
    return max(asked, delay * _CHANCE.uniform(0.75, 1.25))


async def undo(
    steps: Steps, tools: Tools, spec: StageSpec, function: Callable[..., Any], done: StepRow, ctx: Context
) -> Any:
    """Call what compensates a stage, with its answer."""
    text = await tools.answers.load(done.output, done.blob)
    value = codec(spec.output).decode(text or "null")
    injected = injections(function)
    first = next(name for name in inspect.signature(function).parameters if name not in injected)
    doing = Doing(f"{steps.id}/{done.step}/undo", 1, dry=False)
    return await steps.call(function, {first: value, **_injected(injected, doing, ctx)})


def fault_of(error: BaseException, stage: str = "") -> RunFault:
    """An error as it is stored: its code, and words without secrets."""
    if isinstance(error, StanchionError):
        return RunFault(error.code, redact(error.detail)[:1_000], stage)
    words = redact(str(error))[:1_000]
    return RunFault("stage_failed", f"{type(error).__name__}: {words}" if words else type(error).__name__, stage)
