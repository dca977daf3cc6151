"""Cache keys that cannot mix callers: tenant and rights are in every key, whatever the caller forgets."""

from __future__ import annotations

import hashlib

import msgspec

from ..context import Context, Rights
from ..errors import InvalidInput

_CALLERS = 10_000


class CacheKey:
    """Makes keys in one `space`; `versions` are what else an answer depends on, such as a policy's version.

    Callers with the same tenant and rights share answers. Where an answer depends on the principal, give it as a part.
    """

    def __init__(self, space: str, **versions: str) -> None:
        self._encoder = msgspec.msgpack.Encoder(order="deterministic")
        self._prefix = [space, sorted(versions.items())]
        self._begun: dict[tuple[str, Rights], hashlib.blake2b] = {}

    def key(self, ctx: Context, *parts: object) -> str:
        """`tenant:digest`, the same in every process for equal parts: plain values, lists, and mappings with text keys.

        The digest is BLAKE2b, 128 bits, over deterministic MessagePack, which tells 1 from 1.0, "1" and true.
        Raises InvalidInput for a part that has no such form.
        """
        caller = (ctx.tenant, ctx.rights)
        begun = self._begun.get(caller)
        if begun is None:
            begun = self._begin(ctx)
            if len(self._begun) >= _CALLERS:
                self._begun.clear()
            self._begun[caller] = begun
        digest = begun.copy()
        try:
            digest.update(self._encoder.encode(parts))
        except (TypeError, OverflowError, ValueError) as error:
            raise InvalidInput(f"a part of a cache key has no stable form: {error}") from error
        return f"{ctx.tenant}:{digest.hexdigest()}"

    def _begin(self, ctx: Context) -> hashlib.blake2b:
        # The whole of Rights, whatever fields it has; deterministic order sorts its sets too.
        return hashlib.blake2b(self._encoder.encode([self._prefix, ctx.tenant, ctx.rights]), digest_size=16)
