"""Sums over the settled calls themselves: by a tag, which the sums by day do not know, and of one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import JSON, ColumnElement, String, case, cast, func, literal, select

from ...core.clock import micros, moment
from ...core.errors import FieldProblem, InvalidInput
from .tables import spend
from .windows import SECOND

DAY = 86_400 * SECOND
_LONGEST_TAG = 64


def check_tag(name: str) -> None:
    """Raise InvalidInput for a name that no tag has."""
    if not name or len(name) > _LONGEST_TAG or not name.isprintable() or any(sign in name for sign in '"\\,='):
        problem = FieldProblem("$.tag", f"names a tag: 1 to {_LONGEST_TAG} characters without quotes, commas and `=`")
        raise InvalidInput("the tag is not valid", fields=[problem])


def of_tag(dialect: str, tag: str, start: date, end: date, by: Sequence[str], where: Mapping[str, str]) -> Any:
    """The query of the sums of `start` to before `end`, but for the tenant; its groups are named as in `by`."""
    groups = [_group(dialect, name, tag).label(name) for name in by]
    counts = [func.sum(spend.c[name]).label(name) for name in ("tokens_in", "tokens_out")]
    counts += [func.sum(spend.c[name]).label(name) for name in ("cached", "cache_writes", "reasoning")]
    unpriced = func.sum(case((spend.c.priced, 0), else_=1)).label("unpriced")
    first, last = (micros(datetime(each.year, each.month, each.day, tzinfo=UTC)) for each in (start, end))
    query = select(*groups, func.count().label("requests"), unpriced, *counts)
    query = query.where(spend.c.at >= first, spend.c.at < last)
    query = query.where(*(spend.c[name] == value for name, value in where.items()))
    return query.group_by(*groups).order_by(*groups) if groups else query


def named(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the day, which is reckoned as a number, as the date that it is."""
    return {**row, "day": moment(row["day"] * DAY).date().isoformat()} if "day" in row else row


def _group(dialect: str, name: str, tag: str) -> ColumnElement[Any]:
    if name == "day":
        return spend.c.at // DAY
    return tag_of(dialect, tag) if name == "tag" else spend.c[name]


def tag_of(dialect: str, tag: str) -> ColumnElement[Any]:
    """The value of a call's tag, empty where it has none. The name must have been checked."""
    if dialect == "postgresql":
        held: ColumnElement[Any] = cast(spend.c.tags, JSON)[tag].as_string()
        # Sorted by code points, as SQLite does.
        return func.coalesce(cast(held, String(collation="C")), literal(""))
    return func.coalesce(func.json_extract(spend.c.tags, f'$."{tag}"'), literal(""))
