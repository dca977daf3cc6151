"""The little of a request that routing needs, read without touching the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...core.errors import FieldProblem, InvalidInput
from ..contract.calls import Ask
from ..wire.peek import Peek, peek_of

_BYTES_A_TOKEN = 4
_PICTURE_TOKENS = 1_500
_LONG = re.compile(rb"[A-Za-z0-9+/=_-]{4000,}")
_LONGEST_NAME = 192


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as routing sees it. `tokens_in` is an estimate; `most_out` is what the client allows, None: no limit.

    `wants_usage` tells that the client asked for the usage of its stream.
    """

    ask: Ask
    peek: Peek
    model: str
    streams: bool
    wants_usage: bool
    tokens_in: int
    most_out: int | None
    answers: int

    @property
    def generates(self) -> bool:
        """Whether the answer is made of tokens that cost."""
        return self.ask.shape not in ("embeddings", "rerank")


def read(ask: Ask) -> Asked:
    """What the request asks for. Raises MalformedRequest for what is no JSON object, InvalidInput with the path."""
    peek = peek_of(ask)
    model = peek.model
    if len(model) > _LONGEST_NAME or not model.isprintable():
        raise InvalidInput("the request names no model", fields=[FieldProblem("$.model", "Expected a model's name")])
    generates = ask.shape not in ("embeddings", "rerank")
    return Asked(
        ask=ask,
        peek=peek,
        model=model,
        streams=peek.stream and generates,
        wants_usage=peek.usage_in_stream,
        tokens_in=_estimate(ask.body),
        most_out=peek.most_tokens(ask.shape) if generates else 0,
        answers=peek.answers if ask.shape in ("chat", "completions") else 1,
    )


def _estimate(body: bytes) -> int:
    """Tokens of the request, roughly: four bytes each, and a picture or sound in base64 as much as a large picture."""
    size, extra = len(body), 0
    if size > 4000:
        for found in _LONG.finditer(body):
            size -= len(found[0])
            extra += _PICTURE_TOKENS
    return size // _BYTES_A_TOKEN + extra + 1
