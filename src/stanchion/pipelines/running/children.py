"""Runs that a run begins: once each, with its rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ...core.errors import Conflict
from ..contract import StageFailed
from ..ports import Claimed, RunRow
from .steps import Tools


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which run is to be there."""

    pipeline: str
    inputs: Any
    key: str
    partition: str | None = None


class Starter(Protocol):
    """How a run is started on behalf of another."""

    async def begin(self, parent: RunRow, wanted: Wanted) -> RunRow:
        """The run that has the key, begun if there is none. Raises NotFound, InvalidInput."""
        ...


class Children:
    """The children of one run."""

    def __init__(self, tools: Tools, claimed: Claimed, starter: Starter) -> None:
        self._tools = tools
        self._row = claimed.row
        self._starter = starter

    async def begun(self, wanted: Wanted) -> RunRow:
        """The child of a key, begun if there is none."""
        if wanted.pipeline == self._row.pipeline and wanted.key == self._row.key:
            raise Conflict(f"the run {self._row.id} would wait for itself")
        return await self._starter.begin(self._row, wanted)

    async def seen(self, run: str) -> RunRow:
        """The child as it is now."""
        return await self._tools.engine.run(self._row.tenant, run)

    async def output(self, run: str) -> str | None:
        """The output of a child that has ended. Raises StageFailed if it did not end well."""
        row = await self.seen(run)
        if row.status != "done":
            raise StageFailed("run_failed", f"the run {run} of {row.pipeline} is {row.status}", f"child:{row.pipeline}")
        return await self._tools.answers.load(row.output, row.blob)
