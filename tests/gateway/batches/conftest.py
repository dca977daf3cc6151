"""Batches through the served gateway: stock clients, scripted upstreams, real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import openai

from stanchion.system import System
from stanchion.testing.upstreams import Upstream

ENDED = ("completed", "failed", "expired", "cancelled")


def declare(app: System, ups: dict[str, Upstream]) -> None:
    hosted = app.upstream("hosted", kind="openai", url=ups["openai"].url + "/v1")
    gpt = app.language_model("gpt", upstream=hosted, model="gpt-4o-mini")
    app.language_model("vectors", upstream=hosted, model="text-embedding-3-small", shapes=["embeddings"])
    ranking = app.upstream("ranking", kind="compatible", url=ups["openai"].url + "/v1")
    app.language_model("ranks", upstream=ranking, model="ranks", shapes=["rerank"])
    app.route("task", primary=gpt)


def chat(text: str, model: str = "gpt", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def line(name: str, body: Any, url: str = "/v1/chat/completions", **more: Any) -> str:
    return json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body, **more})


def file_of(lines: Sequence[str]) -> tuple[str, bytes]:
    return "calls.jsonl", "\n".join(lines).encode()


def rows(content: str) -> dict[str, Any]:
    return {row["custom_id"]: row for row in map(json.loads, content.splitlines())}


async def ended(client: openai.AsyncOpenAI, batch: str) -> Any:
    """The batch, once it has ended."""
    while (found := await client.batches.retrieve(batch)).status not in ENDED:
        await asyncio.sleep(0.02)
    return found
