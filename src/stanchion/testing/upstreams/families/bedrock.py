"""Bedrock's Converse, whole and as an event stream in binary frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from ..script import Call, Kind, Reply, Stop, Usage
from ..words import arguments, divide, parsed, pieces, said, text_of
from . import bedrock_requests
from .aws import event, exception, signed
from .family import Events, Family, Refusal, SigningKey, Target

PATH = re.compile(r"/model/([^/]+)/(converse|converse-stream)$")
REASONS: dict[Stop, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "refusal": "guardrail_intervened",
}
TYPES = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


class Bedrock(Family):
    """`/model/{modelId}/converse` and `/model/{modelId}/converse-stream`."""

    stream_type = "application/vnd.amazon.eventstream"

    def target(self, method: str, path: str) -> Target | None:
        found = PATH.search(path)
        if method != "POST" or found is None:
            return None
        return Target("chat", unquote(found[1]), found[2] == "converse-stream")

    def prompt(self, kind: Kind, body: Any) -> str:
        return text_of(body["messages"][-1].get("content"))

    def problem(self, call: Call) -> str:
        return bedrock_requests.problem(call.body)

    def whole(self, call: Call, reply: Reply, usage: Usage) -> Any:
        content = [block for block, _ in _blocks(reply)]
        return {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": _reason(reply),
            "usage": _usage(usage),
            "metrics": {"latencyMs": 1},
        }

    def events(self, call: Call, reply: Reply, usage: Usage) -> Events:
        sent = [event("messageStart", {"role": "assistant"})]
        for number, (block, deltas) in enumerate(_blocks(reply)):
            place = {"contentBlockIndex": number}
            if "toolUse" in block:
                start = {key: block["toolUse"][key] for key in ("toolUseId", "name")}
                sent.append(event("contentBlockStart", {**place, "start": {"toolUse": start}}))
            sent += [event("contentBlockDelta", {**place, "delta": delta}) for delta in deltas]
            sent.append(event("contentBlockStop", place))
        ending = len(sent)
        sent.append(event("messageStop", {"stopReason": _reason(reply)}))
        return Events([*sent, event("metadata", {"usage": _usage(usage), "metrics": {"latencyMs": 1}})], ending)

    def refusal(self, status: int, words: str) -> Refusal:
        status = {401: 403, 529: 503}.get(status, status)
        return Refusal(status, {"message": words}, {"x-amzn-ErrorType": TYPES.get(status, "InternalServerException")})

    def failure(self, words: str) -> bytes:
        return exception("throttlingException", words)

    def malformed(self) -> bytes:
        whole = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x"}})
        return whole[:-1] + bytes([whole[-1] ^ 1])

    def authorised(self, call: Call, key: str | SigningKey) -> bool:
        if isinstance(key, str):
            return call.headers.get("authorization") == f"Bearer {key}"
        return signed(call, key, "bedrock")


def _reason(reply: Reply) -> str:
    return REASONS[reply.stop or ("tool_calls" if reply.calls else "stop")]


def _usage(usage: Usage) -> dict[str, Any]:
    """Here the tokens of the cache are not among the input's, but they are in the total."""
    return {
        "inputTokens": usage.tokens_in - usage.cached - usage.cache_writes,
        "outputTokens": usage.tokens_out,
        "totalTokens": usage.tokens_in + usage.tokens_out,
        "cacheReadInputTokens": usage.cached,
        "cacheWriteInputTokens": usage.cache_writes,
    }


def _blocks(reply: Reply) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The blocks of the content, each with the deltas of a stream."""
    if reply.thinking:
        signature = reply.signature or "c2NyaXB0ZWQ="
        deltas = [{"reasoningContent": {"text": word}} for word in divide(reply.thinking)]
        thought = {"reasoningText": {"text": reply.thinking, "signature": signature}}
        yield {"reasoningContent": thought}, [*deltas, {"reasoningContent": {"signature": signature}}]
    text = said(reply)
    if text:
        yield {"text": text}, [{"text": word} for word in pieces(reply)]
    for one in reply.calls:
        given = arguments(one)
        deltas = [{"toolUse": {"input": given[start : start + 8]}} for start in range(0, len(given), 8)]
        yield {"toolUse": {"toolUseId": one.id, "name": one.name, "input": parsed(one)}}, deltas
