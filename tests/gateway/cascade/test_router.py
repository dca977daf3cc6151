"""A router learns from outcomes which questions are easy, survives its file, and says how well it does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, NotTrustworthy
from stanchion.gateway.cascade.router import BINS, Router, vector
from stanchion.gateway.cascade.training import auc, train
from stanchion.gateway.contract.cascade import Outcome

EASY = ("What is the capital of", "How do you spell", "Translate into French:", "What colour is")
NOUNS = ("alpha", "beta", "gamma", "delta", "graph", "lemma", "tree")
HARD = ("Prove that every", "Derive the complexity of", "Compare and reconcile the clauses of", "Refactor this class:")


def outcomes(seed: int, size: int) -> list[Outcome]:
    chance = random.Random(seed)
    found = []
    for _ in range(size):
        easy = chance.random() < 0.5
        start = chance.choice(EASY if easy else HARD)
        text = (
            f"{start} {' '.join(chance.choices(['alpha', 'beta', 'gamma', 'delta', 'graph', 'lemma', 'tree'], k=6))}?"
        )
        found.append(Outcome(text, chance.random() < (0.95 if easy else 0.15)))
    return found


def test_it_tells_easy_questions_from_hard_ones_it_has_not_seen() -> None:
    trained = train(outcomes(1, 300))
    assert trained.router.score("What is the capital of beta?") > 0.8
    assert trained.router.score("Derive the complexity of tree tree graph") < 0.3
    other = outcomes(2, 400)
    seen = auc([trained.router.score(each.question) for each in other], [each.good for each in other])
    # What it said of itself was measured on outcomes it had not seen, so it holds on others.
    assert abs(seen - trained.router.auc) < 0.1
    assert len(trained.unseen) == 300


def test_it_is_the_same_after_its_file_and_a_strangers_file_is_refused(tmp_path: Path) -> None:
    router = train(outcomes(3, 100)).router
    router.save(tmp_path / "router.json")
    again = Router.load(tmp_path / "router.json")
    assert again == router
    (tmp_path / "router.json").write_text('{"weights": [1], "examples": 3, "auc": 0.5}')
    with pytest.raises((InvalidInput, NotTrustworthy)):
        Router.load(tmp_path / "router.json")
    (tmp_path / "router.json").write_text("words")
    with pytest.raises(InvalidInput, match="holds no router"):
        Router.load(tmp_path / "router.json")


def test_too_few_outcomes_or_all_of_one_kind_are_refused() -> None:
    with pytest.raises(InvalidInput, match="too few"):
        train(outcomes(4, 49))
    with pytest.raises(InvalidInput, match="too few"):
        train([Outcome(f"question {n}", True) for n in range(100)])


@given(st.text(max_size=300))
def test_any_text_has_a_vector_of_bounded_values(text: str) -> None:
    found = vector(text)
    assert all(0 <= place < BINS + 6 for place in found)
    assert all(-3 <= value <= 3 for value in found.values())
    words = [value for place, value in found.items() if place < BINS]
    assert not words or sum(value * value for value in words) == pytest.approx(1)


def test_the_area_under_the_curve_counts_ties_half() -> None:
    assert auc([0.1, 0.9], [False, True]) == 1.0
    assert auc([0.9, 0.1], [False, True]) == 0.0
    assert auc([0.5, 0.5], [False, True]) == 0.5
