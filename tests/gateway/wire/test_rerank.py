from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, StanchionError, Unavailable
from stanchion.gateway.contract.calls import Ask, Usage
from stanchion.gateway.dialects.rerank import CohereRerank, TeiRerank
from stanchion.gateway.wire.rerank import Ranked, Rerank, ranking, rerank_of


def _ask(**held: Any) -> Rerank:
    return rerank_of(Ask("rerank", json.dumps({"model": "m", "query": "q", **held}).encode()))


def _written(asked: Rerank, *scores: float) -> Any:
    ranked = [Ranked(place, score) for place, score in enumerate(scores)]
    return json.loads(ranking(ranked, asked=asked, answer_id="a", model="m", usage=Usage(tokens_in=5)))


def test_the_forms_of_cohere_and_jina_are_answered() -> None:
    asked = _ask(documents=["a", {"text": "b"}, "c"], top_n=2, return_documents=True)
    assert _written(asked, 0.1, 0.9, 0.5) == {
        "id": "a",
        "model": "m",
        "results": [
            {"index": 1, "relevance_score": 0.9, "document": {"text": "b"}},
            {"index": 2, "relevance_score": 0.5, "document": {"text": "c"}},
        ],
        "usage": {"total_tokens": 5},
    }
    assert _written(_ask(documents=["a"]), 0.1)["results"] == [{"index": 0, "relevance_score": 0.1}]


def test_the_form_of_text_embeddings_inference_is_answered() -> None:
    asked = _ask(texts=["a", "b"], return_text=True, raw_scores=True)
    assert asked.raw
    assert _written(asked, 0.1, 0.9) == [
        {"index": 1, "score": 0.9, "text": "b"},
        {"index": 0, "score": 0.1, "text": "a"},
    ]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(1, 6))
def test_a_ranking_survives_both_upstreams(scores: list[float], top: int) -> None:
    asked = Rerank("q", [str(place) for place in range(len(scores))], top=top)
    best = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:top]
    wanted = [Ranked(place, scores[place]) for place in best]
    ranked = [Ranked(place, score) for place, score in enumerate(scores)]
    body = ranking(ranked, asked=asked, answer_id="a", model="m", usage=Usage(tokens_in=5))
    found = CohereRerank().answer(body, asked)
    assert (found.ranked, found.usage) == (wanted, Usage(tokens_in=5))
    listed = Rerank(asked.query, asked.documents, top=top, form="list")
    body = ranking(ranked, asked=listed, answer_id="a", model="m", usage=None)
    assert TeiRerank().answer(body, listed).ranked == wanted


def test_requests_reach_upstreams_in_their_own_form() -> None:
    asked = _ask(documents=["a", {"text": "b"}], top_n=1, priority=3)
    assert rerank_of(Ask("rerank", CohereRerank().request(asked, "m").body)) == _ask(
        documents=["a", "b"], top_n=1, priority=3
    )
    held = json.loads(TeiRerank().request(_ask(documents=["a"]), "m").body)
    assert held == {"query": "q", "texts": ["a"], "raw_scores": False}
    with pytest.raises(InvalidInput, match="priority"):
        TeiRerank().request(asked, "m")


@pytest.mark.parametrize("dialect", [CohereRerank(), TeiRerank()], ids=["cohere", "tei"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b'{"results":3}', b'{"error":"down"}', b'{"results":[{"index":9,"relevance_score":1}]}',
        b'[{"index":-1,"score":1}]', b'[{"index":0}]', b"[3]",
    ],
)  # fmt: skip
def test_what_is_no_ranking_is_not_taken_for_one(dialect: Any, body: bytes) -> None:
    with pytest.raises(StanchionError) as caught:
        dialect.answer(body, Rerank("q", ["a"]))
    assert isinstance(caught.value, Unavailable)


@pytest.mark.parametrize(
    ("path", "held"),
    [
        ("$.documents", {}),
        ("$.documents", {"documents": []}),
        ("$.documents[1]", {"documents": ["a", 3]}),
        ("$.documents[0].text", {"documents": [{"title": "x"}]}),
        ("$.query", {"documents": ["a"], "query": None}),
        ("$.top_n", {"documents": ["a"], "top_n": 0}),
    ],
)
def test_a_fault_has_its_path(path: str, held: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        _ask(**held)
    assert caught.value.fields[0].path == path
