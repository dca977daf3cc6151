"""Runs a cascade: step by step until an answer is good enough."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.errors import StanchionError, Unavailable
from ...core.resilience.ladder import CALLERS_FAULT
from ..contract.cascade import CascadeSpec
from ..wire.conversation import Answer, Conversation
from .router import Router
from .verify import Call, prepared, question, score

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer that was taken, the place of its step, and the scores of the steps before it (None: it failed)."""

    answer: Answer
    step: int
    scores: Sequence[float | None]


async def run(spec: CascadeSpec, asked: Conversation, call: Call, router: Router | None = None) -> Taken:
    """The first answer that is good enough, or the last step's.

    A step that fails is passed over. If the last one fails, the best answer of those before is taken where there is
    one: a doubtful answer is worth more than none, and its score is told. Raises what the last step raises, and the
    caller's own faults at once.
    """
    thresholds = spec.calibration.thresholds if spec.calibration else (1.0,) * (len(spec.steps) - 1)
    scores: list[float | None] = []
    best: tuple[float, int, Answer] | None = None
    foreseen = None if router is None else router.score(question(asked))
    for place, (model, threshold) in enumerate(zip(spec.steps, thresholds, strict=False)):
        if foreseen is not None and foreseen < threshold:
            scores.append(foreseen)
            continue
        try:
            answer = await call(model, prepared(spec.verify, asked))
            given = await score(spec.verify, asked, answer, model, call) if foreseen is None else foreseen
        except CALLERS_FAULT:
            raise
        except StanchionError as error:
            log.info("step %s of the cascade %s failed: %s", model, spec.name, error.code)
            scores.append(None)
            continue
        scores.append(given)
        if given >= threshold:
            return Taken(answer, place, scores)
        if best is None or given > best[0]:
            best = (given, place, answer)
    try:
        return Taken(await call(spec.steps[-1], asked), len(spec.steps) - 1, scores)
    except CALLERS_FAULT:
        raise
    except Unavailable:
        if best is None:
            raise
        return Taken(best[2], best[1], scores)
