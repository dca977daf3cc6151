"""Moments as RFC 3339 writes them, and nothing else: half of what date parsers take is no timestamp there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_FORM = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)
_LEAP = 60


def parsed(text: str) -> datetime:
    """The moment in UTC, to the microsecond: further digits are cut off. Raises ValueError that says what is wrong.

    A leap second is the last microsecond before it, as this calendar has none. Source: RFC 3339, section 5.6.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("is no RFC 3339 timestamp such as 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    leap = second == _LEAP
    fraction = 999_999 if leap else int(f"{match[7] or '':0<6}"[:6])
    at = datetime(year, month, day, hour, minute, 59 if leap else second, fraction, tzinfo=_zone(match))
    try:
        found = at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is outside the years 1 to 9999") from error
    if leap and (found.hour, found.minute) != (23, 59):
        raise ValueError("has a leap second that is not the last one of a day")
    return found


def _zone(match: re.Match[str]) -> timezone:
    if match[8]:
        return UTC
    hours, minutes = int(match[10]), int(match[11])
    if hours > 23 or minutes > 59:
        raise ValueError("has an offset that is no time of a day")
    ahead = timedelta(hours=hours, minutes=minutes)
    return timezone(-ahead if match[9] == "-" else ahead)


def rendered(moment: datetime) -> str:
    """The moment as RFC 3339 in UTC, such as 2026-01-31T12:00:00Z; microseconds only where there are any."""
    at = moment.astimezone(UTC).replace(tzinfo=None)
    return at.isoformat(timespec="microseconds" if at.microsecond else "seconds") + "Z"
