"""How a run begins: from whom, with which code, rights and key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from ..core.clock import Clock, micros
from ..core.context import Context, new_request_id, system_context
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.values import Json
from .contract import PipelineSpec
from .ports import Engine, RunRow, StepRow
from .running.children import Wanted
from .values import author_of, codec

_LONGEST_KEY = 400


class Starting:
    """Makes new runs, and stores them."""

    def __init__(
        self, engine: Engine, specs: Mapping[str, PipelineSpec], clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._specs = specs
        self._clock = clock
        self.wake = wake
        self._last = 0

    def spec(self, pipeline: str) -> PipelineSpec:
        """A declared pipeline. Raises NotFound."""
        if pipeline not in self._specs:
            known = ", ".join(sorted(self._specs)) or "none"
            raise NotFound(f"there is no pipeline {pipeline!r}", next_step=f"Declared here are: {known}.")
        return self._specs[pipeline]

    async def start(self, ctx: Context, pipeline: str, inputs: Json, *, key: str | None, dry: bool) -> RunRow:
        """A run for a caller. Raises NotFound, InvalidInput, Conflict."""
        spec = self.spec(pipeline)
        if key is not None and (not key or not written(key, _LONGEST_KEY)):
            raise InvalidInput(f"a key has 1 to {_LONGEST_KEY} printable characters")
        row = self.draft(spec, ctx.tenant, author_of(ctx), from_plain(spec, inputs), key=key)
        found, made = await self._engine.enqueue(ctx, replace(row, dry=dry))
        if not made and found.inputs != row.inputs:
            raise Conflict(
                f"the key was used for the run {found.id} with other inputs", next_step="Use another key for them."
            )
        if ctx.effect is not None:
            ctx.effect.note(run=found.id, version=found.version, new=made)
        self.wake()
        return found

    async def begin(self, parent: RunRow, wanted: Wanted) -> RunRow:
        """A child with its parent's rights, begun once for its key."""
        spec = self.spec(wanted.pipeline)
        row = self.draft(spec, parent.tenant, parent.author, codec(spec.input).encode(wanted.inputs), key=wanted.key)
        row = replace(row, parent=parent.id, partition=wanted.partition, dry=parent.dry)
        found, _ = await self._engine.enqueue(system_context(parent.tenant, task="pipelines"), row)
        self.wake()
        return found

    async def fork(self, ctx: Context, old: RunRow, kept: Sequence[StepRow]) -> RunRow:
        """A run like another, with some of its journal, the present code and the caller's rights."""
        spec = self.spec(old.pipeline)
        row = self.draft(spec, ctx.tenant, author_of(ctx), old.inputs, key=None)
        row = replace(row, forked_from=old.id, partition=old.partition, dry=old.dry)
        found, _ = await self._engine.enqueue(ctx, row, kept)
        self.wake()
        return found

    def draft(self, spec: PipelineSpec, tenant: str, author: str, inputs: str, *, key: str | None) -> RunRow:
        """A run that is due now."""
        # Never twice the same moment: runs of one process keep the order in which they were asked for.
        now = self._last = max(micros(self._clock.now()), self._last + 1)
        return RunRow(
            tenant=tenant,
            id=new_request_id(),
            pipeline=spec.name,
            version=spec.version,
            status="queued",
            queue=spec.queue,
            priority=spec.priority,
            key=key,
            inputs=inputs,
            author=author,
            created=now,
            due=now,
            deadline=None if spec.timeout is None else now + int(spec.timeout * 1e6),
        )


def written(text: str, most: int) -> bool:
    """Whether a name can be stored by every engine: printable, and at most so long."""
    return len(text) <= most and text.isprintable()


def known_id(run: str) -> str:
    """What could be the id of a run. Raises NotFound."""
    if not run.isascii() or not run.isalnum() or len(run) > 64:
        raise NotFound(f"there is no run {run[:64]!r}", next_step="List the runs with GET /v1/runs.")
    return run


def from_plain(spec: PipelineSpec, inputs: Json) -> str:
    """Plain JSON as the pipeline's inputs. Raises InvalidInput."""
    kind = codec(spec.input)
    return kind.encode(kind.decode(msgspec.json.encode(inputs).decode()))


def from_typed(spec: PipelineSpec, inputs: Any) -> str:
    """A value of the declared type as the pipeline's inputs. Raises InvalidInput."""
    return codec(spec.input).encode(inputs)
