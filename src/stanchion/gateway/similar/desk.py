"""Finds the answer to a question that was asked in other words, or has it made.

Within the partition of tenant, rights, labels, route, version and all else of the request, two questions match where
the cosine of their vectors is at least `sure` and their words do not contradict, or at least `unsure` and a second
check agrees. A wrong match would be a wrong answer, so every doubt is a miss.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from ...core.cache import CacheKey
from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import StanchionError
from ..contract.calls import Ask, Reply, Usage
from ..contract.specs import SimilarSpec
from ..routing.table import Target
from .kept import Kept, Near, Vector
from .question import question_of
from .words import differ, same_words

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_CHECK = (
    "Two questions follow. Would one and the same answer be right for both, in every detail? Answer with one word, yes "
    "or no.\n\nFirst: {one}\n\nSecond: {other}"
)
Complete = Callable[[Context, Ask], Awaitable[Reply]]


class Similar:
    """The cache of one process. `complete` asks the models that embed and check, which are metered as any call."""

    def __init__(self, clock: Clock, complete: Complete) -> None:
        self._clock = clock
        self._complete = complete
        self._kept = Kept()
        self._key = CacheKey("gateway-similar")

    async def get(self, ctx: Context, ask: Ask, target: Target, compute: Callable[[], Awaitable[Reply]]) -> Reply:
        """The kept answer, which costs nothing, or a new one. Raises as `compute`."""
        spec, seconds = target.spec.similar, target.spec.cache_seconds
        question = None if spec is None or seconds is None else question_of(ask)
        if spec is None or seconds is None or question is None:
            return await compute()
        vector = await self._vector(ctx, spec, question.text, background=ask.background)
        if vector is None:
            return await compute()
        headers, labels = sorted(ask.headers.items()), sorted(ctx.labels)
        where = [ask.shape, target.subject, target.version, labels, headers, spec.embedder, question.rest]
        place = self._key.key(ctx, *where)
        near = self._kept.nearest(place, vector, self._clock.monotonic())
        if near is not None and await self._same(ctx, spec, question.text, near, background=ask.background):
            account = replace(near.reply.account, cache="similar", usage=Usage(), cost=0, tried=())
            return replace(near.reply, account=account)
        reply = await compute()
        if reply.account.finish == "stop":
            self._kept.keep(place, question.text, vector, reply, self._clock.monotonic() + seconds)
        return reply

    async def _vector(self, ctx: Context, spec: SimilarSpec, text: str, *, background: bool) -> Vector | None:
        body = _encode({"model": spec.embedder, "input": text})
        try:
            told = msgspec.json.decode((await self._complete(ctx, Ask("embeddings", body, background=background))).body)
            vector = np.asarray(told["data"][0]["embedding"], dtype=np.float32)
        except (StanchionError, KeyError, IndexError, TypeError, ValueError) as error:
            # Without a vector the question is asked as if nothing were kept.
            _log.warning("a question has no vector: %s", error)
            return None
        length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
        return vector / length if length > 0 and np.isfinite(length) else None

    async def _same(self, ctx: Context, spec: SimilarSpec, text: str, near: Near, *, background: bool) -> bool:
        if near.cosine < spec.unsure or differ(text, near.text):
            return False
        if near.cosine >= spec.sure or same_words(text, near.text):
            return True
        return bool(spec.check) and await self._agreed(ctx, spec, text, near.text, background=background)

    async def _agreed(self, ctx: Context, spec: SimilarSpec, text: str, other: str, *, background: bool) -> bool:
        content = _CHECK.format(one=text, other=other)
        body = _encode({"model": spec.check, "messages": [{"role": "user", "content": content}], "temperature": 0})
        try:
            told: Any = msgspec.json.decode((await self._complete(ctx, Ask("chat", body, background=background))).body)
            word = str(told["choices"][0]["message"]["content"]).strip().strip(".!\"'").lower()
        except (StanchionError, KeyError, IndexError, TypeError, ValueError) as error:
            _log.warning("two questions could not be compared: %s", error)
            return False
        return word == "yes"
