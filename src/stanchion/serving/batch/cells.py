"""One row of a table as the instance that the check of single instances takes, for exact reasons."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ...core.errors import FieldProblem, InvalidInput
from ...core.values import Json
from .columns import FALSE, NUMBER, TRUE
from .fields import FieldRule

_NUMBER = re.compile(NUMBER.removesuffix("$") + r"\Z")
_PATH = "$.features."
_LISTED = 10


def instance_of(row: Mapping[str, object], rules: Mapping[str, FieldRule]) -> dict[str, Json]:
    """The row's values under their names; an absent value is left out, or None where the field admits that.

    Raises InvalidInput for a value that JSON does not know: NaN and the infinities.
    """
    found: dict[str, Json] = {}
    strange = []
    for name, value in row.items():
        rule = rules[name]
        if value is None:
            if rule.nullable:
                found[name] = None
            continue
        cell = _cell(rule, value)
        if isinstance(cell, float) and not math.isfinite(cell):
            strange.append(FieldProblem(_PATH + name, "Not a finite number: leave the value out instead"))
        found[name] = cell
    if strange:
        raise InvalidInput(strange[0].message, fields=strange)
    return found


def _cell(rule: FieldRule, value: Any) -> Any:
    if isinstance(value, Decimal):
        value = float(value)
    if rule.kind in ("number", "integer") and isinstance(value, str):
        value = _number(value.strip())
    elif rule.kind == "boolean" and isinstance(value, str):
        word = value.strip().lower()
        value = word in TRUE if word in (*TRUE, *FALSE) else value
    if rule.kind == "integer" and isinstance(value, float) and value.is_integer():
        # 9.0 is the whole number 9: a column of whole numbers with gaps is stored as fractions by many programs.
        value = int(value)
    # What is no JSON value, such as a date, is refused by the check with its type.
    return value


def _number(text: str) -> str | float | int:
    if not _NUMBER.match(text):
        return text
    return int(text) if text.lstrip("+-").isdigit() and len(text) < 40 else float(text)


def reasons(problems: Iterable[FieldProblem]) -> str:
    """What is wrong with a row, in one line: `tenure_months: Expected ...; contract: ...`."""
    told = [f"{each.path.removeprefix(_PATH)}: {each.message}" for each in problems]
    more = f"; and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
    return "; ".join(told[:_LISTED]) + more
