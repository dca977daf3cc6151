"""The cache's second level: values in a key-value store, shared between processes and lost with no harm.

Every value is stored with a mark of each of its tags as it was before the computation began. Invalidating a tag
replaces the mark, so that whatever was computed before, by any process, no longer matches.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from ..clock import Clock
from ..errors import Unavailable
from ..storage.contract import KeyValue

V = TypeVar("V")


class Held(NamedTuple, Generic[V]):
    """A stored value and the seconds it has left."""

    value: V
    left: float


class Known(NamedTuple, Generic[V]):
    """What the store knows of a key: a valid value or None, and the present marks (None: the store is away)."""

    held: Held[V] | None
    marks: bytes | None


class SecondLevel(Generic[V]):
    """`encode` and `decode` turn values into bytes and back; a ValueError of `decode` counts as absence.

    An unavailable store is a miss for reads and writes. Uses wall time, as processes share it.
    """

    def __init__(
        self,
        store: KeyValue,
        *,
        encode: Callable[[V], bytes],
        decode: Callable[[bytes], V],
        clock: Clock,
        prefix: str = "cache",
    ) -> None:
        self._store = store
        self._encode = encode
        self._decode = decode
        self._clock = clock
        self._prefix = prefix

    async def read(self, key: str, tags: Iterable[str]) -> Known[V]:
        """The value, if it is stored, alive, and none of its tags was invalidated since it was computed."""
        try:
            stored, *marks = await self._store.get([self._place(key), *map(self._mark, sorted(tags))])
        except Unavailable:
            return Known(None, None)
        present = b",".join((mark or b"-").hex().encode() for mark in marks)
        if stored is None:
            return Known(None, present)
        head, _, body = stored.partition(b"\n")
        expires, _, then = head.partition(b" ")
        try:
            left = int(expires) / 1e6 - self._clock.now().timestamp()
            held = Held(self._decode(body), left) if left > 0 and then == present else None
        except ValueError:
            held = None
        return Known(held, present)

    async def write(self, key: str, value: V, marks: bytes | None, ttl: float) -> None:
        """Store a value computed while the tags had these marks."""
        if marks is None:
            return
        expires = int((self._clock.now().timestamp() + ttl) * 1e6)
        try:
            await self._store.set({self._place(key): b"%d %s\n%s" % (expires, marks, self._encode(value))}, ttl=ttl)
        except Unavailable:
            return

    async def forget(self, key: str) -> None:
        """Drop one value. Raises Unavailable."""
        await self._store.delete([self._place(key)])

    async def invalidate(self, tag: str, *, ttl: float) -> None:
        """Make every value with the tag invalid; `ttl` is the longest that any lives. Raises Unavailable."""
        # A mark must outlive the values it condemns, with room for a computation under way and for clocks apart.
        await self._store.set({self._mark(tag): secrets.token_bytes(8)}, ttl=2 * ttl + 3600)

    def _place(self, key: str) -> str:
        return f"{self._prefix}:v:{key}"

    def _mark(self, tag: str) -> str:
        return f"{self._prefix}:t:{hashlib.blake2b(tag.encode(), digest_size=16).hexdigest()}"
