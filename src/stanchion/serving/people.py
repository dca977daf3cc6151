"""People behind a model: the rung `human`, and the second look at marked answers. Both open items under review.

Items are opened in the house's own name with one right, `review:open`: whoever may predict may cause a declared review.
The caller is excluded from deciding it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pydantic

from ..core.context import Context, Rights, system_context
from ..core.errors import StanchionError, Unavailable
from ..core.tasks import end_tasks
from ..core.values import Json
from ..review import MOST_DRAFTS, Draft, Reviews
from .contract import ServedSpec
from .rules import Marked, Reviewers
from .rungs import Answers, Batch, Call

WAITING = "waiting"
_QUEUED = 1_000
_log = logging.getLogger(__name__)


class Waiting(dict[str, Json]):
    """No values yet: the item of this id waits for people."""

    __slots__ = ("item",)

    def __init__(self, item: str) -> None:
        super().__init__()
        self.item = item


class People(Reviewers):
    """The reviewers of a system. Marked answers are opened in the background; what waits at a crash is lost, and
    stands in answer and journal all the same."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews
        self._queue: asyncio.Queue[tuple[Context, Draft]] = asyncio.Queue(_QUEUED)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to open what is marked."""
        self._task = asyncio.create_task(self._run(), name="serving-reviews")

    async def stop(self) -> None:
        """Open what is left, for five seconds at most, and end."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._queue.join()
        await end_tasks(self._task)

    def take(self, ctx: Context, marked: Sequence[Marked]) -> None:
        for each in marked:
            draft = Draft(
                queue=each.queue,
                input=dict(each.inputs),
                proposal=dict(each.output),
                key=f"{each.model}/{each.request_id}/{each.instance}",
                title=f"{each.model} {each.version}"[:200],
                question=each.reason,
                model=each.model,
                model_version=each.version,
                excluded=(ctx.principal,),
                request_id=each.request_id,
                forced=True,
            )
            try:
                self._queue.put_nowait((_house(ctx), draft))
            except asyncio.QueueFull:
                _log.warning("an answer of %s that was marked for review was not opened: too many wait", each.model)

    def rung(self, spec: ServedSpec, version: str, typed: Callable[[Any], pydantic.BaseModel]) -> Call:
        """The rung `human`: opens an item for each instance, and answers that it waits."""

        async def call(ctx: Context, items: Batch) -> Answers:
            drafts = [self._draft(spec, version, ctx, typed(item)) for item in items]
            wanted = {draft.key: draft for draft in drafts}
            opened: dict[str, str] = {}
            keys = list(wanted)
            for start in range(0, len(keys), MOST_DRAFTS):
                some = keys[start : start + MOST_DRAFTS]
                opened |= dict(zip(some, await self._opened(ctx, spec, [wanted[key] for key in some]), strict=True))
            return [Waiting(opened[draft.key]) for draft in drafts]

        return call

    async def _opened(self, ctx: Context, spec: ServedSpec, drafts: Sequence[Draft]) -> list[str]:
        try:
            found = await self._reviews.open(_house(ctx), drafts)
        except StanchionError as error:
            # Not the caller's fault, whatever it is: the ladder goes on.
            raise Unavailable(f"nobody can be asked about {spec.name}: {error.detail}") from error
        return [each.item.id for each in found if each.item is not None]

    def _draft(self, spec: ServedSpec, version: str, ctx: Context, instance: pydantic.BaseModel) -> Draft:
        given: Mapping[str, Json] = instance.model_dump(mode="json")
        name = hashlib.sha256(msgspec.json.encode(given)).hexdigest()[:16]
        default = None if spec.default is None else spec.default.model_dump(mode="json")
        return Draft(
            queue=spec.options.human,
            input=dict(given),
            proposal=default,
            key=f"{spec.name}/{ctx.request_id}/{name}",
            title=f"{spec.name} {version}"[:200],
            question="No rung of the model answered.",
            model=spec.name,
            model_version=version,
            excluded=(ctx.principal,),
            request_id=ctx.request_id,
            forced=True,
        )

    async def _run(self) -> None:
        while True:
            ctx, draft = await self._queue.get()
            try:
                await self._reviews.open(ctx, [draft])
            except StanchionError as error:
                _log.warning("an answer of %s marked for review was not opened: %s", draft.model, error.detail)
            finally:
                self._queue.task_done()


def _house(ctx: Context) -> Context:
    own = system_context(ctx.tenant, task="serving", roles=frozenset())
    return replace(own, rights=Rights(scopes=frozenset({"review:open"})), trace=ctx.trace)
