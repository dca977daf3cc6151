"""Events as they come, for browsers and modules above: read from the bus, with nothing remembered of the reader."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from ..core.clock import moment
from ..core.context import Context
from ..core.errors import InvalidInput, NotTrustworthy
from .contract import Delivered, check_patterns, matches
from .packing import Packet, Seal, unpack
from .ports import LANES, Bus, Stored

AT_ONCE = 200
WAIT_SECONDS = 5.0


class Places:
    """Positions of the whole bus as text: one number where all lanes share a sequence, else one for each lane."""

    def __init__(self, *, single: bool) -> None:
        self._single = single

    def written(self, positions: Mapping[int, int]) -> str:
        """The text for a place in every lane."""
        if self._single:
            return str(max(positions.values(), default=0))
        packed = msgspec.msgpack.encode([positions.get(lane, 0) for lane in range(LANES)])
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    def of(self, lane: int, position: int) -> str:
        """Where one entry is; of a bus with a sequence for each lane no place in the others is known: empty."""
        return str(position) if self._single else ""

    def read(self, text: str) -> dict[int, int]:
        """The place that the text names; `0` is before all that is kept. Raises InvalidInput."""
        try:
            if self._single or text == "0":
                number = int(text)
                found = [number] * LANES
            else:
                packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
                found = msgspec.msgpack.decode(packed, type=list[int])
        except (ValueError, msgspec.MsgspecError) as error:
            raise _no_position() from error
        if len(found) != LANES or not all(0 <= each < 1 << 63 for each in found):
            raise _no_position()
        return dict(enumerate(found))


class Follower:
    """Makes streams for followers."""

    def __init__(self, bus: Bus, seal: Seal, places: Places) -> None:
        self._bus = bus
        self._seal = seal
        self._places = places

    async def position(self, since: str | None) -> str:
        """As `Events.position` has it."""
        return self._places.written(await self._bus.heads() if since is None else self._places.read(since))

    async def follow(self, ctx: Context, types: Sequence[str], since: str | None) -> AsyncIterator[Delivered]:
        """As `Events.follow` has it."""
        check_patterns(types)
        after = dict(await self._bus.heads()) if since is None else self._places.read(since)
        while True:
            page = await self._bus.read(after, limit=AT_ONCE, wait=WAIT_SECONDS, tenant=ctx.tenant, types=types)
            for stored in page.entries:
                after[stored.lane] = stored.position
                packet = self._for(ctx, types, stored)
                if packet is not None:
                    yield Delivered(
                        packet.event, self._place(after, stored), moment(packet.published), packet.inner
                    )  # fmt: skip
            after.update(page.reached)

    def _for(self, ctx: Context, types: Sequence[str], stored: Stored) -> Packet | None:
        try:
            packet = unpack(stored.body, self._seal)
            mine = packet.tenant == ctx.tenant and matches(types, packet.type)
        except NotTrustworthy:
            return None  # a consumer buries it; a follower is shown nothing that the house did not seal
        return packet if mine else None

    def _place(self, after: Mapping[int, int], stored: Stored) -> str:
        return self._places.of(stored.lane, stored.position) or self._places.written(after)


def _no_position() -> InvalidInput:
    return InvalidInput(
        "this is no position of the bus", next_step="Give the position of an event that was delivered, or none."
    )
