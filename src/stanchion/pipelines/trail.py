"""What happened to one record: found in what the stages of a run took and gave, which the journal holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.clock import moment
from .contract import PipelineSpec, RecordOutcome, RecordStep, Ref
from .ports import BadRow, StepRow
from .values import Answers, plain


class Trail:
    """Follows a record through one run."""

    def __init__(self, spec: PipelineSpec, steps: Sequence[StepRow], answers: Answers) -> None:
        self._spec = spec
        self._steps = steps
        self._answers = answers

    async def follow(self, record: str, bad: Sequence[tuple[str, BadRow, int]]) -> list[RecordStep]:
        """One line for each step that names its records and ended."""
        aside: dict[str, list[BadRow]] = {}
        for where, row, _ in bad:
            if row.record == record:
                aside.setdefault(where, []).append(row)
        seen: dict[str, Any] = {}
        found: list[RecordStep] = []
        last: Any = None
        for base, items in self._calls():
            stage = self._spec.stages[items[0].stage]
            before, after, whole = self._before(base, seen, last), None, items[0]
            for step in items:
                given = _find(plain(await self._answers.load(step.output, step.blob)), stage.record, record)
                if given is not None or step.step in aside:
                    after, whole = given, step
            words = aside.get(whole.step, [])
            if before is None and words and after is None:
                before = plain(words[0].row)
            seen[base] = last = after
            if before is not None or after is not None:
                outcome, why = _judged(before, after, words)
                # Of a map's items only the one that had it tells something; where none did, the map as a whole.
                name = whole.step if after is not None or words else base
                found.append(RecordStep(name, whole.stage, outcome, before, after, tuple(why), moment(whole.ended)))
        return found

    def _calls(self) -> list[tuple[str, list[StepRow]]]:
        """Steps that ended and name their records; the items of a map together."""
        found: dict[str, list[StepRow]] = {}
        for step in self._steps:
            stage = self._spec.stages.get(step.stage)
            if stage is not None and stage.record and step.status == "done":
                found.setdefault(step.step.partition("[")[0], []).append(step)
        return list(found.items())

    def _before(self, base: str, seen: Mapping[str, Any], last: Any) -> Any:
        """The record as the step got it: from the nodes it takes from, or in code from the step before."""
        graph = self._spec.graph
        if graph is None:
            return last
        node = next((each for each in graph.nodes if each.id == base), None)
        sources = [] if node is None else [ref.node for ref in node.arguments.values() if isinstance(ref, Ref)]
        return next((found for source in self._known(sources, seen) if (found := seen.get(source)) is not None), None)

    def _known(self, sources: Sequence[str], seen: Mapping[str, Any]) -> list[str]:
        """The nearest nodes above that name their records: a stage between may give something else than rows."""
        graph, found, left = self._spec.graph, [], list(sources)
        while left and graph is not None:
            source = left.pop(0)
            if source in seen:
                found.append(source)
                continue
            node = next((each for each in graph.nodes if each.id == source), None)
            left += [] if node is None else [r.node for r in node.arguments.values() if isinstance(r, Ref)]
        return found


def _find(rows: Any, field: str, record: str) -> Any:
    """The row with that id in an answer, which may be a list of rows or of lists of rows."""
    if isinstance(rows, Mapping):
        return rows if str(rows.get(field)) == record else None
    if isinstance(rows, list):
        for row in rows:
            found = _find(row, field, record)
            if found is not None:
                return found
    return None


def _judged(before: Any, after: Any, aside: Sequence[BadRow]) -> tuple[RecordOutcome, list[str]]:
    if aside:
        return "quarantined", [reason for row in aside for reason in row.reasons]
    if after is None:
        return "dropped", ["the stage did not give it back"]
    if before is None:
        return "produced", []
    return ("unchanged" if before == after else "changed"), []
