"""Erasure: one item goes for good because its subject asks for it, with what others were shown of it."""

from __future__ import annotations

from functools import partial

from ..core.context import Context
from ..core.errors import Conflict, InvalidInput
from . import machine
from .desk import Desk, must
from .ports import Records, Row
from .removing import Removed, Removing

_LONGEST = 200


class Erasing:
    """Erases items."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._removing = Removing(desk)

    async def erase(self, ctx: Context, item: str, reason: str) -> int:
        """See the contract."""
        if len(reason) > _LONGEST or not reason.isprintable():
            raise InvalidInput(f"a reason is one line of at most {_LONGEST} printable characters")

        def note(done: Removed) -> None:
            if ctx.effect is not None:
                ctx.effect.note(erased=item, queue=row.queue, copies=done.copies, reason=reason)

        [row] = await self._desk.store.read(ctx.tenant, partial(_ended, item))
        return (await self._removing.remove(ctx, row.queue, [item], partial(_ended, item), note)).copies


def _ended(item: str, records: Records) -> list[Row]:
    row = must(records, item)
    if row.status not in machine.OVER:
        raise Conflict(f"{row.id} is {row.status}", next_step="Have it decided, or let it expire, and erase it then.")
    return [row]
