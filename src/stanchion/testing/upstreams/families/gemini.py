"""Google's Gemini, by its REST interface."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ..script import Call, Kind, Reply, Stop, Usage
from ..words import divide, parsed, pieces, said, text_of, vector
from . import gemini_requests
from .family import SSE, Events, Family, Refusal, SigningKey, Target, event

PATH = re.compile(r"/(?:v1|v1beta|v1beta1)/(?:.+/)?models/([^/:]+):(\w+)$")
KINDS: dict[str, tuple[Kind, bool]] = {
    "generateContent": ("chat", False),
    "streamGenerateContent": ("chat", True),
    "embedContent": ("embeddings", False),
    "batchEmbedContents": ("embeddings", False),
    "countTokens": ("tokens", False),
}
REASONS: dict[Stop, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "PROHIBITED_CONTENT",
}
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
SIZE = 64


class Gemini(Family):
    """`/v1beta/models/{model}:...`; a stream has `?alt=sse`."""

    stream_type = SSE

    def target(self, method: str, path: str) -> Target | None:
        found = PATH.search(path)
        if method != "POST" or found is None or found[2] not in KINDS:
            return None
        kind, stream = KINDS[found[2]]
        return Target(kind, found[1], stream)

    def prompt(self, kind: Kind, body: Any) -> str:
        if kind == "embeddings":
            return "\n".join(_texts(body))
        return text_of(body["contents"][-1].get("parts")) if body.get("contents") else ""

    def problem(self, call: Call) -> str:
        if call.kind == "tokens":
            return ""
        return gemini_requests.problem(call.kind, call.model, call.body)

    def whole(self, call: Call, reply: Reply, usage: Usage) -> Any:
        if call.kind == "tokens":
            return {"totalTokens": usage.tokens_in}
        if call.kind == "embeddings":
            return _embeddings(call, reply)
        parts = [part for part, _ in _parts(reply)]
        found = _logprobs(call, reply)
        return _chunk(call, reply, parts, usage, reply.stop or "stop", found)

    def events(self, call: Call, reply: Reply, usage: Usage) -> Events:
        before = Usage(tokens_in=usage.tokens_in, cached=usage.cached)
        told = [piece for _, several in _parts(reply) for piece in several]
        documents = [_chunk(call, reply, [piece], before) for piece in told]
        documents.append(_chunk(call, reply, [{"text": ""}], usage, reply.stop or "stop", _logprobs(call, reply)))
        if "sse" in call.query.get("alt", ""):
            return Events([event(one) for one in documents], len(documents) - 1)
        listed = [(b"," if n else b"[") + json.dumps(one).encode() for n, one in enumerate(documents)]
        return Events([*listed, b"]"], len(documents) - 1)

    def refusal(self, status: int, words: str) -> Refusal:
        status = 503 if status == 529 else status
        return Refusal(status, {"error": {"code": status, "message": words, "status": STATUSES.get(status, "UNKNOWN")}})

    def failure(self, words: str) -> bytes:
        return event({"error": {"code": 503, "message": words, "status": "UNAVAILABLE"}})

    def malformed(self) -> bytes:
        return b'data: {"candidates": [{"content": {"pa\n\n'

    def authorised(self, call: Call, key: str | SigningKey) -> bool:
        shown = call.headers.get("authorization") == f"Bearer {key}"
        return shown or key in (call.headers.get("x-goog-api-key"), call.query.get("key"))


def _chunk(
    call: Call,
    reply: Reply,
    parts: list[dict[str, Any]],
    usage: Usage,
    stop: Stop | None = None,
    logprobs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One answer, or one part of a stream; only the last has a reason."""
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **(logprobs or {})}
    return {
        "candidates": [{**candidate, "finishReason": REASONS[stop]} if stop else candidate],
        "usageMetadata": _usage(usage),
        "modelVersion": reply.model or call.model,
        "responseId": f"gemini-{call.number}",
    }


def _usage(usage: Usage) -> dict[str, Any]:
    """Here the tokens of the thoughts are not among the candidates'."""
    cached = {"cachedContentTokenCount": usage.cached} if usage.cached else {}
    thought = {"thoughtsTokenCount": usage.reasoning} if usage.reasoning else {}
    return {
        "promptTokenCount": usage.tokens_in,
        "candidatesTokenCount": usage.tokens_out - usage.reasoning,
        "totalTokenCount": usage.tokens_in + usage.tokens_out,
        **cached,
        **thought,
    }


def _parts(reply: Reply) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The parts of the content, each with the parts in which a stream sends it.

    The signature of the thoughts stands at what comes behind them: at the first call, or at the text.
    """
    signed = {"thoughtSignature": reply.signature} if reply.signature else {}
    if reply.thinking:
        thoughts = [{"text": word, "thought": True} for word in divide(reply.thinking)]
        yield {"text": reply.thinking, "thought": True}, thoughts
    text = said(reply)
    if text:
        words = [{"text": word} for word in pieces(reply)]
        mine = {} if reply.calls else signed
        yield {"text": text, **mine}, [*words[:-1], {**words[-1], **mine}]
    for number, one in enumerate(reply.calls):
        called = {
            "functionCall": {"id": one.id, "name": one.name, "args": parsed(one)},
            **(signed if not number else {}),
        }
        yield called, [called]


def _texts(body: Any) -> list[str]:
    asked = body.get("requests", [body])
    return [text_of(one["content"].get("parts")) for one in asked]


def _embeddings(call: Call, reply: Reply) -> dict[str, Any]:
    asked = call.body.get("requests", [call.body])
    found = []
    for number, text in enumerate(_texts(call.body)):
        size = asked[number].get("outputDimensionality") or SIZE
        own = reply.vectors
        found.append({"values": list(own[number % len(own)]) if own is not None else vector(text, size)})
    return {"embeddings": found} if "requests" in call.body else {"embedding": found[0]}


def _logprobs(call: Call, reply: Reply) -> dict[str, Any]:
    if not (call.body.get("generationConfig") or {}).get("responseLogprobs"):
        return {}
    chosen = [{"token": word, "tokenId": n, "logProbability": reply.logprobs} for n, word in enumerate(pieces(reply))]
    result = {"chosenCandidates": chosen, "topCandidates": [{"candidates": [one]} for one in chosen]}
    return {"avgLogprobs": reply.logprobs, "logprobsResult": result}
