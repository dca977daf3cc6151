"""The contract of pipelines: declarations, what is told of runs, what a run's code works with, and the Protocol."""

from .checks import Check, RowCheck
from .declarations import Inject, PipelineSpec, QueueSpec, Rate, Retry, ScheduleSpec, StageSpec
from .graph import Traced, Tracer, bound, choose, traced, tracer
from .live import LiveRun, Step, enter_run, live_run
from .nodes import Graph, Node, Ref
from .pipelines import Pipelines
from .runs import (
    DeadRow,
    Progress,
    RecordOutcome,
    RecordStep,
    RecordTrail,
    Run,
    RunFault,
    RunStatus,
    StageRun,
    StageStatus,
    Values,
)
from .stages import Stage, StageFailed, code_of, injections, stage_spec, version_of
from .views import NodeKind, NodeView, PipelineView, QueueView, ScheduleView

__all__ = [
    "Check",
    "DeadRow",
    "Graph",
    "Inject",
    "LiveRun",
    "Node",
    "NodeKind",
    "NodeView",
    "PipelineSpec",
    "PipelineView",
    "Pipelines",
    "Progress",
    "QueueSpec",
    "QueueView",
    "Rate",
    "RecordOutcome",
    "RecordStep",
    "RecordTrail",
    "Ref",
    "Retry",
    "RowCheck",
    "Run",
    "RunFault",
    "RunStatus",
    "ScheduleSpec",
    "ScheduleView",
    "Stage",
    "StageFailed",
    "StageRun",
    "StageSpec",
    "StageStatus",
    "Step",
    "Traced",
    "Tracer",
    "Values",
    "bound",
    "choose",
    "code_of",
    "enter_run",
    "injections",
    "live_run",
    "stage_spec",
    "traced",
    "tracer",
    "version_of",
]
