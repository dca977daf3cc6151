"""The bus on NATS JetStream: one stream, the lane in the subject, positions made of the stream's sequences.

A stream writes before it acknowledges, so what is acknowledged survives a crash of the server's process. Whether it
survives a loss of power is the server's setting (`sync_interval: always`, or replicas).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec
import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, PubAck

from ....core.errors import Unavailable
from ...contract import matches
from ...ports import LANES, Bus, Entry, Page, Stored
from ..together import Together
from .connection import SECONDS, Connection
from .cursor import Cursor, sequence
from .packing import Packed, complete, decode, encode, lane_of, packed, parts, position, rounds
from .reading import Cursors, grouped

CLOCKS = timedelta(seconds=60)
"""How far the clocks of this machine and of the server may lie apart."""
_PARTS_AT_ONCE = 16


class NatsBus(Bus):
    """The log in a stream of its own, which is made where it is missing.

    Raises Misconfigured at `start` if the stream there is one that drops messages by itself.
    """

    trusted = False
    single = True

    def __init__(
        self, servers: Sequence[str], *, stream: str, replicas: int = 1, user: str = "", password: str = ""
    ) -> None:
        self._link = Connection(servers, stream=stream, replicas=replicas, user=user, password=password)
        self._cursors = Cursors(self._link)
        self._together = Together(self._store)

    async def start(self) -> None:
        await self._link.open(interrupted=self._cursors.interrupt)

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
        lanes, rest = grouped(after)
        found: list[Stored] = []
        async with _trouble():
            self._link.check()
            async with self._cursors.at(lanes) as cursor:
                # Where lanes lie apart, those behind are read first, and without waiting for more of them.
                message = await cursor.peek(0.05 if rest else wait)
                while message is not None:
                    wanted = await self._wanted(lanes, lane_of(message.subject), sequence(message), message.data)
                    kept = [each for each, frame in wanted if _fits(frame, tenant, types)]
                    if found and len(found) + len(kept) > limit:
                        break
                    if len(kept) > limit:
                        reached = {**rest, **_reached(lanes, cursor.at)}
                        reached[kept[0].lane] = kept[limit - 1].position
                        return Page(kept[:limit], reached)
                    found += kept
                    cursor.take()
                    if len(found) >= limit or not cursor.more:
                        break
                    message = await cursor.peek(0)
                if rest and not found:
                    await self._skip(cursor)
                return Page(found, {**rest, **_reached(lanes, cursor.at)})

    async def heads(self) -> Mapping[int, int]:
        async with _trouble():
            state = await self._link.state()
        return dict.fromkeys(range(LANES), position(state.last_seq))

    async def before(self, moment: datetime) -> Mapping[int, int]:
        async with _trouble():
            at = await self._sequence_before(moment)
        return dict.fromkeys(range(LANES), position(at))

    async def behind(self, after: Mapping[int, int], *, most: int) -> int:
        if not after:
            return 0
        first = complete(min(after.values())) + 1
        async with _trouble():
            state = await self._link.state(subjects=True)
            if first > state.last_seq or state.messages == 0:
                return 0
            # The server counts messages by size class; each counts for the largest of its class that there is.
            largest: dict[str, int] = {}
            for subject in filter(self._link.holds, state.subjects or {}):
                _, size, entries = subject.rsplit(".", 2)
                largest[size] = max(largest.get(size, 0), int(entries))
            number = 0
            for size, most_entries in largest.items():
                number += await self._pending(first, size) * most_entries
                if number >= most:
                    break
        return min(number, most)

    async def trim(self, upto: Mapping[int, int], *, older: datetime) -> int:
        async with _trouble():
            known = await self._sequence_before(older)
            removed = 0
            for lane, place in sorted(upto.items()):
                removed += await self._link.purge(f"*.{lane}.*.*", before=min(complete(place), known) + 1)
            if upto:
                # Parts stand before the message that names them, of whatever lane.
                least = min(complete(place) for place in upto.values())
                await self._link.purge("part", before=min(least, known) + 1)
        return removed

    async def stop(self) -> None:
        await self._together.stop()
        await self._cursors.close()
        await self._link.close()

    async def _store(self, entries: Sequence[Entry]) -> Sequence[int]:
        places = [0] * len(entries)
        async with _trouble():
            self._link.check()
            room = self._link.room
            bodies: list[bytes | list[int]] = [entry.body for entry in entries]
            for number, entry in enumerate(entries):
                if len(entry.body) > room // 2:
                    bodies[number] = await self._store_parts(entry.body, room)
            messages = list(packed(entries, bodies, room))
            for together in rounds(messages):
                for message, at in zip(together, await self._published(together), strict=True):
                    for index, place in enumerate(message.places):
                        places[place] = position(at, index)
        return places

    async def _skip(self, cursor: Cursor) -> None:
        """Lanes in which nothing happens come along with the others."""
        last = (await self._link.state()).last_seq
        if await cursor.nothing_is_left():
            cursor.skip(last)

    async def _published(self, messages: Sequence[Packed]) -> list[int]:
        return await _all([await self._link.publish(each.subject, encode(each)) for each in messages])

    async def _store_parts(self, body: bytes, room: int) -> list[int]:
        pieces = list(parts(body, room))
        found: list[int] = []
        for start in range(0, len(pieces), _PARTS_AT_ONCE):
            acks = [await self._link.publish("part", piece) for piece in pieces[start : start + _PARTS_AT_ONCE]]
            found += await _all(acks)
        return found

    async def _wanted(
        self, lanes: Mapping[int, int], lane: int, at: int, payload: bytes
    ) -> list[tuple[Stored, tuple[str, str]]]:
        after = lanes.get(lane)
        if after is None or position(at) <= after:
            return []
        found = []
        for index, frame in enumerate(decode(payload)):
            if position(at, index) > after:
                body = frame.body if isinstance(frame.body, bytes) else await self._whole(frame.body)
                found.append((Stored(lane, position(at, index), body), (frame.tenant, frame.type)))
        return found

    async def _whole(self, pieces: Sequence[int]) -> bytes:
        return b"".join([await self._link.message(piece) for piece in pieces])

    async def _sequence_before(self, moment: datetime) -> int:
        """The sequence of the last message from before the moment, as far as clocks allow to say."""
        made = await self._link.probe(
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_TIME,
                opt_start_time=moment - CLOCKS,
            )
        )
        return int(made.delivered.stream_seq) if made.delivered else 0

    async def _pending(self, first: int, size: str) -> int:
        made = await self._link.probe(
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=first,
                filter_subject=self._link.subject(f"*.*.{size}.*"),
            )
        )
        return int(made.num_pending or 0)


def _reached(lanes: Mapping[int, int], at: int) -> dict[int, int]:
    return {lane: max(after, position(at)) for lane, after in lanes.items()}


def _fits(frame: tuple[str, str], tenant: str | None, types: Sequence[str]) -> bool:
    return tenant in (None, frame[0]) and ("*" in types or matches(types, frame[1]))


async def _all(acks: Iterable[Awaitable[PubAck]]) -> list[int]:
    async with asyncio.timeout(SECONDS):
        return [ack.seq for ack in await asyncio.gather(*acks)]


@asynccontextmanager
async def _trouble() -> AsyncIterator[None]:
    try:
        yield
    except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
        raise Unavailable(f"the NATS server did not answer: {type(error).__name__}: {error}") from error
    except msgspec.DecodeError as error:
        raise Unavailable(f"the stream holds a message that is none of this bus: {error}") from error
