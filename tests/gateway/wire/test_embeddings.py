from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
from openai.types import CreateEmbeddingResponse

from stanchion.core.errors import InvalidInput
from stanchion.gateway.contract.calls import Ask, Usage
from stanchion.gateway.wire.embeddings import Embed, embed_of, embeddings

VECTORS = [[0.5, -1.25, 3.0], [0.0, 1.0, 2.0]]


def _ask(**held: Any) -> Embed:
    return embed_of(Ask("embeddings", json.dumps({"model": "m", **held}).encode()))


@pytest.mark.parametrize("form", ["float", "base64"])
def test_the_official_client_reads_vectors_in_both_encodings(form: Any) -> None:
    asked: list[Embed] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(embed_of(Ask("embeddings", request.read())))
        body = embeddings(VECTORS, asked=asked[0], model="m", usage=Usage(tokens_in=4))
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    transport = httpx2.MockTransport(handle)
    client = openai.OpenAI(base_url="http://g/v1", api_key="k", http_client=httpx2.Client(transport=transport))
    # Without a word on the encoding the client asks for base64 by itself and unpacks it.
    options: Any = {"encoding_format": "float"} if form == "float" else {}
    made = client.embeddings.create(model="m", input=["a", "b"], dimensions=3, **options)
    CreateEmbeddingResponse.model_validate(made.model_dump())
    assert [each.embedding for each in made.data] == VECTORS
    assert made.usage.prompt_tokens == 4
    assert asked == [Embed(texts=("a", "b"), dimensions=3, base64=form == "base64")]


def test_texts_and_tokens_are_read() -> None:
    assert _ask(input="a").texts == ("a",)
    assert _ask(input=[1, 2]).tokens == ((1, 2),)
    assert _ask(input=[[1, 2], [3]]).tokens == ((1, 2), (3,))
    assert _ask(input="a", own=1).extra == {"own": 1}


@pytest.mark.parametrize(
    ("path", "held"),
    [
        ("$.input", {}),
        ("$.input", {"input": []}),
        ("$.input", {"input": 3}),
        ("$.input", {"input": ["a"] * 2049}),
        ("$.input[0]", {"input": ["a", [1]]}),
        ("$.input[1]", {"input": [[1], []]}),
        ("$.input[0]", {"input": [1, "a"]}),
        ("$.input[0]", {"input": [[-1]]}),
        ("$.encoding_format", {"input": "a", "encoding_format": "int8"}),
        ("$.dimensions", {"input": "a", "dimensions": 0}),
    ],
)
def test_a_fault_has_its_path(path: str, held: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        _ask(**held)
    assert caught.value.fields[0].path == path
