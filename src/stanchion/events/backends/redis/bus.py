"""The bus on Redis Streams: one stream for each lane, positions made of its ids.

Consumer groups are not used: how far a consumer has come commits with its handlers' writes, in the house's database. A
lane is never cut by length: Redis would drop what nobody has read without a word. Redis answers before the disk has
what it was told, unless it is set to write every command: `start` refuses a server that may forget.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from ....core.clock import micros
from ....core.errors import Misconfigured, Unavailable
from ...ports import LANES, Bus, Entry, Page, Stored
from ..together import Together
from .scripts import APPEND, BEHIND, HEADS, READ

CLOCKS = timedelta(seconds=60)
"""How far the clocks of this machine and of the server may lie apart."""
_SECONDS = 10.0
_LONGEST_WAIT = 30.0
_BITS = 20
"""Position = milliseconds of the id x 2^20 + its number within the millisecond."""
_LEAST_PAGE = 16
_HEAD = struct.Struct(">IQII")
"""Before each body that is read: which lane of those asked for, its id, and how long it is."""
_CONNECTIONS = 1_000
"""Each reader that waits holds one."""
_FAIR = (
    "Set `appendonly yes` and `appendfsync always` on the server, or write `?durable=no` in events.url to accept "
    "that acknowledged events may be lost when its process or machine dies."
)


class RedisBus(Bus):
    """The log under keys that begin with `{name}`, which one node of a cluster holds.

    With `durable` only a server that keeps what it has acknowledged is taken; else Misconfigured at `start`.
    """

    trusted = False

    def __init__(self, url: str, *, name: str, durable: bool = True) -> None:
        # No retries: a script whose answer was lost has perhaps run, and the caller is to know. Waiting for news takes
        # longer than other answers.
        try:
            self._redis: Redis = Redis.from_url(
                url,
                protocol=2,
                socket_timeout=_LONGEST_WAIT + _SECONDS,
                socket_connect_timeout=_SECONDS,
                max_connections=_CONNECTIONS,
                retry=Retry(NoBackoff(), 0),
            )
        except (TypeError, ValueError):
            raise Misconfigured("events.url cannot be read; write redis://user@host:6379/0") from None
        self._durable = durable
        self._turn = 0
        self._lanes = [f"{{{name}}}:lane:{lane}" for lane in range(LANES)]
        self._numbers = f"{{{name}}}:numbers"
        self._script = self._redis.register_script(APPEND)
        self._together = Together(self._store)
        self._read = self._redis.register_script(READ)
        self._heads = self._redis.register_script(HEADS)
        self._behind = self._redis.register_script(BEHIND)

    async def start(self) -> None:
        async with _trouble():
            await self._redis.ping()
            faults = await self._faults() if self._durable else []
        if faults:
            raise Misconfigured(f"this Redis may lose events: {', '.join(faults)}", next_step=_FAIR)

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        return await self._together.append(entries)

    async def read(
        self,
        after: Mapping[int, int],
        *,
        limit: int,
        wait: float = 0.0,
        tenant: str | None = None,
        types: Sequence[str] = ("*",),
    ) -> Page:
        if not after or limit < 1:
            return Page((), dict(after))
        # Each read begins with another lane: one that is never empty would keep those behind it from ever being read.
        self._turn += 1
        turn = self._turn % len(after)
        order = list(after)[turn:] + list(after)[:turn]
        async with _trouble():
            found = await self._page(order, after, limit)
            if not found and wait > 0:
                # It is woken by the first entry, and then reads all there are. With 0 it would wait for ever.
                ids: dict[Any, Any] = {self._lanes[lane]: _id(after[lane]) for lane in order}
                if await self._redis.xread(ids, count=1, block=max(1, round(min(wait, _LONGEST_WAIT) * 1000))):
                    found = await self._page(order, after, limit)
        return Page(found, {**after, **{each.lane: each.position for each in found}})

    async def heads(self) -> Mapping[int, int]:
        async with _trouble():
            ids = await self._heads(keys=self._lanes)
        return {lane: _position(each) if each else 0 for lane, each in enumerate(ids)}

    async def before(self, moment: datetime) -> Mapping[int, int]:
        # The ids are the server's milliseconds, and never go back.
        place = max(0, (_milliseconds(moment - CLOCKS) << _BITS) - 1)
        return {lane: min(head, place) for lane, head in (await self.heads()).items()}

    async def behind(self, after: Mapping[int, int], *, most: int) -> int:
        if not after:
            return 0
        async with _trouble():
            number = await self._behind(
                keys=[self._lanes[lane] for lane in after], args=[f"({_id(place)}" for place in after.values()]
            )
        return min(int(number), most)

    async def trim(self, upto: Mapping[int, int], *, older: datetime) -> int:
        moment = max(0, _milliseconds(older - CLOCKS)) << _BITS
        async with _trouble(), self._redis.pipeline(transaction=False) as pipeline:
            for lane, place in upto.items():
                pipeline.xtrim(self._lanes[lane], minid=_id(min(place + 1, moment)), approximate=False)
            return sum(await pipeline.execute())

    async def stop(self) -> None:
        await self._together.stop()
        await self._redis.aclose()

    async def _page(self, order: Sequence[int], after: Mapping[int, int], limit: int) -> list[Stored]:
        # With the whole page for each lane, one that is never empty would fill it alone.
        share = max(_LEAST_PAGE, limit // len(order))
        told: bytes = await self._read(
            keys=[self._lanes[lane] for lane in order], args=[limit, share, *(_id(after[lane]) for lane in order)]
        )
        found, at = [], 0
        while at < len(told):
            place, milliseconds, number, size = _HEAD.unpack_from(told, at)
            at += _HEAD.size
            found.append(Stored(order[place], _placed(milliseconds, number), told[at : at + size]))
            at += size
        return found

    async def _store(self, entries: Sequence[Entry]) -> Sequence[int]:
        lanes = sorted({entry.lane for entry in entries})
        # Lua counts from 1, and the first key are the numbers.
        index = {lane: place + 2 for place, lane in enumerate(lanes)}
        arguments: list[Any] = []
        for entry in entries:
            arguments += (index[entry.lane], entry.body)
        async with _trouble():
            ids = await self._script(keys=[self._numbers, *(self._lanes[lane] for lane in lanes)], args=arguments)
        return [_position(each) for each in ids]

    async def _faults(self) -> list[str]:
        """Why the server may lose what it has acknowledged."""
        try:
            told = await self._redis.config_get("appendonly", "appendfsync", "maxmemory-policy", "maxmemory")
        except (NoPermissionError, ResponseError):
            # Servers of a provider keep their settings to themselves; this much they tell.
            known = await self._redis.info("persistence")
            return [] if known.get("aof_enabled") else ["its append-only file is off"]
        settings = {_text(name): _text(value) for name, value in told.items()}
        found = []
        if settings.get("appendonly") != "yes":
            found.append("its append-only file is off")
        elif settings.get("appendfsync") != "always":
            found.append(f"appendfsync is {settings.get('appendfsync')}")
        if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy", "").startswith("allkeys"):
            found.append(f"it evicts any key when memory is full ({settings['maxmemory-policy']})")
        return found


def _position(identity: bytes) -> int:
    milliseconds, number = identity.split(b"-")
    return _placed(int(milliseconds), int(number))


def _placed(milliseconds: int, number: int) -> int:
    if number >> _BITS:
        raise Unavailable("the clock of the Redis server has gone back: the ids of a lane do not fit any more")
    return milliseconds << _BITS | number


def _id(position: int) -> str:
    return f"{position >> _BITS}-{position & (1 << _BITS) - 1}"


def _milliseconds(moment: datetime) -> int:
    return micros(moment) // 1000


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@asynccontextmanager
async def _trouble() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(f"the Redis server did not answer: {error}") from error
