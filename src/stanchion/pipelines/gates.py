"""Checks of rows: which pass, which are set aside, and whether so many were bad that the run must not go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic import BaseModel

from ..core.errors import InvalidInput, Misconfigured
from .contract import Check
from .ports import BadRow


@dataclass(slots=True)
class Judged:
    """Rows that pass, and the others with their reasons."""

    good: list[Any]
    bad: list[BadRow] = field(default_factory=list)


def judged(check: Check, rows: Sequence[Any], record: str) -> Judged:
    """Judge rows. Raises InvalidInput if more of them are bad than the check allows, or the schema refuses all."""
    reasons: dict[int, list[str]] = {}
    if check.rows is not None:
        for place, row in enumerate(rows):
            said = check.rows(row)
            if said:
                reasons[place] = [said] if isinstance(said, str) else list(said)
    if check.schema is not None and rows:
        for place, words in _by_schema(check.schema, rows).items():
            reasons.setdefault(place, []).extend(words)
    share = len(reasons) / len(rows) if rows else 0.0
    if share > check.most_bad:
        first = "; ".join(next(iter(reasons.values()))[:2])
        raise InvalidInput(
            f"{len(reasons)} of {len(rows)} rows fail the check ({share:.1%}; {check.most_bad:.1%} may): {first}",
            next_step="Correct the source, then resume the run.",
        )
    bad = [bad_row(rows[place], record, place, words) for place, words in sorted(reasons.items())]
    return Judged([row for place, row in enumerate(rows) if place not in reasons], bad)


def _by_schema(schema: Any, rows: Sequence[Any]) -> dict[int, list[str]]:
    """Pandera's failures by the place of the row."""
    try:
        import pandas
        import pandera.errors
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"a check by schema needs {error.name}", next_step="Run `pip install 'stanchion[checks]'`."
        ) from error
    frame = pandas.DataFrame([fields_of(row) for row in rows])
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        found: dict[int, list[str]] = {}
        for case in error.failure_cases.to_dict("records"):
            place = case["index"]
            words = f"{case['column']}: {case['check']}"
            if place is None or place != place or isinstance(place, str):
                raise InvalidInput(f"the rows as a whole fail the check {words} ({case['failure_case']})") from error
            found.setdefault(int(place), []).append(words)
        return found
    return {}


def fields_of(row: Any) -> Mapping[str, Any]:
    """A row's fields by name."""
    if isinstance(row, Mapping):
        return row
    if isinstance(row, BaseModel):
        return {name: getattr(row, name) for name in type(row).model_fields}
    found = msgspec.to_builtins(row, builtin_types=())
    return found if isinstance(found, dict) else {"value": found}


def record_of(row: Any, record: str, place: int) -> str:
    """What identifies a row: its field `record`, else its place."""
    value = fields_of(row).get(record) if record else None
    return f"#{place}" if value is None else str(value)


def bad_row(row: Any, record: str, place: int, reasons: Sequence[str]) -> BadRow:
    """A row to be set aside."""
    return BadRow(record_of(row, record, place)[:512], tuple(reasons), as_json(row))


def as_json(row: Any) -> str:
    """A row of any kind as JSON, for people to read."""
    if isinstance(row, BaseModel):
        return row.model_dump_json()
    return msgspec.json.encode(row, enc_hook=str).decode()
