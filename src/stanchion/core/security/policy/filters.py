"""Which resources a caller may see, as a small typed condition that any store can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, assert_never

from ...errors import NotAllowed

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

Scalar: TypeAlias = str | int | bool
ID = "@id"
"""The attribute name under which conditions speak of a resource's own id."""


@dataclass(frozen=True, slots=True)
class Always:
    """True or false for every resource."""

    value: bool


@dataclass(frozen=True, slots=True)
class Has:
    """The resource has the attribute."""

    attribute: str


@dataclass(frozen=True, slots=True)
class In:
    """The attribute is one of the values; of none, if there are none."""

    attribute: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class ContainsAny:
    """The attribute, a set of strings, holds at least one of the values."""

    attribute: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Not:
    of: Filter


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]


Filter: TypeAlias = Always | Has | In | ContainsAny | Not | And | Or


@dataclass(frozen=True, slots=True)
class Columns:
    """How a store finds attributes: `scalars` as expressions, `sets` as a test for one member."""

    scalars: Mapping[str, ColumnElement[object]]
    sets: Mapping[str, Callable[[str], ColumnElement[bool]]]


def matches(condition: Filter, resource: Mapping[str, object]) -> bool:
    """Whether a resource, given by its attributes, meets the condition. What is unknown does not."""
    return _known(condition, resource) is True


def _known(condition: Filter, resource: Mapping[str, object]) -> bool | None:
    """Kleene's three values, as SQL has them: an absent attribute makes a comparison neither true nor false."""
    match condition:
        case Always(value):
            return value
        case Has(attribute):
            return resource.get(attribute) is not None
        case In(attribute, values):
            held = resource.get(attribute)
            return None if held is None else any(_same(held, value) for value in values)
        case ContainsAny(attribute, values):
            members = resource.get(attribute)
            return bool(set(values) & set(members)) if isinstance(members, list | tuple | set | frozenset) else None
        case Not(of):
            inner = _known(of, resource)
            return None if inner is None else not inner
        case And(parts):
            answers = {_known(part, resource) for part in parts}
            return False if False in answers else None if None in answers else True
        case Or(parts):
            answers = {_known(part, resource) for part in parts}
            return True if True in answers else None if None in answers else False
        case _:
            assert_never(condition)


def _same(held: object, value: Scalar) -> bool:
    # Cedar never equates a number with a truth value; Python does.
    return type(held) is type(value) and held == value


def to_sql(condition: Filter, columns: Columns) -> ColumnElement[bool]:
    """The condition as SQL. Raises NotAllowed if it speaks of an attribute that the store does not have."""
    from sqlalchemy import and_, false, not_, or_, true

    match condition:
        case Always(value):
            return true() if value else false()
        case Has(attribute):
            if attribute in columns.sets:
                return true()
            return _scalar(columns, attribute).is_not(None)
        case In(attribute, values):
            return _scalar(columns, attribute).in_(values)
        case ContainsAny(attribute, values):
            if attribute not in columns.sets:
                raise _unknown(attribute)
            return or_(false(), *(columns.sets[attribute](value) for value in values))
        case Not(of):
            return not_(to_sql(of, columns))
        case And(parts):
            return and_(true(), *(to_sql(part, columns) for part in parts))
        case Or(parts):
            return or_(false(), *(to_sql(part, columns) for part in parts))
        case _:
            assert_never(condition)


def _scalar(columns: Columns, attribute: str) -> ColumnElement[object]:
    if attribute not in columns.scalars:
        raise _unknown(attribute)
    return columns.scalars[attribute]


def _unknown(attribute: str) -> NotAllowed:
    return NotAllowed(f"a policy depends on the attribute {attribute}, which this store cannot filter by")
