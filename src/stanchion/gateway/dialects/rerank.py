"""Upstreams that rerank: in the form of Cohere, Jina and vLLM, and in that of Text Embeddings Inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ...core.errors import Unavailable
from ..contract.calls import Usage
from ..ports import Wire
from ..wire.counts import usage_of_chat, usage_of_responses
from ..wire.extra import passed_on
from ..wire.rerank import Ranked, Rerank
from .documents import decoded, listed, mapped
from .errors import failure_in

_NAME = "an upstream that reranks"


@dataclass(frozen=True, slots=True)
class Ranking:
    """What the upstream found, in its own order, and its count where it has one."""

    ranked: Sequence[Ranked]
    usage: Usage | None = None


class CohereRerank:
    """Cohere's and Jina's form."""

    def __init__(self, *, path: str = "/rerank") -> None:
        self._path = path

    def request(self, asked: Rerank, model: str) -> Wire:
        """Raises InvalidInput for what the upstream cannot do."""
        written: dict[str, Any] = {"model": model, "query": asked.query, "documents": list(asked.documents)}
        if asked.top is not None:
            written["top_n"] = asked.top
        written.update(passed_on(asked.extra, {"max_tokens_per_doc", "priority", "truncation"}, _NAME))
        return Wire(self._path, msgspec.json.encode(written))

    def answer(self, body: bytes, asked: Rerank) -> Ranking:
        """Raises Unavailable for a document that ranks no documents of the request."""
        held = decoded(body, _NAME)
        if held.get("error"):
            raise failure_in(held["error"], upstream=_NAME)
        if not isinstance(held.get("results"), list):
            raise Unavailable(f"{_NAME} answered without results")
        counts = mapped(held.get("meta")).get("tokens")
        usage = usage_of_chat(held.get("usage")) or usage_of_responses(counts)
        return Ranking(_ranked(held["results"], "relevance_score", asked), usage)


class TeiRerank:
    """The form of Text Embeddings Inference, which serves one model and counts no tokens."""

    def __init__(self, *, path: str = "/rerank") -> None:
        self._path = path

    def request(self, asked: Rerank, model: str) -> Wire:
        """Raises InvalidInput for what the upstream cannot do."""
        written = {"query": asked.query, "texts": list(asked.documents), "raw_scores": asked.raw}
        written.update(passed_on(asked.extra, {"truncate", "truncation_direction"}, _NAME))
        return Wire(self._path, msgspec.json.encode(written))

    def answer(self, body: bytes, asked: Rerank) -> Ranking:
        """Raises Unavailable for a document that ranks no documents of the request."""
        try:
            held = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"{_NAME} sent what is no JSON") from error
        if not isinstance(held, list):
            raise failure_in(held, upstream=_NAME)
        return Ranking(_ranked(listed(held), "score", asked))


def _ranked(entries: Sequence[Any], score: str, asked: Rerank) -> list[Ranked]:
    found = []
    for entry in entries:
        held = mapped(entry)
        place, value = held.get("index"), held.get(score)
        if not isinstance(place, int) or not 0 <= place < len(asked.documents) or not isinstance(value, int | float):
            raise Unavailable(f"{_NAME} ranked a document that was not in the request")
        found.append(Ranked(place, float(value)))
    return found
