"""Gemini's embeddings, by `batchEmbedContents`. Source: the Gemini API's reference, version v1beta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from ...core.errors import Unavailable
from ..contract.calls import Usage
from ..ports import Wire
from ..wire.embeddings import Embed
from ..wire.extra import passed_on
from ..wire.reading import wrong
from .documents import decoded, listed, mapped
from .errors import failure_in

_NAME = "Gemini"
_MOST_INPUTS = 100
_TAKEN = {"task_type": "taskType", "title": "title"}


class Embedded(NamedTuple):
    """Vectors in the order of the texts, and the upstream's count where it has one."""

    vectors: Sequence[Sequence[float]]
    usage: Usage | None


class GeminiEmbeddings:
    """Asks Gemini's models for vectors. `task_type` and `title` of the request reach it under its own names."""

    def __init__(self, *, version: str = "v1beta") -> None:
        self._version = version

    def request(self, asked: Embed, model: str) -> Wire:
        """Raises InvalidInput for what the upstream cannot do."""
        if asked.tokens:
            raise wrong("$.input", f"{_NAME} takes texts, not token ids")
        if len(asked.texts) > _MOST_INPUTS:
            raise wrong("$.input", f"{_NAME} takes at most {_MOST_INPUTS} texts in one call")
        where = model if "/" in model else f"models/{model}"
        options: dict[str, Any] = {} if asked.dimensions is None else {"outputDimensionality": asked.dimensions}
        extra = passed_on(asked.extra, _TAKEN, _NAME)
        options.update({_TAKEN[name]: value for name, value in extra.items()})
        requests = [{"model": where, "content": {"parts": [{"text": text}]}, **options} for text in asked.texts]
        path = f"/{self._version}/{quote(where, safe='/')}:batchEmbedContents"
        return Wire(path, msgspec.json.encode({"requests": requests}))

    def answer(self, body: bytes, asked: Embed) -> Embedded:
        """Raises Unavailable for a document without a vector for each text."""
        held = decoded(body, _NAME)
        if held.get("error"):
            raise failure_in(held["error"], upstream=_NAME)
        found = [listed(mapped(each).get("values")) for each in listed(held.get("embeddings"))]
        if len(found) != len(asked.texts) or not all(map(_is_vector, found)):
            raise Unavailable(f"{_NAME} did not answer with a vector for each text")
        count = mapped(held.get("usageMetadata")).get("promptTokenCount")
        usage = Usage(tokens_in=count) if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None
        return Embedded(found, usage)


def _is_vector(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
