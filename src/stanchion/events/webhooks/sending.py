"""Sends events to webhooks: each is a consumer of the bus whose handling is a signed POST."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

from ...core.clock import Clock
from ...core.context import Context, system_context
from ...core.errors import NotFound, StanchionError
from ...core.tasks import end_tasks
from ..contract.delivery import Delivery, Outcome
from ..contract.events import Events
from ..contract.hooks import HookView
from .keeping import Hook, HookTable
from .posting import Posted, Poster

_TOGETHER = 16
_WAIT = 5.0
_LOOK = 2.0
_FIRST, _LONGEST = 2.0, 3_600.0
_log = logging.getLogger(__name__)


class Sender:
    """Runs a loop for every active webhook of every tenant; `failures` in a row disable one."""

    def __init__(self, table: HookTable, poster: Poster, bus: Events, *, clock: Clock, failures: int) -> None:
        self._table = table
        self._poster = poster
        self._bus = bus
        self._clock = clock
        self._failures = failures
        self._loops: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._taking: dict[tuple[str, str], str] = {}

    async def start(self) -> None:
        """Follow the table, and send. A start waits for nothing of it."""
        self._watch = asyncio.create_task(self._follow(), name="webhooks")

    async def stop(self) -> None:
        """End the loops; what was under way is sent again later."""
        tasks = [task for task in (self._watch, *self._loops.values()) if task is not None]
        await end_tasks(*tasks)
        self._loops.clear()
        await self._poster.close()

    async def _follow(self) -> None:
        while True:
            try:
                await self._look()
            except StanchionError as error:
                _log.warning("the webhooks could not be read: %s", error.detail)
            await asyncio.sleep(_LOOK)

    async def _look(self) -> None:
        await self._table.prepare()
        wanted = {(tenant, view.spec.name): view for tenant, view in await self._table.sending()}
        for place, task in list(self._loops.items()):
            if place not in wanted or task.done():
                await end_tasks(task)
                del self._loops[place]
                with suppress(NotFound):
                    await self._table.get(*place)
                    continue
                await self._dropped(place)
        for place, view in wanted.items():
            if place not in self._loops:
                self._loops[place] = asyncio.create_task(self._run(*place, view), name=f"webhook {place[1]}")

    async def _run(self, tenant: str, name: str, view: HookView) -> None:
        ctx = system_context(tenant, task="webhooks")
        while view.state == "active":
            try:
                hook = await self._table.get(tenant, name)
                if self._taking.get((tenant, name)) != hook.view.consumer:
                    await self._dropped((tenant, name))
                    self._taking[tenant, name] = hook.view.consumer
                view = await self._round(ctx, hook)
            except NotFound:
                await self._dropped((tenant, name))
                return
            except StanchionError as error:
                _log.warning("the webhook %s could not go on: %s", name, error.detail)
                await asyncio.sleep(_LOOK)

    async def _dropped(self, place: tuple[str, str]) -> None:
        """The consumer was removed, unless a take that was on its way has made it anew."""
        consumer = self._taking.pop(place, None)
        if consumer is not None:
            with suppress(NotFound):
                await self._bus.remove(system_context(place[0], task="webhooks"), consumer)

    async def _round(self, ctx: Context, hook: Hook) -> HookView:
        """Take what is there, send it, settle it; the webhook as it stands then."""
        spec, view = hook.spec, hook.view
        taken = await self._bus.take(ctx, view.consumer, types=spec.types, limit=_TOGETHER, wait=_WAIT)
        if not taken:
            return view
        secrets = hook.holding(self._clock.now().timestamp())
        answers = await asyncio.gather(*(self._poster.post(spec.url, secrets, each) for each in taken))
        outcomes = [_outcome(delivery, answer) for delivery, answer in zip(taken, answers, strict=True)]
        await self._bus.settle(ctx, view.consumer, outcomes)
        failed = [answer for answer in answers if not answer.ok]
        if not failed:
            if view.failures or view.last_done is None:
                await self._table.done(ctx, spec.name)
            return view
        if len(failed) < len(answers):
            await self._table.done(ctx, spec.name)
        view = await self._table.failed(
            ctx, view, failed[-1].said, most=self._failures, gone=any(answer.gone for answer in failed)
        )
        if view.state == "disabled":
            # Unless it is paused, what it does not take would hold up those who publish.
            await self._bus.pause(ctx, view.consumer)
            _log.warning("the webhook %s is disabled after %d failures: %s", spec.name, view.failures, view.last_error)
        else:
            # An address that does not answer is not asked by every event in turn.
            await asyncio.sleep(min(_pause(view.failures), 60.0))
        return view


def _outcome(delivery: Delivery, answer: Posted) -> Outcome:
    if answer.ok:
        return Outcome(token=delivery.token, verdict="done")
    after = answer.after if answer.after is not None else _pause(delivery.attempt)
    return Outcome(token=delivery.token, verdict="retry", after=after, error=answer.said)


def _pause(attempt: int, *, draw: Callable[[], float] = random.random) -> float:
    """Seconds before the next attempt: doubled each time, and drawn, so that many do not come back at once."""
    return min(_FIRST * 2.0 ** min(attempt, 12), _LONGEST) * (0.5 + draw() / 2)
