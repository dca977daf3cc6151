"""OpenAI's API, and that of every server that took its form: Azure, Mistral, OpenRouter, Ollama, vLLM, llama.cpp."""

from __future__ import annotations

from typing import Any

from ..script import Call, Kind, Reply, Usage
from ..words import text_of
from . import openai_requests
from .family import SSE, Events, Family, Refusal, SigningKey, Target, event
from .openai_chat import answer, chunks, completion, completion_chunks
from .openai_responses import document, story
from .openai_vectors import embeddings, models, rerank

KINDS: dict[str, Kind] = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/rerank": "rerank",
}
TYPES = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


class OpenAI(Family):
    """Paths are told by their end: `/v1/chat/completions` as well as Azure's `/openai/deployments/x/...`."""

    stream_type = SSE

    def target(self, method: str, path: str) -> Target | None:
        if method == "GET" and path.endswith("/models"):
            return Target("models", model="", stream=False)
        if method != "POST":
            return None
        return next((Target(kind) for end, kind in KINDS.items() if path.endswith(end)), None)

    def prompt(self, kind: Kind, body: Any) -> str:
        match kind:
            case "chat":
                return text_of(body["messages"][-1].get("content"))
            case "responses":
                given = body["input"]
                last = given if isinstance(given, str) else given[-1] if given else ""
                return text_of(last if isinstance(last, str) else last.get("content", last.get("output")))
            case "rerank":
                return str(body["query"])
            case _:
                given = body.get("prompt", body.get("input", ""))
                return given if isinstance(given, str) else " ".join(map(str, given))

    def problem(self, call: Call) -> str:
        return openai_requests.problem(call.kind, call.body)

    def whole(self, call: Call, reply: Reply, usage: Usage) -> Any:
        match call.kind:
            case "chat":
                return answer(call, reply, usage)
            case "completions":
                return completion(call, reply, usage)
            case "responses":
                return document(call, reply, usage)
            case "embeddings":
                return embeddings(call, reply, usage)
            case "rerank":
                return rerank(call, reply, usage)
            case _:
                return models(call, reply)

    def events(self, call: Call, reply: Reply, usage: Usage) -> Events:
        match call.kind:
            case "chat":
                return chunks(call, reply, usage)
            case "responses":
                return story(call, reply, usage)
            case _:
                return completion_chunks(call, reply, usage)

    def refusal(self, status: int, words: str) -> Refusal:
        kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        return Refusal(status, {"error": {"message": words, "type": kind, "param": None, "code": None}})

    def failure(self, words: str) -> bytes:
        return event({"error": {"message": words, "type": "server_error", "param": None, "code": None}})

    def malformed(self) -> bytes:
        return b'data: {"id": "chatcmpl-x", "choices": [{"ind\n\n'

    def authorised(self, call: Call, key: str | SigningKey) -> bool:
        return call.headers.get("authorization") == f"Bearer {key}" or call.headers.get("api-key") == key
