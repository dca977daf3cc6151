"""Chat completions and the older completions, whole and in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..script import Call, Reply, Usage
from ..words import arguments, divide, pieces, said
from .family import Events, event

DONE = b"data: [DONE]\n\n"


def usage_of(usage: Usage) -> dict[str, Any]:
    """The tokens in OpenAI's form."""
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": usage.tokens_in + usage.tokens_out,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_writes,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }


def why(reply: Reply) -> str:
    """The reason of the end; a refusal is a plain end in this form."""
    found = reply.stop or ("tool_calls" if reply.calls else "stop")
    return "stop" if found == "refusal" else found


def answer(call: Call, reply: Reply, usage: Usage) -> dict[str, Any]:
    """A whole chat completion, with `n` choices that are alike."""
    refused = reply.stop == "refusal"
    text = said(reply)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused or (reply.calls and not text) else text,
        "refusal": text if refused else None,
        "annotations": [],
    }
    if reply.thinking:
        message["reasoning_content"] = reply.thinking
    if reply.calls:
        message["tool_calls"] = [_made(n, reply) for n in range(len(reply.calls))]
    choice = {"message": message, "logprobs": _logprobs(call, reply, text), "finish_reason": why(reply)}
    return {
        **_head(call, reply, "chat.completion"),
        "choices": [{"index": n, **choice} for n in range(call.body.get("n") or 1)],
        "usage": usage_of(usage),
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }


def chunks(call: Call, reply: Reply, usage: Usage) -> Events:
    """A chat completion in chunks."""
    head = _head(call, reply, "chat.completion.chunk")
    options = call.body.get("stream_options") or {}
    counting = {"usage": None} if options.get("include_usage") else {}

    def chunk(delta: dict[str, Any], reason: str | None = None, found: dict[str, Any] | None = None) -> bytes:
        more = {"logprobs": found} if found else {}
        choices = [
            {"index": n, "delta": delta, **more, "finish_reason": reason} for n in range(call.body.get("n") or 1)
        ]
        return event({**head, "choices": choices, **counting})

    sent = [chunk({"role": "assistant", "content": "", "refusal": None})]
    sent += [chunk({"reasoning_content": word}) for word in divide(reply.thinking)]
    field = "refusal" if reply.stop == "refusal" else "content"
    for text in pieces(reply):
        sent.append(chunk({field: text}, found=_logprobs(call, reply, text)))
    for number in range(len(reply.calls)):
        sent += [chunk({"tool_calls": [delta]}) for delta in _deltas(number, reply)]
    ending = len(sent)
    sent.append(chunk({}, why(reply)))
    if counting:
        sent.append(event({**head, "choices": [], "usage": usage_of(usage)}))
    return Events([*sent, DONE], ending)


def completion(call: Call, reply: Reply, usage: Usage) -> dict[str, Any]:
    """A whole completion."""
    text = said(reply)
    choice = {"text": text, "logprobs": _flat(call, reply, text), "finish_reason": why(reply)}
    return {
        **_head(call, reply, "text_completion", "cmpl"),
        "choices": [{"index": n, **choice} for n in range(call.body.get("n") or 1)],
        "usage": usage_of(usage),
    }


def completion_chunks(call: Call, reply: Reply, usage: Usage) -> Events:
    """A completion in chunks."""
    head = _head(call, reply, "text_completion", "cmpl")

    def chunk(text: str, reason: str | None = None) -> bytes:
        choice = {"text": text, "index": 0, "logprobs": _flat(call, reply, text), "finish_reason": reason}
        return event({**head, "choices": [choice]})

    sent = [chunk(text) for text in pieces(reply)]
    ending = len(sent)
    sent.append(chunk("", why(reply)))
    if (call.body.get("stream_options") or {}).get("include_usage"):
        sent.append(event({**head, "choices": [], "usage": usage_of(usage)}))
    return Events([*sent, DONE], ending)


def _head(call: Call, reply: Reply, kind: str, prefix: str = "chatcmpl") -> dict[str, Any]:
    return {
        "id": f"{prefix}-{call.number}",
        "object": kind,
        "created": int(call.at.timestamp()),
        "model": reply.model or call.model,
    }


def _made(number: int, reply: Reply) -> dict[str, Any]:
    made = reply.calls[number]
    return {"id": made.id, "type": "function", "function": {"name": made.name, "arguments": arguments(made)}}


def _deltas(number: int, reply: Reply) -> Iterator[dict[str, Any]]:
    """The call's name, then its arguments in parts of a few characters."""
    whole = _made(number, reply)
    text = whole["function"]["arguments"]
    yield {"index": number, **whole, "function": {**whole["function"], "arguments": ""}}
    for start in range(0, len(text), 8):
        yield {"index": number, "function": {"arguments": text[start : start + 8]}}


def _logprobs(call: Call, reply: Reply, text: str) -> dict[str, Any] | None:
    if not call.body.get("logprobs"):
        return None
    found = []
    for word in divide(text):
        token = {"token": word, "logprob": reply.logprobs, "bytes": list(word.encode())}
        found.append({**token, "top_logprobs": [token] * min(1, call.body.get("top_logprobs") or 0)})
    return {"content": found, "refusal": None}


def _flat(call: Call, reply: Reply, text: str) -> dict[str, Any] | None:
    if call.body.get("logprobs") is None:
        return None
    words = divide(text)
    starts = [len("".join(words[:n])) for n in range(len(words))]
    scores = [reply.logprobs] * len(words)
    top = [{word: reply.logprobs} for word in words] if call.body["logprobs"] else None
    return {"tokens": words, "token_logprobs": scores, "top_logprobs": top, "text_offset": starts}
