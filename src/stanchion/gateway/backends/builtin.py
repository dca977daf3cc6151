"""A model with no weights, no key and no network: it quotes sentences of the context it is given, and says so.

It makes nothing up, so it is of use for a first start, for tests and as the last model of a route.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from ...core.context import Context, new_request_id
from ..contract.calls import Ask, Usage
from ..embedder.desk import Embedder
from ..ports import Response, Transport, Wire
from ..wire.embeddings import embed_of, embeddings
from ..wire.extra import passed_on
from ..wire.reading import wrong

NAME = "builtin-extractive"
EMBEDDER = "all-MiniLM-L6-v2"
QUOTING = "Extractive answer, quoted from the given context:"
NOTHING = (
    "There is nothing in the given context to quote for this question. This built-in model is extractive: "
    "it quotes what it is given and makes nothing up."
)
_MOST_QUOTES = 3
_MOST_TEXT = 1 << 20
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be been but by can could did do does for from had has have how i if in into is it its me "
        "my of on or our please so tell than that the their them then there these they this to was we were what when "
        "where which who whom whose why will with would you your about"
    )
)
_encode = msgspec.json.Encoder().encode


class BuiltinTransport(Transport):
    """Answers chat completions in this process, and embeddings where the weights of a model were fetched."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @asynccontextmanager
    async def send(self, ctx: Context, wire: Wire) -> AsyncIterator[Response]:
        if wire.path.endswith("/embeddings"):
            yield _Told(200, "application/json", [await self._embedded(wire.body)])
            return
        asked: dict[str, Any] = msgspec.json.decode(wire.body)
        fault = _fault(asked)
        if fault:
            yield _Told(400, "application/json", [_encode({"error": {"message": fault}})])
            return
        words = answer(asked.get("messages") or [])
        usage = _usage(asked, words)
        if asked.get("stream"):
            yield _Told(200, "text/event-stream", list(_events(asked, words, usage)))
        else:
            yield _Told(200, "application/json", [_encode(_whole(words, usage))])

    async def _embedded(self, body: bytes) -> bytes:
        asked = embed_of(Ask("embeddings", body))
        if asked.tokens:
            raise wrong("$.input", "The built-in embedder reads texts, not the token ids of another model")
        truncate = passed_on(asked.extra, {"truncate"}, "The built-in embedder").get("truncate", False)
        if not isinstance(truncate, bool):
            raise wrong("$.truncate", "Expected true or false")
        found = await self._embedder.vectors(asked.texts, truncate=truncate)
        width = found.rows.shape[1]
        if asked.dimensions not in (None, width):
            raise wrong("$.dimensions", f"The vectors have {width} numbers, and a part of one means nothing")
        usage = Usage(tokens_in=found.tokens)
        return embeddings(found.rows.tolist(), asked=asked, model=EMBEDDER, usage=usage)

    async def probe(self, ctx: Context, path: str) -> int:
        return 200

    async def close(self) -> None:
        return None


class _Told(Response):
    """An answer that is there at once."""

    def __init__(self, status: int, media: str, parts: Sequence[bytes]) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": media}
        self._parts = parts

    async def read(self) -> bytes:
        return b"".join(self._parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def answer(messages: Sequence[Any]) -> str:
    """Up to three sentences of the messages that share the most words with the question, in their order.

    The question is the last line of the last user message; all that stands before it is the context.
    """
    texts = [(str(each.get("role")), _text(each.get("content"))) for each in messages if isinstance(each, dict)]
    last = next((place for place in range(len(texts) - 1, -1, -1) if texts[place][0] == "user"), None)
    if last is None:
        return NOTHING
    before, _, question = texts[last][1].strip().rpartition("\n")
    context = "\n".join([text for role, text in texts[:last] if role != "assistant"] + [before])[:_MOST_TEXT]
    wanted = _words(question)
    sentences = list(dict.fromkeys(part.strip() for part in _SENTENCE.split(context) if part.strip()))
    scored = [(len(wanted & _words(sentence)), place) for place, sentence in enumerate(sentences)]
    best = sorted(
        sorted((s for s in scored if s[0] > 0), key=lambda s: (-s[0], s[1]))[:_MOST_QUOTES], key=lambda s: s[1]
    )
    if not best:
        return NOTHING
    return "\n".join([QUOTING, *(f"\u201c{sentences[place]}\u201d" for _, place in best)])


def _words(text: str) -> set[str]:
    # A plural and its singular are one word here; more of grammar is not needed to find a sentence.
    return {word.rstrip("s") for word in _WORD.findall(text.lower()) if word not in _COMMON}


def _text(content: object) -> str:
    """The words of a message; its pictures and other parts cannot be quoted."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


def _fault(asked: Mapping[str, Any]) -> str:
    form = asked.get("response_format")
    if isinstance(form, dict) and form.get("type") not in (None, "text"):
        return "the built-in model quotes text: it cannot fill a schema"
    if asked.get("tool_choice") not in (None, "auto", "none"):
        return "the built-in model quotes text: it cannot call tools"
    return ""


def _usage(asked: Mapping[str, Any], words: str) -> dict[str, int]:
    given = sum(
        len(_TOKEN.findall(_text(m.get("content")))) for m in asked.get("messages") or [] if isinstance(m, dict)
    )
    made = len(_TOKEN.findall(words))
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _whole(words: str, usage: Mapping[str, int]) -> dict[str, Any]:
    message = {"role": "assistant", "content": words, "refusal": None}
    return {
        "id": f"chatcmpl-{new_request_id()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": NAME,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
    }


def _events(asked: Mapping[str, Any], words: str, usage: Mapping[str, int]) -> list[bytes]:
    head: dict[str, Any] = {"id": f"chatcmpl-{new_request_id()}", "object": "chat.completion.chunk", "model": NAME}
    head["created"] = int(time.time())
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": line} for line in words.splitlines(keepends=True)]
    documents: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    documents.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        documents.append({**head, "choices": [], "usage": usage})
    return [*(b"data: " + _encode(each) + b"\n\n" for each in documents), b"data: [DONE]\n\n"]
