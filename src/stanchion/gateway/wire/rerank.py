"""Rerank: documents in the order in which they answer a query.

One request in the forms of Cohere (v2) and Jina, which differ in what they add, and of Text Embeddings Inference, which
says `texts` for `documents` and answers with a bare list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from ..contract.calls import Ask, Usage
from .reading import Fields, wrong

MOST_DOCUMENTS = 10_000


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document by its place in the request, and how relevant it is."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Rerank:
    """A request. `top` is how many documents to give back, None for all; `raw` asks for scores that are not squeezed
    between 0 and 1 (TEI alone has it).
    """

    query: str
    documents: Sequence[str]
    top: int | None = None
    give_documents: bool = False
    raw: bool = False
    form: Literal["results", "list"] = "results"
    extra: Mapping[str, Any] = field(default_factory=dict)


def rerank_of(ask: Ask) -> Rerank:
    """The request. Raises InvalidInput with the field's path."""
    fields = Fields.of(ask.body)
    fields.ignore("model")
    name = "texts" if fields.raw("documents") is None and fields.raw("texts") is not None else "documents"
    given = fields.items(name)
    if not given:
        raise wrong(fields.at(name), "Expected a list of documents")
    if len(given) > MOST_DOCUMENTS:
        raise wrong(fields.at(name), f"At most {MOST_DOCUMENTS} documents are taken in one call")
    flags = [fields.flag(flag) for flag in ("return_documents", "return_text")]
    return Rerank(
        query=fields.needed("query"),
        documents=tuple(_text(each, f"{fields.at(name)}[{place}]") for place, each in enumerate(given)),
        top=fields.whole("top_n", 1),
        give_documents=any(flags),
        raw=bool(fields.flag("raw_scores")),
        form="list" if name == "texts" else "results",
        extra=fields.rest(),
    )


def ranking(ranked: Sequence[Ranked], *, asked: Rerank, answer_id: str, model: str, usage: Usage | None) -> bytes:
    """The answer's document, the most relevant first, in the form of the request."""
    best = sorted(ranked, key=lambda each: (-each.score, each.index))[: asked.top]
    if asked.form == "list":
        return msgspec.json.encode([_entry(each, asked, "score", "text") for each in best])
    written: dict[str, Any] = {
        "id": answer_id,
        "model": model,
        "results": [_entry(each, asked, "relevance_score", "document") for each in best],
    }
    if usage is not None:
        written["usage"] = {"total_tokens": usage.tokens_in}
    return msgspec.json.encode(written)


def _entry(each: Ranked, asked: Rerank, score: str, text: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"index": each.index, score: each.score}
    if asked.give_documents:
        document = asked.documents[each.index]
        entry[text] = document if text == "text" else {"text": document}
    return entry


def _text(each: object, path: str) -> str:
    """A document is a text, or an object that has it as `text`."""
    return each if isinstance(each, str) else Fields(each, path).needed("text")
