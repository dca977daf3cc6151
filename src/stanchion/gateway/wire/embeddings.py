"""OpenAI's embeddings: what is asked, and vectors as numbers or as base64 of little-endian 32-bit floats."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..contract.calls import Ask, Usage
from .reading import Fields, wrong

MOST_INPUTS = 2048


@dataclass(frozen=True, slots=True)
class Embed:
    """A request for embeddings of texts or of token ids, never of both."""

    texts: Sequence[str] = ()
    tokens: Sequence[Sequence[int]] = ()
    dimensions: int | None = None
    base64: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


def embed_of(ask: Ask) -> Embed:
    """The request. Raises InvalidInput with the field's path."""
    fields = Fields.of(ask.body)
    fields.ignore("model", "user")
    given = fields.raw("input")
    single = isinstance(given, str) or (isinstance(given, list) and bool(given) and _is_number(given[0]))
    inputs = [given] if single else given
    if not isinstance(inputs, list) or not inputs:
        raise wrong("$.input", "Expected a text, a list of texts, or token ids")
    if len(inputs) > MOST_INPUTS:
        raise wrong("$.input", f"At most {MOST_INPUTS} inputs are taken in one call")
    dimensions = fields.whole("dimensions", 1)
    packed = fields.choice("encoding_format", ("float", "base64")) == "base64"
    if all(isinstance(each, str) for each in inputs):
        return Embed(texts=tuple(inputs), dimensions=dimensions, base64=packed, extra=fields.rest())
    for place, each in enumerate(inputs):
        if not isinstance(each, list) or not each or not all(_is_number(token) and token >= 0 for token in each):
            raise wrong(f"$.input[{place}]", "Expected token ids, as all inputs must be texts or all token ids")
    tokens = tuple(tuple(each) for each in inputs)
    return Embed(tokens=tokens, dimensions=dimensions, base64=packed, extra=fields.rest())


def embeddings(vectors: Sequence[Sequence[float]], *, asked: Embed, model: str, usage: Usage) -> bytes:
    """The answer's document, one vector for each input in their order."""
    data = [
        {"object": "embedding", "index": place, "embedding": packed(vector) if asked.base64 else list(vector)}
        for place, vector in enumerate(vectors)
    ]
    counts = {"prompt_tokens": usage.tokens_in, "total_tokens": usage.tokens_in}
    return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": counts})


def packed(vector: Sequence[float]) -> str:
    """A vector as base64 of little-endian 32-bit floats."""
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
