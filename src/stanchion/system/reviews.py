"""What a system declares of its reviews: queues of proposals that people decide, and the handle that waits for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar, Unpack

from pydantic import BaseModel

from ..core.context import Context, Rights, system_context
from ..core.errors import DeadlineExceeded, InvalidInput
from ..core.values import Json
from .handles import Bound

if TYPE_CHECKING:
    # Types only: a system that declares no queue need not load the contract of reviews.
    from ..events import Event
    from ..pipelines import LiveRun, Pipelines
    from ..review import (
        Answer,
        Draft,
        Explanation,
        Notify,
        Opened,
        Priority,
        Reviews,
        ReviewSpec,
        Rule,
        Signals,
        Sla,
        Source,
        Verdict,
    )

H = TypeVar("H", bound=Bound)
_WAIT = 60.0
CONSUMER = "review-resumes-runs"
RUN = "run:"


class ReviewRules(TypedDict, total=False):
    """The rules of `ReviewSpec`, all of them optional."""

    reviewers: int
    double: float
    four_eyes: bool
    blind: bool
    assign: Literal["pull", "push"]
    offer: float
    skills: frozenset[str]
    roles: frozenset[str]
    seniors: frozenset[str]
    lease: float
    sla: Mapping[Priority, Sla]
    at_expiry: str
    undo: float
    reasons: Mapping[Verdict, Sequence[str]]
    mask: Mapping[str, frozenset[str]]
    similar: int
    notify: Sequence[str]
    notify_on: Sequence[Notify]


class Proposal(TypedDict, total=False):
    """The parts of a `Draft` besides its queue, key, input and proposal, all of them optional."""

    title: str
    question: str
    signals: Signals
    priority: Priority
    explanation: Explanation
    sources: Sequence[Source]
    model: str
    model_version: str
    cost: str
    skills: Sequence[str]
    excluded: Sequence[str]
    request_id: str
    forced: bool


class ReviewQueue(Bound):
    """A declared queue: open items in it, and wait for what people decide."""

    def __init__(self, spec: ReviewSpec) -> None:
        super().__init__(f"review:{spec.name}")
        self.spec = spec

    def specs(self) -> Sequence[object]:
        return (self.spec,)

    async def open(
        self,
        ctx: Context,
        *,
        given: Json | BaseModel,
        proposal: Json | BaseModel,
        key: str = "",
        **more: Unpack[Proposal],
    ) -> Opened:
        """Open an item if a rule asks for one, and go on. Raises what `Reviews.open` does."""
        door = self._reviews()
        [opened] = await door.open(ctx, [self._draft(key, given, proposal, more)])
        return opened

    async def ask(
        self,
        ctx: Context,
        *,
        key: str,
        given: Json | BaseModel,
        proposal: Json | BaseModel,
        timeout: timedelta | float | None = None,
        **more: Unpack[Proposal],
    ) -> Answer:
        """What people decide about a proposal for the input `given`.

        Waits for it, over restarts too: the same key is the same question.

        Where no rule asks for a person the answer is `not_needed`, with the proposal as its value. At expiry it is the
        declared default, which is never an approval. After `timeout` (seconds) it is `pending`; without one, this
        waits as long as the caller's deadline lets it. In the code of a run the run is parked meanwhile. Raises what
        `Reviews.ask` does.
        """
        from ..pipelines import live_run

        draft = self._draft(key, given, proposal, more)
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        run = live_run()
        if run is not None:
            return await self._parked(run, ctx, draft, seconds)
        return await self._waited(ctx, draft, seconds)

    async def _waited(self, ctx: Context, draft: Draft, seconds: float | None) -> Answer:
        door = self._reviews()
        while True:
            once = _WAIT if seconds is None else min(_WAIT, seconds)
            answer = await door.ask(ctx, draft, seconds=once)
            if seconds is not None:
                seconds -= once
            if answer.state != "pending" or (seconds is not None and seconds <= 0):
                return answer

    async def _parked(self, run: LiveRun, ctx: Context, draft: Draft, seconds: float | None) -> Answer:
        """Each time this code runs again it makes the same steps, whether the item is decided by then or not."""
        from ..pipelines import Pipelines
        from ..review import Answer

        door = self._reviews()
        draft = _of_run(draft, run.id)
        answer = await door.ask(ctx, draft)
        if answer.state == "not_needed":
            return answer
        if answer.state != "pending":
            # It was decided before this run waited, so no event would wake it.
            await _signal(self._door(Pipelines), ctx.tenant, run.id, answer.item)
        try:
            await run.wait(_signal_name(answer.item), timeout=seconds)
        except DeadlineExceeded:
            return Answer("pending", answer.item)
        return await door.ask(ctx, draft)

    def _reviews(self) -> Reviews:
        from ..review import Reviews

        door: Reviews = self._door(Reviews)
        return door

    def _draft(self, key: str, given: Json | BaseModel, proposal: Json | BaseModel, more: Proposal) -> Draft:
        from ..review import Draft

        return Draft(queue=self.spec.name, key=key, input=_plain(given), proposal=_plain(proposal), **more)


class _Resuming(Bound):
    """Wakes the runs that wait for a decision. It is there once, however many queues are declared."""

    def __init__(self, handles: Mapping[str, Bound]) -> None:
        super().__init__("review:resuming")
        self._handles = handles

    def specs(self) -> Sequence[object]:
        from ..events import HandlerSpec
        from ..pipelines import PipelineSpec

        others = (handle for handle in self._handles.values() if handle is not self)
        if not any(isinstance(spec, PipelineSpec) for handle in others for spec in handle.specs()):
            return ()
        types = ("review.decided", "review.expired")
        return (HandlerSpec(name=CONSUMER, types=types, function=self._resume),)

    async def _resume(self, ctx: Context, event: Event, commit: object) -> None:
        from ..pipelines import Pipelines

        data = event.json()
        run = str(data.get("request_id", ""))
        item = str(data.get("item", ""))
        if not run.startswith(RUN) or not await self._over(ctx.tenant, item):
            return
        await _signal(self._door(Pipelines), ctx.tenant, run.removeprefix(RUN), item)

    async def _over(self, tenant: str, item: str) -> bool:
        """Whether the item really is decided: anybody may publish an event of that name."""
        from ..review import Reviews

        ctx = _own(tenant, "review:see")
        door: Reviews = self._door(Reviews)
        return (await door.get(ctx, item)).item.status in ("decided", "expired")


class ReviewDeclarations:
    """The part of a System that declares queues for people."""

    _handles: dict[str, Bound]

    def _keep(self, handle: H) -> H:
        raise NotImplementedError

    def review(
        self,
        name: str,
        *,
        when: Sequence[Rule] = (),
        edits: type[BaseModel] | Callable[[Json], object] | None = None,
        **rules: Unpack[ReviewRules],
    ) -> ReviewQueue:
        """Declare a queue of proposals that people decide; see `stanchion.review.ReviewSpec`.

        `when` are the rules by which proposals go to people; without any, all do. `edits` is the type that an edited
        proposal must have, or a function that raises ValueError for one that will not do. `sla` may name some
        priorities only; the others keep theirs.
        """
        from ..review import SLAS, ReviewSpec

        check = edits.model_validate if isinstance(edits, type) and issubclass(edits, BaseModel) else edits
        if "sla" in rules:
            rules["sla"] = {**SLAS, **rules["sla"]}
        handle = self._keep(ReviewQueue(ReviewSpec(name=name, rules=tuple(when), check=check, **rules)))
        if "review:resuming" not in self._handles:
            self._keep(_Resuming(self._handles))
        return handle


async def _signal(pipelines: Pipelines, tenant: str, run: str, item: str) -> None:
    await pipelines.signal(_own(tenant, "pipelines:signal"), run, _signal_name(item), {"item": item}, key=item)


def _own(tenant: str, scope: str) -> Context:
    """The house's own Context for one thing: the author of a decision need not have rights over the run it wakes."""
    ctx = system_context(tenant, task="review-resume", roles=frozenset())
    return Context(tenant=tenant, principal=ctx.principal, rights=Rights(scopes=frozenset({scope})), trace=ctx.trace)


def _signal_name(item: str) -> str:
    return f"review:{item}"


def _of_run(draft: Draft, run: str) -> Draft:
    if draft.request_id:
        raise InvalidInput("in a run the item's request_id names the run")
    return replace(draft, request_id=RUN + run)


def _plain(value: Json | BaseModel) -> Json:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
