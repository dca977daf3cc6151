"""The parameters of a request's query, strictly: an unknown one is refused, and so is one given twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ...core.errors import FieldProblem, InvalidInput, MalformedRequest

if TYPE_CHECKING:
    from starlette.types import Scope

_MOST = 100


def query_of(scope: Scope, known: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Values by name. Raises InvalidInput for a name that is not known, MalformedRequest for what is no query."""
    text = scope.get("query_string", b"").decode("latin-1")
    try:
        given = parse_qs(text, keep_blank_values=True, max_num_fields=_MOST, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise MalformedRequest("the query cannot be read") from error
    unknown = sorted(set(given) - set(known))
    if unknown:
        words = f"there is no such parameter; there are {', '.join(known)}"
        raise InvalidInput(f"{unknown[0][:40]!r}: {words}", fields=[FieldProblem(name[:40], words) for name in unknown])
    return given


def one(scope: Scope, name: str) -> str | None:
    """The value of the one parameter there may be, or None."""
    return single(query_of(scope, [name]), name)


def single(given: Mapping[str, Sequence[str]], name: str) -> str | None:
    """The value of a parameter that may be given once."""
    values = given.get(name, ())
    if len(values) > 1:
        raise InvalidInput(f"{name!r} is given twice", fields=[FieldProblem(name, "is given twice")])
    return values[0] if values else None
