"""The table of prices: what the system declares, and behind it the data of genai-prices as it was installed.

Nothing is fetched: prices change with the installed version of that library, or with a declaration.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import NamedTuple

from ...core.clock import Clock, micros
from ...core.errors import InvalidInput
from ..contract.calls import Usage
from ..contract.money import PriceSpec
from ..ports import Price, Prices
from .amounts import per_token, picodollars
from .catalogue import Catalogue, Tariff

_MINUTE = 60_000_000
_MOST_KNOWN = 10_000


class Rates(NamedTuple):
    """Picodollars for a token. `cached` and `cache_write` are parts of the input, `reasoning` of the output."""

    input: int
    output: int
    cached: int
    cache_write: int
    reasoning: int


@dataclass(frozen=True, slots=True)
class RatedPrice(Price):
    """The rates from each size of the input on: a call pays all its tokens at the rate of the last size it passes."""

    version: str
    request: int
    steps: tuple[tuple[int, Rates], ...]

    def cost(self, usage: Usage) -> int:
        rates = self.steps[0][1]
        for start, step in self.steps[1:]:
            if usage.tokens_in > start:
                rates = step
        # An upstream may count more cached tokens than it counts input: then only what it counts apart is paid.
        plain_in = max(0, usage.tokens_in - usage.cached - usage.cache_writes)
        plain_out = max(0, usage.tokens_out - usage.reasoning)
        return (
            self.request
            + plain_in * rates.input
            + usage.cached * rates.cached
            + usage.cache_writes * rates.cache_write
            + plain_out * rates.output
            + usage.reasoning * rates.reasoning
        )


class PriceTable(Prices):
    """Prices by provider and model, resolved once and kept; those that change with time, once a minute.

    Without `catalogue` only declared prices are known.
    """

    def __init__(self, specs: Sequence[PriceSpec], *, clock: Clock, catalogue: bool = True) -> None:
        self._declared = [(spec.provider.lower(), spec.model.lower(), declared_price(spec)) for spec in specs]
        self._clock = clock
        self._catalogue = Catalogue() if catalogue else None
        self._known: dict[tuple[str, str], RatedPrice | None] = {}
        self._passing: dict[tuple[str, str], int] = {}

    async def load(self) -> None:
        """Read the table now, in a thread: the first price would otherwise wait for it."""
        if self._catalogue is not None:
            await asyncio.to_thread(self._catalogue.load)

    def price(self, provider: str, model: str) -> Price | None:
        key = (provider, model)
        if key in self._known and (key not in self._passing or self._passing[key] == self._minute()):
            return self._known[key]
        # Models' names come from callers where an upstream serves any: what is kept of them is bounded.
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
            self._passing.clear()
        found = self._known[key] = self._resolve(provider.lower(), model.lower(), key)
        return found

    def _minute(self) -> int:
        return micros(self._clock.now()) // _MINUTE

    def _resolve(self, provider: str, model: str, key: tuple[str, str]) -> RatedPrice | None:
        for providers, models, price in self._declared:
            if fnmatchcase(provider, providers) and fnmatchcase(model, models):
                return price
        tariff = None if self._catalogue is None else self._catalogue.tariff(provider, model, self._clock.now())
        if tariff is None:
            return None
        if tariff.passing:
            self._passing[key] = self._minute()
        return _of_tariff(tariff)


def declared_price(spec: PriceSpec) -> RatedPrice:
    """The price that a spec declares. Raises InvalidInput for what is no price."""
    where = f"PriceSpec({spec.provider}/{spec.model})"
    for name in ("input", "output", "cached", "cache_write", "request"):
        if (given := getattr(spec, name)) is not None:
            picodollars(given, f"{where}.{name}")
    if spec.input is None and spec.output is None and spec.request is None:
        raise InvalidInput(f"{where} names no price", next_step='Give at least one; "0" is what costs nothing.')
    rates = {n: Decimal(v) for n in ("input", "output", "cached", "cache_write") if (v := getattr(spec, n)) is not None}
    request = 0 if spec.request is None else picodollars(spec.request, where)
    return _price("declared", request, ((-1, rates),))


def _of_tariff(tariff: Tariff) -> RatedPrice:
    return _price(tariff.source, per_token(tariff.request * 10**6), tariff.steps)


def _price(source: str, request: int, steps: Sequence[tuple[int, dict[str, Decimal]]]) -> RatedPrice:
    resolved = tuple((start, _rates(given)) for start, given in steps)
    # A row of the ledger names the very rates it was reckoned with, whatever the table says later.
    digest = hashlib.blake2b(repr((request, resolved)).encode(), digest_size=6).hexdigest()
    return RatedPrice(f"{source}:{digest}", request, resolved)


def _rates(given: dict[str, Decimal]) -> Rates:
    known = {name: per_token(value) for name, value in given.items()}
    # Where only one side has a price the other one's tokens are paid at it: nothing is free by omission.
    tokens_in = known.get("input", known.get("output", 0))
    tokens_out = known.get("output", tokens_in)
    return Rates(
        tokens_in,
        tokens_out,
        known.get("cached", tokens_in),
        known.get("cache_write", tokens_in),
        known.get("reasoning", tokens_out),
    )
