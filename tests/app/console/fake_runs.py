"""Pipelines and a bus for the console's tests: runs in every state, consumers that lag, dead letters, one tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.core.values import Json
from stanchion.events import (
    ConsumerView,
    DeadLetter,
    Event,
    Failure,
    Handling,
    Hop,
    Redriven,
    Selection,
)
from stanchion.pipelines import (
    DeadRow,
    NodeView,
    Pipelines,
    PipelineView,
    Progress,
    QueueView,
    RecordStep,
    RecordTrail,
    Run,
    RunFault,
    RunStatus,
    ScheduleView,
    StageRun,
    Values,
)
from tests.app.console.fake_catalogue import FakeCatalogue
from tests.app.console.fake_features import NOW

RUN_STATES: tuple[RunStatus, ...] = ("running", "queued", "waiting", "failed", "cancelled", "done")


def run_id(status: RunStatus) -> str:
    """The id that the sample run of a state has."""
    return f"01k{RUN_STATES.index(status):021d}"


def sample_run(status: RunStatus, **changes: Any) -> Run:
    """A run of the nightly pipeline in that state."""
    over = status in ("failed", "cancelled", "done")
    started = NOW - timedelta(minutes=4 + RUN_STATES.index(status))
    given = {
        "id": run_id(status),
        "pipeline": "nightly",
        "version": "5b00d1c2",
        "status": status,
        "queue": "heavy",
        "priority": 100,
        "principal": "key:web-shop",
        "created": started - timedelta(seconds=2),
        "started": None if status == "queued" else started,
        "ended": started + timedelta(seconds=94) if over else None,
        "waits": ("review:rv_0001",) if status == "waiting" else (),
        "schedule": "every-night",
        "partition": "2026-11-19",
        "recoveries": 1 if status == "running" else 0,
        "refused": 1 if status == "running" else 0,
        "error": RunFault("check_failed", "7 % of the rows are <b>bad</b>", "validate") if status == "failed" else None,
        "inputs": {"day": "2026-11-19"},
        "output": {"segments": 4} if status == "done" else None,
    }
    return Run(**{**given, **changes})


def steps(status: RunStatus) -> list[StageRun]:
    """What the run has left behind."""
    begun = NOW - timedelta(minutes=4)
    plan = [("extract", 0, 20, 1), ("validate", 20, 31, 2), ("score#1", 31, 70, 1), ("store", 70, 74, 1)]
    made = [
        StageRun(
            step=name,
            stage=name.partition("#")[0],
            number=number + 1,
            status="done",
            attempts=tries,
            started=begun + timedelta(seconds=start),
            ended=begun + timedelta(seconds=end),
            rows=1_200 - number,
            quarantined=3 if name == "validate" else 0,
            cached=name == "extract",
            notes=("read 1,200 rows of <b>orders</b>",) if number == 0 else (),
        )
        for number, (name, start, end, tries) in enumerate(plan)
    ]
    if status == "queued":
        return []
    if status == "failed":
        made[1] = replace(made[1], status="failed", error=RunFault("check_failed", "too many bad rows", "validate"))
        return made[:2]
    return made if status == "done" else made[:3]


@dataclass
class FakePipelines(Pipelines):
    """A run in every state. `asked` tells what was done."""

    empty: bool = False
    asked: list[tuple[object, ...]] = field(default_factory=list)
    of: dict[str, Run] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for status in () if self.empty else RUN_STATES:
            self.of[run_id(status)] = sample_run(status)

    async def declared(self, ctx: Context) -> Sequence[PipelineView]:
        if self.empty:
            return ()
        nodes = [
            NodeView("extract", "extract", "stage"),
            NodeView("validate", "validate", "stage", ("extract",)),
            NodeView("score", "score", "map", ("validate",)),
            NodeView("report", "report", "stage", ("validate",), "only on Mondays"),
            NodeView("choose", "choose", "join", ("score", "report")),
        ]
        schema = {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}
        stages = [node.stage for node in nodes[:4]]
        return [
            PipelineView("by-hand", "1f", "default", "", {}, ("ask",)),
            PipelineView(
                "nightly", "5b00d1c2", "heavy", "Segments of all customers", schema, stages, nodes, ("every-night",)
            ),
        ]

    async def begin(
        self, ctx: Context, pipeline: str, inputs: Json, *, key: str | None = None, dry: bool = False
    ) -> Run:
        self.asked.append(("begin", pipeline, inputs, key, dry))
        if inputs == "wrong":
            raise InvalidInput("the inputs are not of the declared type")
        return replace(sample_run("queued"), dry=dry)

    async def get(self, ctx: Context, run: str) -> Run:
        if run not in self.of:
            raise NotFound(f"there is no run {run!r}")
        return self.of[run]

    async def values(self, ctx: Context, run: str) -> Values:
        return Values(self.of[run].inputs, self.of[run].output)

    async def list(
        self,
        ctx: Context,
        *,
        pipeline: str | None = None,
        status: RunStatus | None = None,
        parent: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> Sequence[Run]:
        found = [
            run
            for run in self.of.values()
            if pipeline in (None, run.pipeline)
            and status in (None, run.status)
            and (parent is None or run.parent == parent)
        ]
        return found[:limit]

    async def stages(self, ctx: Context, run: str) -> Sequence[StageRun]:
        return steps(self.of[run].status)

    async def record(self, ctx: Context, run: str, record_id: str) -> RecordTrail:
        if record_id == "nobody":
            raise NotFound("no step has seen it")
        done = RecordStep("validate", "validate", "quarantined", {"age": -1}, None, ("age is negative",))
        return RecordTrail(run, record_id, [RecordStep("extract", "extract", "produced", None, {"age": -1}), done])

    async def quarantined(self, ctx: Context, run: str, *, limit: int = 100) -> Sequence[DeadRow]:
        return [DeadRow("validate", "c-77", ("age is negative",), {"age": -1}, NOW)][:limit]

    async def signal(self, ctx: Context, run: str, name: str, value: Json, *, key: str | None = None) -> bool:
        self.asked.append(("signal", run, name, value))
        return True

    async def cancel(self, ctx: Context, run: str) -> Run:
        self.asked.append(("cancel", run))
        return self.of[run]

    async def resume(self, ctx: Context, run: str, *, adopt: bool = False) -> Run:
        self.asked.append(("resume", run, adopt))
        if self.of[run].status == "done":
            raise Conflict("the run is done")
        return self.of[run]

    async def fork(self, ctx: Context, run: str, stage: str) -> Run:
        self.asked.append(("fork", run, stage))
        return sample_run("queued")

    async def schedules(self, ctx: Context) -> Sequence[ScheduleView]:
        if self.empty:
            return ()
        paused = "every-night" in self.paused
        return [ScheduleView("every-night", "nightly", "0 4 * * * UTC", paused, NOW + timedelta(hours=9), NOW)]

    async def pause(self, ctx: Context, schedule: str, *, paused: bool = True) -> ScheduleView:
        self.asked.append(("pause", schedule, paused))
        return ScheduleView(schedule, "nightly", "0 4 * * * UTC", paused)

    async def backfill(self, ctx: Context, pipeline: str, start: datetime, end: datetime, *, parallel: int = 2) -> Run:
        self.asked.append(("backfill", pipeline, start, end, parallel))
        return sample_run("queued")

    async def progress(self, ctx: Context, run: str) -> Progress:
        return Progress(run, 30, {"done": 21, "running": 2, "failed": 1})

    async def queues(self, ctx: Context) -> Sequence[QueueView]:
        if self.empty:
            return ()
        return [QueueView("heavy", dict.fromkeys(RUN_STATES, 1), 2, "5 in 60 s", 1), QueueView("idle", {}, None)]

    async def dead(self, ctx: Context, *, limit: int = 100) -> Sequence[Run]:
        return [run for run in self.of.values() if run.status == "failed"]


def letter(number: int) -> DeadLetter:
    """The dead letter of that number."""
    event = Event.of(
        "document.uploaded", "/shop", {"name": f"<b>{number}</b>.pdf"}, subject=f"doc-{number}", correlationid="first"
    )
    tries = (Failure(NOW - timedelta(minutes=2), "timeout"), Failure(NOW, "the file is <i>no</i> PDF"))
    return DeadLetter(f"dl{number}", "extract", event, "key:web-shop", 5, "the file is <i>no</i> PDF", NOW, tries)


@dataclass
class FakeEvents(FakeCatalogue):
    """Three consumers, two dead letters of one of them, and a tree of four events."""

    behind: int = 12
    letters: list[DeadLetter] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.empty:
            return
        self.letters = [letter(1), letter(2)]

        def hop(name: str, cause: str, seconds: float, kind: str, *handled: Handling) -> Hop:
            return Hop(name, "/shop", kind, cause, NOW - timedelta(seconds=600 - seconds), handled)

        def by(consumer: str, state: Any, seconds: float, at: float, error: str = "") -> Handling:
            tries = 1 if state == "done" else 5
            return Handling(consumer, state, tries, NOW - timedelta(seconds=600 - at), seconds, error)

        self.hops = [
            hop("first", "", 0, "document.uploaded", by("extract", "done", 0.8, 0.8)),
            hop("second", "first", 0.8, "document.extracted", by("classify", "done", 1.2, 2.0)),
            hop("third", "second", 2.0, "document.classified", by("notify", "dead", 30.0, 32.0, "no <b>address</b>")),
            hop("fourth", "second", 2.0, "document.archived"),
        ]

    async def consumers(self, ctx: Context) -> Sequence[ConsumerView]:
        if self.empty:
            return ()
        return [
            ConsumerView("audit-trail", ("*",), False, False, 0, 0, 0, 0, 1, 0),
            ConsumerView("classify", ("document.extracted",), True, True, self.behind, 1, 0, 0, 64, 1),
            ConsumerView("extract", ("document.uploaded",), True, False, 0, 0, len(self.letters), 3, 64, 2),
        ]

    async def pause(self, ctx: Context, consumer: str) -> None:
        self.asked.append(("pause", consumer))

    async def resume(self, ctx: Context, consumer: str) -> None:
        self.asked.append(("resume", consumer))

    async def dead(
        self, ctx: Context, *, consumer: str = "", selection: Selection | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        ids = selection.ids if selection is not None else ()
        found = [each for each in self.letters if consumer in ("", each.consumer) and (not ids or each.id in ids)]
        return found[:limit]

    async def redrive(
        self, ctx: Context, consumer: str, selection: Selection, *, rate: float | None = None, limit: int = 10_000
    ) -> Redriven:
        self.asked.append(("redrive", consumer, selection, rate))
        return Redriven(len(selection.ids) or len(self.letters), False)

    async def discard(self, ctx: Context, consumer: str, ids: Sequence[str]) -> int:
        self.asked.append(("discard", consumer, tuple(ids)))
        return len(ids)

    async def tree(self, ctx: Context, correlation: str) -> Sequence[Hop]:
        if correlation != "first" or not self.hops:
            raise NotFound("nothing is known of this chain of events")
        return self.hops
