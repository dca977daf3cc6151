"""Several answers of one upstream as one document, where each of them took a call of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import msgspec

from ..contract.calls import Usage
from ..wire.counts import chat_usage
from .ways import Whole

_COUNTS = [each.name for each in fields(Usage) if each.name != "estimated"]


def joined(answers: Sequence[Whole]) -> Whole:
    """The choices of all, numbered in their order, under the first one's head; what they used is added up."""
    documents: list[dict[str, Any]] = [msgspec.json.decode(each.body) for each in answers]
    choices = [choice for document in documents for choice in document["choices"]]
    whole = {**documents[0], "choices": [{**choice, "index": place} for place, choice in enumerate(choices)]}
    usage = added([each.usage for each in answers])
    whole.pop("usage", None)
    if usage is not None:
        whole["usage"] = chat_usage(usage)
    return Whole(msgspec.json.encode(whole), usage, answers[-1].finish)


def added(usages: Sequence[Usage | None]) -> Usage | None:
    """What all of them used; None where one of them is not known."""
    known = [each for each in usages if each is not None]
    if len(known) < len(usages):
        return None
    counts = {name: sum(getattr(each, name) for each in known) for name in _COUNTS}
    return Usage(**counts, estimated=any(each.estimated for each in known))
