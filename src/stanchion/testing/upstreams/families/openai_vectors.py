"""Embeddings, rerank and the list of models, in the forms of OpenAI, Cohere and Jina."""

from __future__ import annotations

import base64
import struct
from typing import Any

from ..script import Call, Reply, Usage
from ..words import overlap, text_of, vector

SIZE = 64


def inputs(given: Any) -> list[Any]:
    """One text or list of token numbers for each vector."""
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        return [given]
    return list(given)


def vectors(texts: list[Any], reply: Reply, size: int | None) -> list[list[float]]:
    """The reply's own vectors, or those of the texts' words."""
    if reply.vectors is not None:
        return [list(reply.vectors[n % len(reply.vectors)]) for n in range(len(texts))]
    return [vector(text if isinstance(text, str) else str(text), size or SIZE) for text in texts]


def embeddings(call: Call, reply: Reply, usage: Usage) -> dict[str, Any]:
    """A vector for each input; as base64 where that is asked for."""
    found = vectors(inputs(call.body["input"]), reply, call.body.get("dimensions"))
    packed = call.body.get("encoding_format") == "base64"
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": n, "embedding": _packed(one) if packed else one}
            for n, one in enumerate(found)
        ],
        "model": reply.model or call.model,
        "usage": {"prompt_tokens": usage.tokens_in, "total_tokens": usage.tokens_in},
    }


def rerank(call: Call, reply: Reply, usage: Usage) -> dict[str, Any]:
    """The documents by their scores, best first."""
    documents = call.body["documents"]
    texts = [text if isinstance(text, str) else text_of(text) for text in documents]
    scores = list(reply.scores) if reply.scores is not None else [overlap(call.body["query"], text) for text in texts]
    order = sorted(range(len(texts)), key=lambda n: -scores[n % len(scores)])[: call.body.get("top_n") or None]
    shown = call.body.get("return_documents")
    return {
        "id": f"rerank-{call.number}",
        "model": reply.model or call.model,
        "results": [
            {
                "index": n,
                "relevance_score": scores[n % len(scores)],
                **({"document": {"text": texts[n]}} if shown else {}),
            }
            for n in order
        ],
        "usage": {"prompt_tokens": usage.tokens_in, "total_tokens": usage.tokens_in},
        "meta": {"billed_units": {"search_units": 1}},
    }


def models(call: Call, reply: Reply) -> dict[str, Any]:
    """The list of models: one."""
    made = {"object": "model", "created": int(call.at.timestamp()), "owned_by": "scripted"}
    return {"object": "list", "data": [{"id": reply.model or "scripted", **made}]}


def _packed(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
