"""What follows the model: declared rules that may overrule its answer, and the mark for a person to look at it.

A rule that breaks refuses the answer. A guard that is skipped when it fails guards nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pydantic

from ..core.context import Context
from ..core.errors import StanchionError, Unavailable
from ..core.values import Json
from .contract import Review, ServedSpec
from .enrich import Enriched

REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Marked:
    """A prediction that a person should look at."""

    request_id: str
    instance: int
    model: str
    version: str
    reason: str
    inputs: Mapping[str, Json]
    output: Mapping[str, Json]
    queue: str = ""


class Reviewers(Protocol):
    """Whoever takes marked predictions in; the marks stand in the answer and in the journal all the same."""

    def take(self, ctx: Context, marked: Sequence[Marked]) -> None:
        """Queue predictions for review. Never raises, never waits."""
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer after the rules. `overruled_by` names the rule that replaced it, `review` is `required` or empty."""

    values: Mapping[str, Json]
    overruled_by: str = ""
    review: str = ""


class Rules:
    """The rules and the review of one model. `typed` gives a checked instance as the declared input type."""

    def __init__(self, spec: ServedSpec, typed: Callable[[Any], pydantic.BaseModel]) -> None:
        self._rules = [(_name(rule), _with_features(rule)) for rule in spec.options.rules]
        self._review: Review | None = spec.options.review
        self._when = None if self._review is None else _with_features(self._review.when)
        self._spec = spec
        self._typed = typed

    @property
    def queue(self) -> str:
        """The review queue in which marked answers are opened; empty: in none."""
        return "" if self._review is None else self._review.queue

    @property
    def reason(self) -> str:
        """Why a marked answer should be looked at, in the declaration's words."""
        return "" if self._review is None else self._review.reason

    def judge(self, item: Any, values: Mapping[str, Json]) -> Judged:
        """The answer that is given. Raises Unavailable if a rule fails."""
        spec = self._spec
        instance, outcome = self._typed(item), spec.output.model_validate(dict(values))
        features = item.values if isinstance(item, Enriched) and not item.missing else {}
        overruled_by = ""
        for name, rule in self._rules:
            other = self._asked(name, rule, instance, outcome, features)
            if other is None:
                continue
            if not isinstance(other, spec.output):
                raise Unavailable(f"the rule {name} of {spec.name} gave a {type(other).__name__}")
            outcome, overruled_by = other, name
            values = other.model_dump(mode="json")
        marked = self._when is not None and bool(self._asked("review", self._when, instance, outcome, features))
        return Judged(values, overruled_by, REQUIRED if marked else "")

    def _asked(
        self, name: str, rule: Callable[..., Any], instance: Any, outcome: Any, features: Mapping[str, Json]
    ) -> Any:
        try:
            return rule(instance, outcome, features)
        except StanchionError:
            raise
        except Exception as error:
            raise Unavailable(
                f"the rule {name} of {self._spec.name} failed: {type(error).__name__}",
                next_step="Correct the rule: while it fails, no answer passes it.",
            ) from error


def _with_features(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule as a function of three: one that takes two does not look at features."""
    if len(inspect.signature(rule).parameters) >= 3:
        return rule
    return lambda instance, outcome, features: rule(instance, outcome)


def _name(rule: Callable[..., Any]) -> str:
    return getattr(rule, "__name__", type(rule).__name__)
