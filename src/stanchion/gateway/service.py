"""The rules of the gateway: who is asked, in what order, within what, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import Conflict, InvalidInput, NotFound, StanchionError
from ..core.tasks import end_tasks
from .accounting import Accounting
from .batches.desk import BatchDesk
from .batching import Batching
from .caching import Answers
from .calibrating import Calibrating
from .cascade.desk import PREFIX, Cascades
from .contract.calls import Ask, Piece, Reply
from .contract.comparison import Comparisons
from .contract.gateway import Gateway, LanguageModel, Plan, RouteView
from .contract.privacy import highest
from .contract.specs import RouteSpec
from .embedder.desk import Embedder
from .installing import Installing
from .money.service import MoneyService
from .operating import Operating, Upstreams
from .ports import RouteStore
from .prompting import Prompting
from .prompts.service import PromptService
from .routing.asked import Asked, read
from .routing.attempts import Attempts
from .routing.balancing import balanced
from .routing.choosing import Candidate, Chooser, Refused, nobody, planned
from .routing.failing import failing
from .routing.history import History, Restoring
from .routing.ladders import Call, Ladders, account_of
from .routing.table import Table, Target
from .shield.desk import Shield
from .shield.placing import Placing
from .tools.desk import ToolDesk, Tooling
from .wire.peek import peek_of

if TYPE_CHECKING:
    from .similar.desk import Similar

_log = logging.getLogger(__name__)


class GatewayService(Accounting, Prompting, Operating, Installing, Tooling, Batching, Restoring, Calibrating, Gateway):
    """Sends calls to models along their routes. `start` and `stop` frame its life."""

    def __init__(
        self,
        table: Table,
        chooser: Chooser,
        attempts: Attempts,
        *,
        money: MoneyService,
        comparisons: Comparisons,
        prompts: PromptService,
        shield: Shield,
        placing: Placing,
        cascades: Cascades,
        store: RouteStore,
        upstreams: Upstreams,
        embedder: Embedder,
        tools: ToolDesk,
        batches: BatchDesk,
        clock: Clock,
        poll_seconds: float = 1.0,
        served: Callable[[str], None] = lambda rung: None,
        cached: Callable[[str], None] = lambda result: None,
    ) -> None:
        Accounting.__init__(self, money, comparisons)
        Prompting.__init__(self, prompts)
        Operating.__init__(self, upstreams)
        Installing.__init__(self, embedder)
        Tooling.__init__(self, tools)
        Batching.__init__(self, batches)
        Restoring.__init__(self, History(table, store))
        Calibrating.__init__(self, cascades)
        self._shield = shield
        self._placing = placing
        self._answers = Answers(clock)
        self._alike: Similar | None = None
        self._money = money
        self._table = table
        self._chooser = chooser
        self._attempts = attempts
        self._store = store
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._cached = cached
        self._ladders = Ladders(clock=clock, sending=placing.sent, served=served)
        self._newest: dict[tuple[str, str], int] = {}
        self._seen = -1
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the routes that were put, and follow those that other processes put."""
        await self._refresh()
        # A system without models has nothing to count, and no background work.
        if self._table.models:
            await self._upstreams.start()
            await self._money.start()
            if any(served.declared_price is None for served in self._table.models.values()):
                # The first call would wait a second for the table otherwise.
                await self._money.prices.load()
            self._follower = asyncio.create_task(self._follow(), name="gateway-routes")
            await self._batches.start()

    async def stop(self) -> None:
        """End the following, and close the connections to the upstreams."""
        await self._batches.stop()
        if self._follower is not None:
            await end_tasks(self._follower)
            await self._money.stop()
            await self._upstreams.stop()
        await self._tools.close()
        for transport in {id(m.transport): m.transport for m in self._table.models.values()}.values():
            await transport.close()

    # Calls

    async def complete(self, ctx: Context, ask: Ask) -> Reply:
        with self._load:
            reply = await self._shield.complete(ctx, ask, self._complete)
        if reply.account.cache:
            self._cached(reply.account.cache)
        return reply

    async def stream(self, ctx: Context, ask: Ask) -> AsyncIterator[Piece]:
        with self._load:
            async with aclosing(self._shield.stream(ctx, ask, self._stream)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _complete(self, ctx: Context, ask: Ask) -> Reply:
        known = self._table.found(ctx.tenant, peek_of(ask).model)
        if known is not None and (kept := self._answers.kept(ctx, ask, known)) is not None:
            return kept
        asked = read(ask)
        if asked.model.startswith(PREFIX):
            return await self._cascades.complete(ctx, asked.model, ask, self._complete)
        if asked.streams:
            raise InvalidInput("the request asks for a stream", next_step="Leave `stream` out, or read the stream.")
        target = self._table.find(ctx.tenant, asked.model)
        if target.spec.similar is None:
            return await self._answers.get(ctx, ask, target, lambda: self._answered(ctx, asked))
        return await self._similar().get(ctx, ask, target, lambda: self._answered(ctx, asked))

    def _similar(self) -> Similar:
        """Loaded with its first use: most systems have no such route."""
        if self._alike is None:
            from .similar.desk import Similar

            self._alike = Similar(self._clock, self._complete)
        return self._alike

    async def _answered(self, ctx: Context, asked: Asked) -> Reply:
        call = await self._call(ctx, asked)
        step = await self._ladders.climb(ctx, call, self._attempts.whole)
        done = step.value
        told = account_of(call, done.candidate, step, finish=done.answer.finish, usage=done.usage, cost=done.cost)
        return Reply(done.answer.body, told)

    async def _stream(self, ctx: Context, ask: Ask) -> AsyncGenerator[Piece, None]:
        asked = read(ask)
        if asked.model.startswith(PREFIX):
            async with aclosing(self._cascades.stream(ctx, asked.model, ask, self._complete)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        call = await self._call(ctx, asked)
        step = await self._ladders.climb(ctx, call, self._attempts.opened)
        opened = step.value
        account = account_of(call, opened.candidate, step)
        try:
            yield Piece(opened.first, opening=account)
            async with aclosing(opened.rest()) as rest:
                async for data in rest:
                    yield Piece(data)
        except StanchionError as error:
            opened.candidate.served.breaker.broke(error)
            yield Piece(failing(ctx, ask.shape, error))
            raise
        finally:
            await opened.close()
        yield Piece(b"", replace(account, usage=opened.usage, cost=opened.cost, finish=opened.finish))

    async def plan(self, ctx: Context, ask: Ask, *, version: int | None = None) -> Plan:
        checked = await self._shield.checked(ctx, ask)
        asked, ctx = read(checked.ask), checked.ctx
        target = await self._history.asked(ctx, asked.model, version)
        judged = self._judged(ctx, asked, target)
        rungs = [planned(each) for each in judged]
        out = next((each.tokens_out for each in judged if isinstance(each, Candidate)), asked.most_out or 0)
        return Plan(target.route, target.version, asked.tokens_in, out, tuple(rungs))

    # Routes

    async def models(self, ctx: Context) -> Sequence[LanguageModel]:
        return [*self._table.listed(ctx.tenant), *self._cascades.listed()]

    async def routes(self, ctx: Context) -> Sequence[RouteView]:
        return self._table.views(ctx.tenant)

    async def put_route(self, ctx: Context, name: str, spec: RouteSpec, *, version: int) -> RouteView:
        if spec.name != name:
            raise InvalidInput(f"the route is called {spec.name!r} in itself and {name!r} where it is put")
        self._table.checked(spec, 0)
        await self._refresh()
        self._check_version(ctx, name, version)
        newest = self._newest.get((ctx.tenant, name), 0)
        if ctx.effect is not None:
            # Before the write: the audit event is part of its transaction.
            ctx.effect.note(version=newest + 1, primary=spec.primary, fallbacks=",".join(spec.fallbacks))
        new = await self._store.put(ctx, name, spec, after=newest)
        await self._refresh()
        return self._table.view(self._table.checked(spec, new))

    async def drop_route(self, ctx: Context, name: str, *, version: int) -> None:
        await self._refresh()
        present = self._table.route(ctx.tenant, name)
        if present is None or present.version == 0:
            raise NotFound(f"no route {name!r} was put", next_step="A declared route is changed in the system's file.")
        self._check_version(ctx, name, version)
        newest = self._newest.get((ctx.tenant, name), 0)
        if ctx.effect is not None:
            ctx.effect.note(version=newest + 1)
        await self._store.put(ctx, name, None, after=newest)
        await self._refresh()

    def _check_version(self, ctx: Context, name: str, version: int) -> None:
        present = self._table.route(ctx.tenant, name)
        actual = 0 if present is None else present.version
        if actual != version:
            raise Conflict(f"the route {name!r} is at version {actual}, not {version}")

    async def _refresh(self) -> None:
        changes = await self._store.changes()
        if changes == self._seen:
            return
        loaded = await self._store.load()
        put = {}
        for key, (version, spec) in loaded.items():
            if spec is not None:
                try:
                    put[key] = self._table.checked(spec, version)
                except InvalidInput as error:
                    # Its model is no longer declared: the declared route, if any, holds until it is put anew.
                    _log.warning("the route %s of %s cannot be used: %s", key[1], key[0], error.detail)
        self._newest = {key: version for key, (version, _) in loaded.items()}
        self._table.replace(put)
        self._seen = changes

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self._refresh()
                await self._upstreams.refresh()
            except StanchionError as error:
                _log.warning("changes of routes could not be read: %s", error.detail)

    # Who may be asked

    async def _call(self, ctx: Context, asked: Asked) -> Call:
        target = self._table.find(ctx.tenant, asked.model)
        judged = self._judged(ctx, asked, target)
        candidates = [each for each in judged if isinstance(each, Candidate)]
        if not candidates:
            refused = [each for each in judged if isinstance(each, Refused)]
            if any(each.why == "data" for each in refused):
                await self._placing.kept(ctx, target.subject)
            raise nobody(refused)
        return Call(asked, target, candidates)

    def _judged(self, ctx: Context, asked: Asked, target: Target) -> list[Candidate | Refused]:
        judged = self._chooser.judge(ctx, asked, target, highest(*ctx.labels), self._placing.why_not(ctx))
        return balanced(ctx, asked, target, judged) if len(judged) > 1 else judged
