"""What a reviewer sees: one JSON document made of what is stored and of nothing else, masked by rights, and its digest.

It is a function of the item at one version and of the reader's rights. So a decision that names version and digest is
about exactly what its reviewer had before the eyes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..core.values import Json
from .canonical import digest
from .contract import MASKED, Draft, ReviewSpec
from .patch import pointer_of, tokens
from .ports import Row

Texts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """The document, its digest, and the pointers of what is masked in it."""

    document: dict[str, Json]
    digest: str
    masked: tuple[str, ...]


def content_of(draft: Draft, similar: Sequence[Json]) -> dict[str, Json]:
    """The part of the document that never changes."""
    return {
        "queue": draft.queue,
        "question": draft.question,
        "input": draft.input,
        "proposal": draft.proposal,
        "explanation": msgspec.to_builtins(draft.explanation),
        "sources": msgspec.to_builtins(draft.sources),
        "model": draft.model,
        "model_version": draft.model_version,
        "cost": draft.cost,
        "signals": msgspec.to_builtins(draft.signals),
        "similar": list(similar),
    }


def show(row: Row, spec: ReviewSpec, texts: Texts, rights: frozenset[str]) -> Shown:
    """The document of an item for a reader with these roles and scopes."""
    document: dict[str, Json] = {"item": row.id, **texts[row.facts.content]}
    # Blind reviewers see nobody's decision; who adjudicates sees all that differ.
    prior = row.state.votes if row.state.adjudicating or not row.facts.blind or row.state.ending else ()
    document["prior"] = [
        {"by": vote.by, "verdict": vote.verdict, "reason": vote.reason, **texts[vote.text]} for vote in prior
    ]
    document["notes"] = [texts[note] for note in row.state.notes]
    hidden = [pointer for pointer, who in spec.mask.items() if not rights & who]
    if not hidden:
        return Shown(document, digest(document), ())
    masked: list[str] = []
    document = _masked(document, hidden, masked)
    return Shown(document, digest(document), tuple(sorted(set(masked))))


def ids_of(row: Row) -> list[str]:
    """The texts that the document of an item is made of."""
    return [row.facts.content, *row.state.notes, *(vote.text for vote in row.state.votes)]


def covered(pointers: Iterable[str], masked: Sequence[str]) -> str:
    """The first of the pointers that is, holds or lies within something masked; empty if none does."""
    for pointer in pointers:
        if any(_within(pointer, other) or _within(other, pointer) for other in masked):
            return pointer
    return ""


def _within(pointer: str, other: str) -> bool:
    return pointer == other or pointer.startswith(other + "/")


def _masked(document: dict[str, Json], hidden: Sequence[str], masked: list[str]) -> dict[str, Json]:
    # What is hidden in the input or the proposal is hidden in similar cases and in edits of others as well.
    paths = [tokens(pointer) for pointer in hidden]
    paths += [["similar", "*", *path] for path in paths if path[0] in ("input", "proposal")]
    paths += [["prior", "*", "value", *path[1:]] for path in paths if path[0] == "proposal"]
    if any(path[0] == "proposal" for path in paths):
        # A patch names what it changes; it would show a masked value by the side of the mask.
        paths.append(["prior", "*", "patch"])
    result: Json = document
    for path in paths:
        result = _hide(result, path, [], masked)
    if not isinstance(result, dict):
        raise TypeError("a document stays a document")
    return result


def _hide(value: Json, path: Sequence[str], at: list[str | int], masked: list[str]) -> Json:
    """A copy with what is at the path masked; what is not there cannot be hidden."""
    if not path:
        masked.append(pointer_of(at))
        return MASKED
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        names = list(value) if step == "*" else [step] if step in value else []
        return {**value, **{name: _hide(value[name], rest, [*at, name], masked) for name in names}}
    if isinstance(value, list):
        return [
            _hide(each, rest, [*at, place], masked) if step in ("*", str(place)) else each
            for place, each in enumerate(value)
        ]
    return value
