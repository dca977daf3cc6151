"""One item as its reviewer sees it, in parts that a person can read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .....core.values import Json
from .....review import MASKED, Case

_FACTS, _LONGEST = 60, 20_000


@dataclass(frozen=True, slots=True)
class Part:
    """A value for people: named facts where it is a flat object, else words, else JSON."""

    facts: Sequence[tuple[str, str, bool]] = ()
    words: str = ""
    code: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Weight:
    """What one feature did to the score. `share` is of the strongest one; `against` where it spoke against."""

    feature: str
    value: str
    weight: float
    share: float
    against: bool


@dataclass(frozen=True, slots=True)
class Sheet:
    """The document of a case, read out."""

    question: str
    input: Part
    proposal: Part
    text: str
    weights: Sequence[Weight]
    passages: Sequence[Mapping[str, Json]]
    sources: Sequence[Mapping[str, Json]]
    model: str
    cost: str
    signals: Sequence[tuple[str, str]]
    prior: Sequence[tuple[Mapping[str, Json], Part]]
    similar: Sequence[Part]
    notes: Sequence[Mapping[str, Json]]
    editable: str
    is_text: bool


def sheet(case: Case) -> Sheet:
    """The case's document in the order in which it is read."""
    shown = case.shown
    explanation = _object(shown.get("explanation"))
    proposal = shown.get("proposal")
    model = " ".join(filter(None, (_text(shown.get("model")), _text(shown.get("model_version")))))
    return Sheet(
        question=_text(shown.get("question")),
        input=part(shown.get("input")),
        proposal=part(proposal),
        text=_text(explanation.get("text")),
        weights=_weights(_objects(explanation.get("contributions"))),
        passages=_objects(explanation.get("passages"))[:20],
        sources=_objects(shown.get("sources"))[:20],
        model=model,
        cost=_text(shown.get("cost")),
        signals=_signals(_object(shown.get("signals"))),
        prior=[(vote, part(vote.get("value"))) for vote in _objects(shown.get("prior"))[:20]],
        similar=[part(each) for each in _list(shown.get("similar"))[:10]],
        notes=_objects(shown.get("notes"))[:20],
        editable=proposal if isinstance(proposal, str) else _code(proposal),
        is_text=isinstance(proposal, str),
    )


def part(value: Json) -> Part:
    """The value as people read it."""
    if isinstance(value, str):
        return Part(words=value[:_LONGEST], left_out=max(0, len(value) - _LONGEST))
    if isinstance(value, dict) and value and all(not isinstance(each, dict | list) for each in value.values()):
        facts = [(name, _text(each), each == MASKED) for name, each in value.items()]
        return Part(facts=facts[:_FACTS], left_out=max(0, len(facts) - _FACTS))
    code = _code(value)
    return Part(code=code[:_LONGEST], left_out=max(0, len(code) - _LONGEST))


def _weights(given: Sequence[Mapping[str, Json]]) -> list[Weight]:
    numbers = [each.get("weight") for each in given]
    sizes = [abs(float(number)) for number in numbers if isinstance(number, int | float)]
    top = max(sizes, default=0.0) or 1.0
    made = [
        _weight(each, float(number), top)
        for each, number in zip(given, numbers, strict=True)
        if isinstance(number, int | float)
    ]
    return sorted(made, key=lambda each: -each.share)[:20]


def _weight(given: Mapping[str, Json], number: float, top: float) -> Weight:
    return Weight(_text(given.get("feature")), _text(given.get("value")), number, abs(number) / top, number < 0)


def _signals(given: Mapping[str, Json]) -> list[tuple[str, str]]:
    return [(name, ", ".join(map(str, v)) if isinstance(v, list) else _text(v)) for name, v in given.items() if v]


def _code(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _text(value: Json) -> str:
    """A single value in words; JSON's own for numbers and truth."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else []


def _objects(value: Any) -> list[Mapping[str, Json]]:
    return [cast("Mapping[str, Json]", each) for each in _list(value) if isinstance(each, dict)]
