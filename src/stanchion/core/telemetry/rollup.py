"""The ledger by the minute: what dashboards read, computed once for each batch instead of once for each view."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from ..clock import micros
from .contract import LedgerRow
from .histogram import BUCKETS, bucket_of
from .tables import insert_text, ledger_minutes

_KEY = ("route", "subject", "version", "rung", "outcome")
_SUMS = ("requests", "items", "tokens_in", "tokens_out", "cost", *(f"b{i}" for i in range(BUCKETS)))
_COLUMNS = ("tenant", "minute", *_KEY, *_SUMS)
_key = attrgetter(*_KEY)
_FIRST_BUCKET = 5
MINUTE = 60_000_000
_HOUR = 60
OTHER = "other"


class Rollup:
    """Sums rows by tenant, minute, route, subject, version, rung and outcome.

    A tenant has at most `series` combinations of names in an hour; what comes after them counts as `other`,
    so that a caller who makes names up cannot make the table as long as the ledger.
    """

    def __init__(self, *, series: int = 500) -> None:
        self._series = series
        self._hour = 0
        self._seen: dict[str, set[tuple[str, str, str, str]]] = {}

    def sums(self, rows: Iterable[LedgerRow]) -> list[tuple[object, ...]]:
        """One tuple of `ledger_minutes` for each key, sorted: two processes then lock rows in the same order."""
        found: dict[tuple[object, ...], list[float]] = {}
        for row in rows:
            minute = micros(row.at) // MINUTE
            key = (row.tenant, minute, *self._bounded(row.tenant, minute // _HOUR, _key(row)))
            sums = found.get(key)
            if sums is None:
                sums = found[key] = [0] * len(_SUMS)
            sums[0] += 1
            sums[1] += row.items
            sums[2] += row.tokens_in
            sums[3] += row.tokens_out
            sums[4] += row.cost
            sums[_FIRST_BUCKET + bucket_of(row.latency_ms)] += 1
        return sorted((*key, *sums) for key, sums in found.items())

    def _bounded(self, tenant: str, hour: int, key: tuple[str, str, str, str, str]) -> tuple[str, ...]:
        if hour > self._hour:
            self._hour = hour
            self._seen.clear()
        seen = self._seen.setdefault(tenant, set())
        names = key[:4]
        if names not in seen:
            if len(seen) >= self._series:
                return (OTHER, OTHER, "", "", key[4])
            seen.add(names)
        return key


def upsert_text(dialect: str) -> str:
    """The statement that adds one tuple of `Rollup.sums` to what is stored."""
    own = ledger_minutes.name
    adds = ", ".join(f"{name} = {own}.{name} + excluded.{name}" for name in _SUMS)
    keys = ", ".join(_COLUMNS[: -len(_SUMS)])
    return f"{insert_text(ledger_minutes, _COLUMNS, dialect)} ON CONFLICT ({keys}) DO UPDATE SET {adds}"
