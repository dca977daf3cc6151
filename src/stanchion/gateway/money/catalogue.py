"""Reads the price data that genai-prices carries. Loading it takes about a second: only here, and only when asked."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelPrice, TieredPrices

_log = logging.getLogger(__name__)
# The library's names for what the ledger counts. Prices of other things (images, audio by the hour, searches) are
# not among them: no upstream tells those counts in a way that every dialect shares.
_NAMES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "output_reasoning_mtok": "reasoning",
}


@dataclass(frozen=True, slots=True)
class Tariff:
    """Dollars for a million tokens, by the number of input tokens above which they hold (-1 first); `request` for one.

    `passing` says that it may be another at another time.
    """

    source: str
    request: Decimal
    steps: tuple[tuple[int, dict[str, Decimal]], ...]
    passing: bool


class Catalogue:
    """The data as installed. Any thread may ask; the first one loads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot: DataSnapshot | None = None
        self._source = ""
        self._absent = False

    def load(self) -> DataSnapshot | None:
        """The data; None, with a warning, where the extra is not installed."""
        with self._lock:
            if self._snapshot is None and not self._absent:
                try:
                    import genai_prices
                    from genai_prices.data import providers
                    from genai_prices.data_snapshot import DataSnapshot
                except ModuleNotFoundError:
                    self._absent = True
                    _log.warning("only declared prices are known: the extra `gateway` with the table is not installed")
                    return None
                # A snapshot of our own: the library's may be replaced by one from the network.
                self._snapshot = DataSnapshot(providers=providers, from_auto_update=False)
                self._source = f"genai-prices-{genai_prices.__version__}"
            return self._snapshot

    def tariff(self, provider: str, model: str, now: datetime) -> Tariff | None:
        """What the model costs at that moment; None where the data does not say."""
        snapshot = self.load()
        if snapshot is None:
            return None
        try:
            _, found = snapshot.find_provider_model(model, None, provider, None)
        except LookupError:
            return None
        passing = isinstance(found.prices, list)
        if passing and not found.prices:
            return None
        return _tariff(self._source, found.get_prices(now), passing)


def _tariff(source: str, price: ModelPrice, passing: bool) -> Tariff | None:
    given = {ours: value for theirs, ours in _NAMES.items() if (value := getattr(price, theirs)) is not None}
    request = price.requests_kcount
    if "input" not in given and "output" not in given and request is None:
        return None
    tiers = {name: value.tiers for name, value in given.items() if not isinstance(value, Decimal)}
    starts = sorted({-1, *(tier.start for each in tiers.values() for tier in each)})
    return Tariff(
        source=source,
        request=Decimal(0) if not isinstance(request, Decimal) else request / 1000,
        steps=tuple((start, {name: _at(value, start) for name, value in given.items()}) for start in starts),
        passing=passing,
    )


def _at(value: Decimal | TieredPrices, start: int) -> Decimal:
    """The price above that many input tokens."""
    if isinstance(value, Decimal):
        return value
    return next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)
