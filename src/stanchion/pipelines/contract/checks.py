"""Data checks as gates: which rows of a stage's answer may pass on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

RowCheck = Callable[[Any], "str | Sequence[str] | None"]


@dataclass(frozen=True, slots=True)
class Check:
    """Rows that fail are set aside with their reasons; the run fails if more than `most_bad` of them do.

    `rows` judges one row: None lets it pass, text says why not. `schema` is a pandera DataFrameSchema or DataFrameModel
    (extra `checks`), which judges all rows at once; a failure of it that names no row fails the run.
    """

    rows: RowCheck | None = None
    schema: Any = None
    most_bad: float = 1.0
