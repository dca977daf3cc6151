"""Sliding windows in words: what a view's `aggregates` are written with."""

from __future__ import annotations

from datetime import timedelta

from .declarations import Aggregate, Function


def count(
    *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0, hop: timedelta | None = None
) -> Aggregate:
    """How many events lie in the window; 0 where none does."""
    return _windowed("count", None, days, hours, minutes, seconds, hop)


def total(
    column: str,
    *,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    hop: timedelta | None = None,
) -> Aggregate:
    """The sum of a column over the window; 0 where no event has a value."""
    return _windowed("sum", column, days, hours, minutes, seconds, hop)


def mean(
    column: str,
    *,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    hop: timedelta | None = None,
) -> Aggregate:
    """The arithmetic mean of a column over the window; null where no event has a value."""
    return _windowed("mean", column, days, hours, minutes, seconds, hop)


def minimum(
    column: str,
    *,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    hop: timedelta | None = None,
) -> Aggregate:
    """The least value of a column in the window; null where no event has one."""
    return _windowed("min", column, days, hours, minutes, seconds, hop)


def maximum(
    column: str,
    *,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    hop: timedelta | None = None,
) -> Aggregate:
    """The greatest value of a column in the window; null where no event has one."""
    return _windowed("max", column, days, hours, minutes, seconds, hop)


def distinct(
    column: str,
    *,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    hop: timedelta | None = None,
) -> Aggregate:
    """How many different values of a column lie in the window, null not counted; exact."""
    return _windowed("distinct", column, days, hours, minutes, seconds, hop)


def _windowed(
    function: Function,
    column: str | None,
    days: float,
    hours: float,
    minutes: float,
    seconds: float,
    hop: timedelta | None,
) -> Aggregate:
    return Aggregate(function, timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds), column, hop)
