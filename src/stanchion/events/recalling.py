"""What the bus still holds, looked at from its end: lists of events without their data, and one event with it.

No engine reads backwards, so stretches of the log are read forwards, each one before the last and many times as long,
until there is enough. They are measured in numbers where all lanes share a sequence, else in time: numbers of different
lanes say nothing of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from ..core.clock import Clock, micros, moment
from ..core.context import Context
from ..core.errors import InvalidInput, NotFound, NotTrustworthy
from .contract import Envelope, Recalled, Selection, check_patterns, matches
from .packing import Packet, Seal, unpack
from .ports import LANES, Bus, Stored

MOST_LISTED = 200
MOST_LOOKED = 20_000
_PAGE = 1_000
_NUMBERS, _SECONDS, _LONGER = 512, 1.0, 16
_AGES = 40 * 86_400.0
_MOST_POSITION = 1 << 63


class Recaller:
    """Reads back what was published."""

    def __init__(self, bus: Bus, seal: Seal, clock: Clock) -> None:
        self._bus = bus
        self._seal = seal
        self._clock = clock

    async def recent(self, ctx: Context, selection: Selection, limit: int) -> Sequence[Envelope]:
        """As `Events.recent` has it."""
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidInput(f"`limit` must be 1 to {MOST_LISTED}")
        if selection.ids:
            raise InvalidInput("events are chosen by type, source, subject and time; ids are of dead letters")
        types = selection.types or ("*",)
        check_patterns(types)
        upper = dict(await self._bus.heads())
        least = dict.fromkeys(upper, 0) if selection.since is None else dict(await self._bus.before(selection.since))
        found: list[Envelope] = []
        looked, step = 0, 0
        while len(found) < limit and looked < MOST_LOOKED and any(upper[lane] > least[lane] for lane in upper):
            lower = await self._lower(upper, least, step)
            section: list[Envelope] = []
            looked += await self._read(ctx, selection, types, lower, upper, section)
            found += sorted(section, key=lambda each: each.published, reverse=True)
            upper, step = lower, step + 1
        return found[:limit]

    async def _lower(self, upper: Mapping[int, int], least: Mapping[int, int], step: int) -> dict[int, int]:
        """Where the next stretch begins."""
        if self._bus.single:
            length = _NUMBERS * _LONGER**step
            return {lane: max(least[lane], head - length) for lane, head in upper.items()}
        length = _SECONDS * _LONGER**step
        if length > _AGES:
            return {lane: min(least[lane], head) for lane, head in upper.items()}
        since = await self._bus.before(self._clock.now() - timedelta(seconds=length))
        return {lane: min(head, max(least[lane], since[lane])) for lane, head in upper.items()}

    async def at(self, ctx: Context, place: str) -> Sequence[Envelope]:
        """The event at the place, without its data; none where there is none."""
        found = await self._at(ctx, place)
        return () if found is None else (_envelope(*found),)

    async def recall(self, ctx: Context, place: str) -> Recalled:
        """As `Events.recall` has it."""
        found = await self._at(ctx, place)
        if found is None:
            raise NotFound(
                f"the bus holds no event at {place[:40]!r}",
                next_step="Take a place from the list; events are removed some time after they were handled.",
            )
        return Recalled(_envelope(*found), found[1].event)

    async def _at(self, ctx: Context, place: str) -> tuple[Stored, Packet] | None:
        lane, position = _placed(place)
        if not position:
            return None
        page = await self._bus.read({lane: position - 1}, limit=1, tenant=ctx.tenant)
        for stored in page.entries:
            packet = self._mine(ctx, stored)
            if stored.position == position and packet is not None:
                return stored, packet
        return None

    async def _read(
        self,
        ctx: Context,
        selection: Selection,
        types: Sequence[str],
        lower: Mapping[int, int],
        upper: Mapping[int, int],
        section: list[Envelope],
    ) -> int:
        """Gather what fits between two places of the log; how many entries were looked at."""
        after, looked = dict(lower), 0
        while looked < MOST_LOOKED and any(after[lane] < end for lane, end in upper.items()):
            open_lanes = {lane: position for lane, position in after.items() if position < upper[lane]}
            page = await self._bus.read(open_lanes, limit=_PAGE, tenant=ctx.tenant, types=types)
            looked += len(page.entries)
            for stored in page.entries:
                packet = self._mine(ctx, stored) if stored.position <= upper[stored.lane] else None
                if packet is not None and _fits(selection, types, packet):
                    section.append(_envelope(stored, packet))
            if not page.entries and all(page.reached[lane] <= at for lane, at in open_lanes.items()):
                break
            after.update(page.reached)
        return looked

    def _mine(self, ctx: Context, stored: Stored) -> Packet | None:
        try:
            packet = unpack(stored.body, self._seal)
        except NotTrustworthy:
            return None  # nobody is shown what the house did not seal
        return packet if packet.tenant == ctx.tenant else None


def _fits(selection: Selection, types: Sequence[str], packet: Packet) -> bool:
    return (
        matches(types, packet.type)
        and selection.source in ("", packet.source)
        and selection.subject in ("", packet.subject)
        and (selection.since is None or packet.published >= micros(selection.since))
        and (selection.until is None or packet.published < micros(selection.until))
    )


def _envelope(stored: Stored, packet: Packet) -> Envelope:
    return Envelope(
        place=f"{stored.lane}.{stored.position}",
        type=packet.type,
        source=packet.source,
        id=packet.id,
        subject=packet.subject,
        time=None if packet.time is None else moment(packet.time),
        published=moment(packet.published),
        principal=packet.author.principal,
        correlation=packet.correlation,
        causation=packet.causation,
        content_type=packet.content_type,
        size=len(packet.data or b""),
        schema=packet.schema,
        inner=packet.inner,
    )


def _placed(place: str) -> tuple[int, int]:
    """Lane and position; zeros for what is no place."""
    lane, _, position = place.partition(".")
    if len(place) < 40 and place.isascii() and lane.isdecimal() and position.isdecimal():
        found = int(lane), int(position)
        if found[0] < LANES and found[1] < _MOST_POSITION:
            return found
    return 0, 0
