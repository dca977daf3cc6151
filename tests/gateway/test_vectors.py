"""Embeddings and rerank over upstreams that have forms of their own for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from stanchion.core.errors import InvalidInput, StanchionError, Unavailable
from stanchion.gateway import Ask, Gateway
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Fault, upstream


async def asked(run: Any, shape: Any, **body: Any) -> Any:
    reply = await run.door(Gateway).complete(run.ctx, Ask(shape, json.dumps(body).encode()))
    return json.loads(reply.body), reply.account


async def test_geminis_vectors_come_in_openais_form() -> None:
    async with upstream("gemini") as up:
        app = System("vectors")
        app.upstream("google", kind="gemini", url=up.url)
        app.language_model("vectors", upstream="google", model="gemini-embedding-001", input_price="1")
        async with offline(app) as run:
            told, account = await asked(run, "embeddings", model="vectors", input=["one", "two"], dimensions=8)
            assert [len(each["embedding"]) for each in told["data"]] == [8, 8]
            assert account.usage.estimated
            assert account.cost == account.usage.tokens_in * 10**6 > 0
            assert up.calls[-1].path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
            await asked(run, "embeddings", model="vectors", input="one", task_type="RETRIEVAL_QUERY")
            assert up.calls[-1].body["requests"][0]["taskType"] == "RETRIEVAL_QUERY"
            assert up.refused == []
            for wrong in ({"input": [1, 2]}, {"input": ["a"] * 101}, {"input": "a", "strange": 1}):
                with pytest.raises(InvalidInput):
                    await asked(run, "embeddings", model="vectors", **wrong)
            for kind in ("failed", "malformed", "content_type", "cut"):
                up.faults = {Fault(kind): 1.0}
                with pytest.raises(StanchionError):
                    await asked(run, "embeddings", model="vectors", input="one")


@pytest.mark.parametrize("base", ["", "/v1"])
async def test_text_embeddings_inference_ranks_and_embeds(base: str) -> None:
    heard: list[tuple[str, Any]] = []

    async def rerank(request: web.Request) -> web.Response:
        body = await request.json()
        heard.append((request.path, body))
        if body["query"] == "broken":
            return web.json_response([{"index": 7, "score": 0.5}])
        return web.json_response([{"index": n, "score": 0.1 + n} for n, _ in enumerate(body["texts"])])

    async def embed(request: web.Request) -> web.Response:
        heard.append((request.path, await request.json()))
        data = [{"object": "embedding", "index": 0, "embedding": [1.0, 0.0]}]
        return web.json_response({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 2}})

    server = web.Application()
    server.add_routes([web.post("/rerank", rerank), web.post("/v1/embeddings", embed)])
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        app = System("tei")
        app.upstream("tei", kind="tei", url=f"http://127.0.0.1:{runner.addresses[0][1]}{base}")
        app.language_model("ranker", upstream="tei")
        async with offline(app) as run:
            documents = ["a", {"text": "b"}, "c"]
            body = {"model": "ranker", "query": "q", "documents": documents, "top_n": 2, "return_documents": True}
            told, account = await asked(run, "rerank", **body)
            assert [(each["index"], each["document"]["text"]) for each in told["results"]] == [(2, "c"), (1, "b")]
            assert (told["model"], account.cost) == ("ranker", 0)
            assert heard[-1] == ("/rerank", {"query": "q", "texts": ["a", "b", "c"], "raw_scores": False})
            listed, _ = await asked(run, "rerank", model="ranker", query="q", texts=["a", "b"])
            assert [each["index"] for each in listed] == [1, 0]
            with pytest.raises(Unavailable):
                await asked(run, "rerank", model="ranker", query="broken", documents=["a"])
            told, account = await asked(run, "embeddings", model="ranker", input="a")
            assert heard[-1][0] == "/v1/embeddings"
            assert account.usage.tokens_in == 2
    finally:
        await runner.cleanup()
