"""The last good answers of a model's graphs: what is still better than a fixed default when none of them answers."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pydantic

from ..core.clock import Clock
from ..core.context import Context
from ..core.resilience import Decline
from ..core.values import Json
from .contract import LastGood
from .rungs import Answers, Batch, Call


class Aged(dict[str, Json]):
    """An answer that was computed `age` seconds ago."""

    __slots__ = ("age",)

    def __init__(self, values: Mapping[str, Json], age: float) -> None:
        super().__init__(values)
        self.age = age


class _Kept(NamedTuple):
    values: Mapping[str, Json]
    at: float


class KeptAnswers:
    """Answers by tenant, model and input, in this process; they outlive the version that gave them.

    The least recently stored make room.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._models: dict[str, OrderedDict[bytes, _Kept]] = {}

    def remembering(self, model: str, call: Call, option: LastGood, typed: Callable[[Any], pydantic.BaseModel]) -> Call:
        """The call, whose answers are kept."""
        held = self._models.setdefault(model, OrderedDict())

        async def call_and_keep(ctx: Context, items: Batch) -> Answers:
            answers = await call(ctx, items)
            now = self._clock.monotonic()
            for item, values in zip(items, answers, strict=True):
                key = _key(ctx, option, typed(item))
                held[key] = _Kept(values, now)
                held.move_to_end(key)
            while len(held) > option.entries:
                held.popitem(last=False)
            return answers

        return call_and_keep

    def rung(self, model: str, option: LastGood, typed: Callable[[Any], pydantic.BaseModel]) -> Call:
        """A rung that gives them again; it declines the call if it has none, or too old a one, for an instance."""
        held = self._models.setdefault(model, OrderedDict())

        async def call(ctx: Context, items: Batch) -> Answers:
            now = self._clock.monotonic()
            answers = []
            for item in items:
                kept = held.get(_key(ctx, option, typed(item)))
                if kept is None or now - kept.at > option.most_age:
                    raise Decline(f"{model} has no recent answer for this input")
                answers.append(Aged(kept.values, now - kept.at))
            return answers

        return call


def _key(ctx: Context, option: LastGood, item: pydantic.BaseModel) -> bytes:
    # A digest: what callers sent is not kept longer than its call.
    named = set(option.by) if option.by else None
    content = item.model_dump_json(include=named).encode()
    return hashlib.blake2b(ctx.tenant.encode() + b"\0" + content, digest_size=16).digest()
