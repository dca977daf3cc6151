"""Cascades as models: a client asks for `cascade:NAME` in any shape, and gets one answer in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput, NotFound
from ..contract.calls import Account, Ask, Piece, Reply, Shape, Usage
from ..contract.cascade import CalibrationStep, CascadeSpec, Example, KeptReport, Outcome, Predicted, RouterReport
from ..contract.gateway import LanguageModel
from ..dialects.openai import OpenAIDialect
from ..ports import Form, ReportStore
from ..wire.conversation import (
    Answer,
    Began,
    CallBegan,
    CallPart,
    Conversation,
    Counted,
    Ended,
    Step,
    Text,
    Thinking,
    Thought,
    Words,
)
from .calibrate import check_count
from .report import report
from .router import Router
from .run import Taken, run
from .training import train
from .trials import tried

PREFIX = "cascade:"
_UNASKED = Ask("chat", b"")
Complete = Callable[[Context, Ask], Awaitable[Reply]]


@dataclass(slots=True)
class _Sums:
    """What the calls of one cascade came to, and which of them gave which answer."""

    usage: Usage = field(default_factory=Usage)
    cost: int = 0
    priced: bool = True
    accounts: dict[int, Account] = field(default_factory=dict)

    def add(self, answer: Answer, account: Account) -> None:
        """One call more."""
        mine, theirs = self.usage, account.usage
        self.usage = Usage(
            mine.tokens_in + theirs.tokens_in,
            mine.tokens_out + theirs.tokens_out,
            mine.cached + theirs.cached,
            mine.cache_writes + theirs.cache_writes,
            mine.reasoning + theirs.reasoning,
            mine.estimated or theirs.estimated,
        )
        self.cost += account.cost
        self.priced = self.priced and account.priced
        self.accounts[id(answer)] = account


class Cascades:
    """The declared cascades. Every step is a call of the gateway like any other: metered, bounded and placed."""

    def __init__(self, specs: Sequence[CascadeSpec], forms: Mapping[Shape, Form], reports: ReportStore) -> None:
        self._reports = reports
        self._specs = {spec.name: spec for spec in specs}
        self._routers = {
            spec.name: Router.load(Path(spec.verify.file)) for spec in specs if isinstance(spec.verify, Predicted)
        }
        self._forms = forms
        self._dialect = OpenAIDialect()

    def listed(self) -> list[LanguageModel]:
        """As clients may see them, by name."""
        return [LanguageModel(PREFIX + name, tuple(sorted(self._forms))) for name in sorted(self._specs)]

    def spec(self, name: str) -> CascadeSpec:
        """Raises NotFound."""
        found = self._specs.get(name.removeprefix(PREFIX))
        if found is None:
            raise NotFound(f"there is no model {name!r}", next_step="GET /v1/models lists what there is.")
        return found

    async def complete(self, ctx: Context, name: str, ask: Ask, inner: Complete) -> Reply:
        """The whole answer. Raises what `Gateway.complete` does."""
        form, asked, taken, account = await self._run(ctx, name, ask, inner)
        return Reply(form.whole(replace(taken.answer, usage=account.usage), asked=asked, model=name), account)

    async def stream(self, ctx: Context, name: str, ask: Ask, inner: Complete) -> AsyncGenerator[Piece, None]:
        """The answer as a stream, which begins once it is known which answer will do."""
        form, asked, taken, account = await self._run(ctx, name, ask, inner)
        renderer = form.renderer(asked=asked, model=name)
        data = b"".join(renderer.step(step) for step in _steps(taken.answer, account.usage))
        yield Piece(data + renderer.end(), opening=account)
        yield Piece(b"", account)

    async def calibrate(
        self,
        ctx: Context,
        name: str,
        examples: Sequence[Example],
        inner: Complete,
        *,
        floor: float,
        confidence: float,
    ) -> AsyncGenerator[CalibrationStep, None]:
        """As the contract's."""
        spec, sums = self.spec(name), _Sums()
        check_count(len(examples))
        trials = []
        for number, example in enumerate(examples, 1):
            call = self._calls(ctx, spec, inner, sums)
            trials.append(await tried(spec, example, call, lambda: sums.cost, self._routers.get(spec.name)))
            yield CalibrationStep(number, len(examples), sums.cost)
        made = report(spec.steps, trials, floor=floor, confidence=confidence)
        await self._reports.keep(ctx, spec.name, made)
        yield CalibrationStep(len(examples), len(examples), sums.cost, made)

    async def reports(self, ctx: Context) -> Sequence[KeptReport]:
        """As the contract's `cascade_reports`."""
        return await self._reports.newest(ctx)

    async def train_router(self, outcomes: Sequence[Outcome]) -> RouterReport:
        """As the contract's."""
        trained = await asyncio.to_thread(train, outcomes)
        return RouterReport(msgspec.json.encode(trained.router), trained.router.examples, trained.router.auc)

    def _calls(
        self, ctx: Context, spec: CascadeSpec, inner: Complete, sums: _Sums, ask: Ask = _UNASKED
    ) -> Callable[[str, Conversation], Awaitable[Answer]]:
        tags = {**ask.tags, "cascade": spec.name}

        async def call(model: str, conversation: Conversation) -> Answer:
            wire = self._dialect.request(replace(conversation, stream=False), model)
            reply = await inner(ctx, Ask("chat", wire.body, tags=tags, background=ask.background))
            answer = self._dialect.answer(reply.body)
            sums.add(answer, reply.account)
            return answer

        return call

    async def _run(
        self, ctx: Context, name: str, ask: Ask, inner: Complete
    ) -> tuple[Form, Conversation, Taken, Account]:
        spec, form = self.spec(name), self._forms.get(ask.shape)
        if form is None:
            raise InvalidInput(f"a cascade does not serve {ask.shape}")
        asked, sums = form.parse(ask), _Sums()
        call = self._calls(ctx, spec, inner, sums, ask)
        taken = await run(spec, asked, call, self._routers.get(spec.name))
        return form, asked, taken, _account(spec, taken, sums)


def _account(spec: CascadeSpec, taken: Taken, sums: _Sums) -> Account:
    found = sums.accounts[id(taken.answer)]
    told = ("failed" if score is None else f"score {score:.2f}" for score in taken.scores[: taken.step])
    return replace(
        found,
        rung=f"step-{taken.step + 1}",
        route=PREFIX + spec.name,
        usage=sums.usage,
        cost=sums.cost,
        priced=sums.priced,
        finish=taken.answer.stop,
        tried=tuple(zip(spec.steps, told, strict=False)),
    )


def _steps(answer: Answer, usage: Usage) -> Iterator[Step]:
    yield Began(answer.id, answer.model)
    index = 0
    for part in answer.parts:
        if isinstance(part, Text):
            yield Words(part.text, answer.logprobs)
        elif isinstance(part, Thinking):
            yield Thought(part.text, part.signature)
        else:
            yield CallBegan(index, part.id, part.name)
            yield CallPart(index, part.arguments)
            index += 1
    yield Counted(usage)
    yield Ended(answer.stop)
