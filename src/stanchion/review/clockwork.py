"""What time does: leases end, deadlines pass, decisions settle, notices go out."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from ..core.context import Context, system_context
from ..core.errors import StanchionError
from ..core.tasks import end_tasks
from .desk import Desk, acting
from .ports import Notice, Notifier
from .retaining import Retaining

_log = logging.getLogger(__name__)
_TENANTS, _NOTICES = 100, 50
_TRIES = 8
_RETENTION = timedelta(hours=1)


class Clockwork:
    """Looks every `seconds` for what is due. Several processes may: each thing is done once."""

    def __init__(self, desk: Desk, notifier: Notifier, *, seconds: float) -> None:
        self._desk = desk
        self._notifier = notifier
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None
        self._retaining = Retaining(desk)
        self._retained: datetime | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="review-clock")

    async def stop(self) -> None:
        """End."""
        await end_tasks(self._task)

    async def tick(self) -> int:
        """Do once what is due at this moment; for how many tenants there was something. Retention runs once an hour."""
        await self._retain()
        tenants = await self._desk.store.waiting(self._desk.now(), _TENANTS)
        for tenant in tenants:
            await self._swept(tenant)
            await self._notified(tenant)
        return len(tenants)

    async def _run(self) -> None:
        while True:
            try:
                await self.tick()
            except StanchionError as error:
                _log.warning("what is due in reviews could not be done: %s", error.detail)
            await asyncio.sleep(self._seconds)

    async def _retain(self) -> None:
        now = self._desk.now()
        if self._retained is None or now - self._retained >= _RETENTION:
            await self._retaining.run()
            self._retained = now

    async def _swept(self, tenant: str) -> None:
        at = self._desk.now()
        if not await self._desk.store.read(tenant, lambda records: bool(records.due(at, 1))):
            return
        ctx = acting(tenant, "review:tick")
        swept = await self._desk.store.write(ctx, lambda records: self._desk.sweep(records, at))
        _log.debug("time had something to do to %d items of %s", swept, tenant)
        self._desk.bell.ring()

    async def _notified(self, tenant: str) -> None:
        ctx, at = system_context(tenant, task="review-notices"), self._desk.now()
        due = await self._desk.store.read(tenant, lambda records: records.notices(at, _NOTICES))
        for notice in due:
            await self._send(ctx, notice)

    async def _send(self, ctx: Context, notice: Notice) -> None:
        """Send one, and note that it went, or when to try again: at least once, up to eight times over a day."""
        attempts = notice.attempts + 1
        again = None if attempts >= _TRIES else self._desk.now() + timedelta(seconds=min(30 * 4**attempts, 21_600))
        try:
            await self._notifier.send(notice)
        except StanchionError as error:
            _log.warning("a notice of %s did not go out (attempt %d): %s", ctx.tenant, attempts, error.detail)
        else:
            again = None
        await self._desk.store.write(ctx, lambda records: records.sent(notice.id, again, attempts))
