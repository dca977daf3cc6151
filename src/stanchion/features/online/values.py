"""The online store: one packed value for each entity and view, in which the newest event wins whoever writes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ...core.clock import Clock, micros
from ...core.errors import Conflict, NotTrustworthy
from ...core.storage import KeyValue
from ..rows import Checked, Shape
from ..windows.state import Head, Held, Occurrence
from .changes import Changes
from .newest import Newest

_PAGE = 1_000
_AT_ONCE = 64
_TRIES = 100
_HELD = msgspec.msgpack.Decoder(Held)


class OnlineValues:
    """Packed values in a key-value store; followers are told of each write."""

    def __init__(self, store: KeyValue, clock: Clock, changes: Changes) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._newest = Newest(store)

    async def put(self, tenant: str, shape: Shape, rows: Sequence[Checked]) -> int:
        """Store the rows, in any order and as often as one likes; for how many keys there is a newer row now.

        Raises InvalidInput if too many rows of one entity lie in the future, Conflict if others change the same value
        all the time, and what the store raises.
        """
        by_key: dict[str, list[Occurrence]] = {}
        for each in rows:
            by_key.setdefault(each.key, []).append(each.row)
        now = micros(self._clock.now())
        keys = list(by_key)
        changed = 0
        for first in range(0, len(keys), _PAGE):
            page = {key: by_key[key] for key in keys[first : first + _PAGE]}
            changed += await self._put_page(tenant, shape, page, now)
        if rows:
            await self._newest.wrote(tenant, shape.name, max(each.row.at for each in rows))
        return changed

    async def get(self, tenant: str, shape: Shape, keys: Sequence[str]) -> list[bytes | None]:
        """What is stored for each key, packed."""
        prefix = shape.prefix(tenant)
        return await self._store.get([prefix + key for key in keys])

    async def _put_page(self, tenant: str, shape: Shape, page: Mapping[str, list[Occurrence]], now: int) -> int:
        held = await self.get(tenant, shape, list(page))
        waiting = [
            (key, old) for key, old in zip(page, held, strict=True) if _merged(shape, old, page[key], now).content
        ]
        newer = 0
        try:
            for first in range(0, len(waiting), _AT_ONCE):
                some = waiting[first : first + _AT_ONCE]
                newer += sum(await _together([self._put(tenant, shape, key, page[key], old, now) for key, old in some]))
        finally:
            if waiting:
                # Even where some failed: what was stored until then must be told.
                await self._changes.wrote(tenant, shape.name, [key for key, _ in waiting])
        return newer

    async def _put(
        self, tenant: str, shape: Shape, key: str, rows: Sequence[Occurrence], held: bytes | None, now: int
    ) -> bool:
        """Store the rows, whoever else writes at the same time; whether one of them is the newest now."""
        place = shape.prefix(tenant) + key
        for _ in range(_TRIES):
            made = _merged(shape, held, rows, now)
            if made.content is None:
                return False
            if await self._store.swap(place, held, made.content, ttl=shape.state.lifetime(made.content, now)):
                return made.newer
            [held] = await self._store.get([place])
        raise Conflict("others change the same feature value all the time")


class _Merged(NamedTuple):
    content: bytes | None
    newer: bool


async def _together(calls: Sequence[Coroutine[None, None, bool]]) -> list[bool]:
    """The answers of calls made at once; the first error, once all have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except ExceptionGroup as several:
        raise several.exceptions[0] from several
    return [task.result() for task in tasks]


def _merged(shape: Shape, held: bytes | None, rows: Sequence[Occurrence], now: int) -> _Merged:
    """What is to be stored once the rows have come, None if they change nothing."""
    before = _heads(held)
    if shape.spec.source is None:
        # Pushed as they are, rows have no second version: of one event time the first that came stays.
        known = {head.at for head in before}
        firsts: dict[int, Occurrence] = {}
        for row in rows:
            if row.at not in known:
                firsts.setdefault(row.at, row)
        rows = list(firsts.values())
    content = shape.state.merge(held, rows, now) if rows else None
    if content is None:
        return _Merged(None, newer=False)
    return _Merged(content, newer=_heads(content)[-1:] != before[-1:])


def _heads(content: bytes | None) -> Sequence[Head]:
    """The newest rows that are stored, in the order of their events."""
    try:
        return () if content is None else _HELD.decode(content).heads
    except msgspec.MsgspecError as error:
        raise NotTrustworthy("a stored feature value is not readable") from error
