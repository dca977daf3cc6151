"""What pipelines need from an engine: a store of runs that hands each to one process, and refuses it to all others.

Times are microseconds since the epoch; values are JSON text. The rules (what to run, when to try again) lie above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..core.context import Context
from ..core.errors import Conflict
from .contract import RunFault, RunStatus, StageStatus

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
NEVER = 1 << 62


class Superseded(Conflict):
    """Another process holds the run by now: what this one brings is too late."""

    next_step = "Nothing needs doing: the run goes on elsewhere."


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is stored. `author` is the starter's rights, `epoch` grows with each hand-over."""

    tenant: str
    id: str
    pipeline: str
    version: str
    status: RunStatus
    queue: str
    priority: int
    key: str | None
    inputs: str
    author: str
    created: int
    due: int
    deadline: int | None = None
    started: int | None = None
    ended: int | None = None
    output: str | None = None
    blob: str = ""
    error: str | None = None
    parent: str | None = None
    forked_from: str | None = None
    schedule: str | None = None
    partition: str | None = None
    dry: bool = False
    cancelling: bool = False
    executor: str | None = None
    epoch: int = 0
    recoveries: int = 0
    stalls: int = 0
    marked: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class StepRow:
    """One line of a run's journal. `awaits` is the signal a waiting step takes; large answers lie in `blob`."""

    step: str
    number: int
    stage: str
    status: StageStatus
    started: int
    ended: int
    attempts: int = 1
    output: str | None = None
    blob: str = ""
    digest: str = ""
    error: RunFault | None = None
    notes: Sequence[str] = ()
    rows: int | None = None
    quarantined: int = 0
    cached: bool = False
    until: int | None = None
    awaits: str = ""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row to be set aside with the step."""

    record: str
    reasons: Sequence[str]
    row: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A process's hold on a run: good while nobody else got a higher epoch."""

    tenant: str
    run: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that was handed over, with its journal."""

    row: RunRow
    steps: Sequence[StepRow]

    @property
    def hold(self) -> Hold:
        """What each later write must show."""
        return Hold(self.row.tenant, self.row.id, self.row.epoch)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    status: RunStatus
    output: str | None = None
    blob: str = ""
    error: RunFault | None = None


@dataclass(frozen=True, slots=True)
class Executor:
    """A process that runs runs. `beat` is a counter it raises; `code` are the pipelines and versions it has."""

    id: str
    beat: int
    queues: Sequence[str]
    code: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a queue allows; None is no limit. `seconds` is the period of `rate`."""

    concurrency: int | None = None
    rate: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Beat:
    """What a process hears at its heartbeat: whether it was given up, and which of its runs are to be cancelled."""

    alive: bool
    cancelling: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer kept for later runs under the hash of what it was made from; a large one in a blob of its own."""

    key: str
    expires: int
    blob: str = ""


@dataclass(frozen=True, slots=True)
class Expired:
    """A kept answer whose time is over; `blob` is empty where it lies in its row."""

    tenant: str
    key: str
    blob: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Which runs to list."""

    pipeline: str | None = None
    status: RunStatus | None = None
    parent: str | None = None
    before: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Recording:
    """What is written with a step, in one commit."""

    step: StepRow
    new: bool = True
    bad: Sequence[BadRow] = ()
    keep: Kept | None = None
    work: Callable[[Connection], StepRow] | None = None


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule's state: the moment it fires next, and the last one."""

    tenant: str
    name: str
    next: int
    last: int | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Tale:
    """A change of a run that others may hear of."""

    kind: str
    row: RunRow
    data: Mapping[str, object] = field(default_factory=dict)


class News(Protocol):
    """Tells of changes in the transaction that makes them."""

    def tell(self, connection: Connection, tales: Sequence[Tale]) -> None:
        """Write what happened beside the change itself."""
        ...


class Engine(Protocol):
    """Keeps runs and their journals. Every method is one transaction, durable when it returns.

    Methods that take a Hold raise Superseded, and change nothing, once another process has the run.
    """

    async def enqueue(self, ctx: Context, row: RunRow, steps: Sequence[StepRow] = ()) -> tuple[RunRow, bool]:
        """Store a new run; with a key that is taken, the run that has it, and False."""
        ...

    async def waiting(self, executor: Executor, now: int) -> bool:
        """Whether there is a run that this process could claim."""
        ...

    async def claim(
        self, executor: Executor, bounds: Mapping[str, Bound], *, limit: int, now: int
    ) -> Sequence[Claimed]:
        """Hand over runs that are due: by priority, then age, within what their queues allow over all processes."""
        ...

    async def record(self, hold: Hold, recording: Recording) -> StepRow:
        """Write a step and what belongs to it. The `work` runs in the same transaction and gives the step to write.

        Raises Cancelled, after writing, if the run is to be cancelled.
        """
        ...

    async def take(self, hold: Hold, step: StepRow, *, new: bool, now: int) -> StepRow:
        """The waiting step with the oldest signal of its name as its answer, or stored as waiting if there is none."""
        ...

    async def park(self, hold: Hold, *, due: int, now: int) -> None:
        """Let go of a run until `due` or a signal it awaits. One that came meanwhile makes it due at once."""
        ...

    async def finish(self, hold: Hold, outcome: Outcome, now: int) -> None:
        """End a run, and tell its parent."""
        ...

    async def release(self, hold: Hold) -> None:
        """Give a run back unfinished, to be claimed by anybody."""
        ...

    async def refuse(self, hold: Hold) -> None:
        """Count that a late result was refused."""
        ...

    async def signal(self, ctx: Context, run: str, name: str, key: str, value: str, now: int) -> bool:
        """Keep a value for the run. Raises NotFound, Conflict."""
        ...

    async def cancel(self, ctx: Context, run: str, now: int) -> RunRow:
        """Mark a run and those below it. What has not begun ends at once."""
        ...

    async def resume(self, ctx: Context, run: str, version: str | None, now: int) -> RunRow:
        """Make a failed or cancelled run due, without its failed steps."""
        ...

    async def beat(self, executor: Executor) -> Beat:
        """Raise the counter, or be told that others gave this process up."""
        ...

    async def register(self, executor: Executor) -> None:
        """Make a process known."""
        ...

    async def executors(self) -> Sequence[Executor]:
        """Every process that is known, dead or alive."""
        ...

    async def bury(self, executor: str, now: int, *, stalls: int) -> int:
        """Make the runs of a dead process due, and forget it; how many.

        A run that was interrupted more than `stalls` times without finishing a step between fails.
        """
        ...

    async def run(self, tenant: str, run: str) -> RunRow:
        """One run. Raises NotFound."""
        ...

    async def runs(self, tenant: str, asked: Asked) -> Sequence[RunRow]:
        """Runs by descending id."""
        ...

    async def steps(self, tenant: str, run: str) -> Sequence[StepRow]:
        """The journal by number."""
        ...

    async def waits(self, tenant: str, runs: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The names each of the runs is parked on."""
        ...

    async def bad(
        self, tenant: str, run: str, limit: int, *, record: str | None = None
    ) -> Sequence[tuple[str, BadRow, int]]:
        """Rows set aside, or those of one record: step, row, moment."""
        ...

    async def counts(self, tenant: str) -> Mapping[tuple[str, str], int]:
        """Runs by queue and status."""
        ...

    async def children(self, tenant: str, parent: str) -> Mapping[str, int]:
        """Runs below one, by status."""
        ...

    async def kept(self, tenant: str, key: str, now: int) -> tuple[str | None, str] | None:
        """The kept answer under a key, as output and blob."""
        ...

    async def expired(self, now: int, limit: int) -> Sequence[Expired]:
        """Kept answers whose time is over."""
        ...

    async def unkeep(self, gone: Sequence[Expired], now: int) -> None:
        """Remove kept answers, but those that were made anew meanwhile."""
        ...

    async def schedules(self, tenant: str) -> Sequence[ScheduleRow]:
        """The state of every schedule that has one."""
        ...

    async def plan(self, row: ScheduleRow) -> None:
        """Store a schedule's state if it has none."""
        ...

    async def fire(self, row: ScheduleRow, upto: int, runs: Sequence[RunRow]) -> bool:
        """Start the runs of a schedule's moments and move it on; False if another process did."""
        ...

    async def hold(self, ctx: Context, row: ScheduleRow) -> None:
        """Store whether a schedule is paused, and its next moment."""
        ...

    async def forget(self, before: int, limit: int) -> Sequence[tuple[str, str]]:
        """Ended runs older than `before`: tenant and id."""
        ...

    async def drop(self, runs: Sequence[tuple[str, str]]) -> None:
        """Remove runs with all that belongs to them."""
        ...


class Cancelled(Exception):
    """The run is to be cancelled: no further step of it begins."""


Values = Mapping[str, Any]
