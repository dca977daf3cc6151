"""Stored rows as what callers are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..core.clock import moment
from .contract import DeadRow, Node, NodeView, PipelineSpec, PipelineView, Run, RunFault, StageRun
from .contract.nodes import INPUT
from .ports import NEVER, BadRow, RunRow, StepRow
from .values import codec, plain, principal_of

_fault = msgspec.json.Decoder(RunFault)


def run_view(row: RunRow, waits: Mapping[str, Sequence[str]], blocked: str = "") -> Run:
    """A run without its values."""
    return Run(
        id=row.id,
        pipeline=row.pipeline,
        version=row.version,
        status=row.status,
        queue=row.queue,
        priority=row.priority,
        principal=principal_of(row.author),
        created=moment(row.created),
        started=None if row.started is None else moment(row.started),
        ended=None if row.ended is None else moment(row.ended),
        due=moment(row.due) if row.status in ("queued", "waiting") and row.due < NEVER else None,
        key=row.key,
        parent=row.parent,
        forked_from=row.forked_from,
        schedule=row.schedule,
        partition=row.partition,
        dry=row.dry,
        cancelling=row.cancelling,
        recoveries=row.recoveries,
        refused=row.refused,
        waits=tuple(waits.get(row.id, ())),
        blocked=blocked,
        error=None if row.error is None else _fault.decode(row.error),
    )


def stage_view(row: StepRow) -> StageRun:
    """A step without its values."""
    return StageRun(
        step=row.step,
        stage=row.stage,
        number=row.number,
        status=row.status,
        attempts=row.attempts,
        started=moment(row.started),
        ended=moment(row.ended),
        rows=row.rows,
        quarantined=row.quarantined,
        cached=row.cached,
        error=row.error,
        notes=row.notes,
        until=None if row.until is None else moment(row.until),
    )


def dead_row(step: str, bad: BadRow, at: int) -> DeadRow:
    """A row that was set aside."""
    return DeadRow(step, bad.record, bad.reasons, plain(bad.row), moment(at))


def pipeline_view(spec: PipelineSpec, schedules: Sequence[str]) -> PipelineView:
    """A declared pipeline."""
    nodes: tuple[NodeView, ...] = ()
    if spec.graph is not None:
        nodes = (NodeView(INPUT, INPUT, "input"), *(node_view(node) for node in spec.graph.nodes))
    return PipelineView(
        name=spec.name,
        version=spec.version,
        queue=spec.queue,
        about=spec.about,
        schema=schema_of(spec.input),
        stages=tuple(spec.stages),
        nodes=nodes,
        schedules=tuple(schedules),
    )


def node_view(node: Node) -> NodeView:
    """One box of the picture."""
    guard = " and ".join(f"{'' if said else 'not '}{'.'.join((ref.node, *ref.path))}" for ref, said in node.guards)
    return NodeView(node.id, node.stage, node.kind, node.after, guard)


def schema_of(kind: Any) -> Mapping[str, Any]:
    """The JSON Schema of a pipeline's inputs."""
    return codec(kind).schema()
