"""How the console writes numbers, times and sizes: short, comparable, always UTC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta


def count(value: float) -> str:
    """Whole things: `1,342`."""
    return f"{value:,.0f}"


def rate(value: float) -> str:
    """Things a minute: two digits below ten, none above."""
    return f"{value:,.2f}".rstrip("0").rstrip(".") if value < 10 else f"{value:,.0f}"


def duration(ms: float) -> str:
    """Milliseconds with three significant digits: `0.42 ms`, `412 ms`, `1.24 s`."""
    if ms >= 60_000:
        return f"{ms / 60_000:,.1f} min"
    if ms >= 1000:
        return f"{ms / 1000:,.2f} s"
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 100 else f"{ms:.0f} ms"


def percent(share: float) -> str:
    """A share as `0.31 %`; whole where nothing is lost."""
    value = share * 100
    return f"{value:.0f} %" if value in (0, 100) else f"{value:.2f} %" if value < 10 else f"{value:.1f} %"


def money(dollars: float) -> str:
    """US dollars; four decimals below a cent's worth of doubt."""
    return f"${dollars:,.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


def pico(amount: float) -> str:
    """Picodollars as dollars, with three significant digits where they are less than a hundredth of a cent."""
    dollars = amount / 10**12
    if not 0 < dollars < 0.0001:
        return money(dollars)
    digits = 2 - math.floor(math.log10(dollars))
    return f"${dollars:.{digits}f}".rstrip("0")


def size(octets: int) -> str:
    """Bytes in binary units: `12.4 KiB`."""
    value = float(octets)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} GiB"


def metric(value: float) -> str:
    """A model metric: four significant decimals, whole numbers plain."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 2 else f"{value:.4g}"


def moment(at: datetime | None) -> str:
    """Date and second in UTC; `never` for none."""
    return "never" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def stamp(text: str) -> str:
    """A moment that came as ISO 8601 text, as `moment` writes it; other text as it is."""
    try:
        return moment(datetime.fromisoformat(text))
    except ValueError:
        return text


def clock(at: datetime) -> str:
    """The time of day in UTC."""
    return at.astimezone(UTC).strftime("%H:%M:%S")


def span_of(delta: timedelta) -> str:
    """A length of time in its largest unit: `3 days`, `1 hour`, `now`."""
    seconds = int(abs(delta.total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = seconds // length
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "less than a minute"


def day(at: datetime) -> str:
    """The date in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d")


def iso(at: datetime) -> str:
    """The exact moment, for machines and for paging."""
    return at.astimezone(UTC).isoformat()


def sentence(text: str) -> str:
    """The text with a capital at its head."""
    return text[:1].upper() + text[1:]


def facts(values: Mapping[str, object]) -> str:
    """Names and values on one line."""
    return " · ".join(f"{name} {value}" for name, value in values.items())
