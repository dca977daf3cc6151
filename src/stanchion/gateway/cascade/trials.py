"""Asks every model of a cascade a question whose answer is known: what its calibration is made from."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..contract.cascade import CascadeSpec, Example, Trial
from ..wire.conversation import Conversation, Text, Turn
from .router import Router
from .verify import Call, prepared, score, words

_SPACES = re.compile(r"\s+")


async def tried(
    spec: CascadeSpec, example: Example, call: Call, cost: Callable[[], int], router: Router | None
) -> Trial:
    """The trial of one example; `cost` tells what all calls have cost so far. Raises what a model raises."""
    asked = Conversation(turns=[Turn("user", [Text(example.question)])])
    foreseen = None if router is None else router.score(example.question)
    scores, correct, costs, checks = [], [], [], []
    for place, model in enumerate(spec.steps):
        last = place == len(spec.steps) - 1
        before = cost()
        answer = await call(model, asked if last or router is not None else prepared(spec.verify, asked))
        costs.append(cost() - before)
        correct.append(is_right(words(answer), example.expected))
        if last:
            continue
        before = cost()
        scores.append(await score(spec.verify, asked, answer, model, call) if foreseen is None else foreseen)
        checks.append(cost() - before)
    return Trial(tuple(scores), tuple(correct), tuple(costs), tuple(checks), foreseen is not None)


def is_right(answer: str, expected: str) -> bool:
    """Whether the answer is the expected one, or holds it as words of its own."""
    plain, wanted = (_SPACES.sub(" ", text).strip().casefold() for text in (answer, expected))
    return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", plain) is not None if wanted else not plain
