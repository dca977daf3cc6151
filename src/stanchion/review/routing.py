"""Which proposals go to people: the declared rules, asked of a draft."""

from __future__ import annotations

import logging
from typing import assert_never

from ..core.flags.split import POINTS, bucket
from .contract import (
    Disagreement,
    Draft,
    DriftSlice,
    HighUncertainty,
    LowConfidence,
    PolicyDemands,
    RandomSample,
    ReviewSpec,
    Rule,
    When,
)

_log = logging.getLogger(__name__)


def matched(spec: ReviewSpec, draft: Draft, unit: str) -> tuple[bool, tuple[str, ...]]:
    """Whether the draft goes to people, and the names of the rules that say so. `unit` is what samples are drawn by."""
    names = tuple(dict.fromkeys(name for rule in spec.rules if (name := _asks(rule, draft, spec.name, unit))))
    if draft.forced:
        names = (*names, "forced")
    return bool(names) or not spec.rules, names


def needed(spec: ReviewSpec, unit: str) -> int:
    """How many persons decide: two for the share that is reviewed twice."""
    if spec.double and bucket(f"review-double:{spec.name}", unit) < spec.double * POINTS:
        return max(2, spec.reviewers)
    return spec.reviewers


def _asks(rule: Rule, draft: Draft, queue: str, unit: str) -> str:
    """The rule's name if it asks for a person. A signal that is not told asks, too: nobody vouches for it."""
    signals = draft.signals
    match rule:
        case LowConfidence(below):
            return "confidence" if signals.confidence is None or signals.confidence < below else ""
        case HighUncertainty(above):
            return "uncertainty" if signals.uncertainty is None or signals.uncertainty > above else ""
        case Disagreement(above):
            return "disagreement" if signals.disagreement is None or signals.disagreement > above else ""
        case RandomSample(share):
            return "sample" if bucket(f"review:{queue}", unit) < share * POINTS else ""
        case PolicyDemands(names):
            wanted = set(signals.policies) & names if names else set(signals.policies)
            return f"policy:{min(wanted)}" if wanted else ""
        case DriftSlice(names):
            return f"slice:{signals.slice}" if signals.slice in names else ""
        case When(name, test):
            return name if _says(name, test, draft) else ""
        case _:
            assert_never(rule)


def _says(name: str, test: object, draft: Draft) -> bool:
    try:
        return bool(test(draft)) if callable(test) else True
    except Exception as error:
        # The text of a foreign exception may repeat the input.
        _log.warning("the rule %s failed, so the proposal goes to people: %s", name, type(error).__name__)
        return True
