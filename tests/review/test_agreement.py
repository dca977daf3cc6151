"""Figures of agreement equal published worked examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput
from stanchion.review.quality.agreement import Level, cohen_kappa, fleiss_kappa, krippendorff_alpha


def ratings(table: dict[tuple[str, str], int]) -> tuple[list[str], list[str]]:
    """Two raters' lists from how often each pair of ratings came."""
    pairs = [pair for pair, times in table.items() for _ in range(times)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def test_cohens_kappa_of_fifty_proposals() -> None:
    """Wikipedia, "Cohen's kappa", simple example: 20, 5, 10 and 15 of 50 proposals; kappa 0.4."""
    table = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    assert cohen_kappa(*ratings(table)) == pytest.approx(0.4, abs=1e-12)


@pytest.mark.parametrize(("table", "kappa"), [((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593)])
def test_the_same_percentage_may_mean_different_agreement(table: tuple[int, ...], kappa: float) -> None:
    """Wikipedia, "Cohen's kappa", same percentages but different numbers: 0.1304 and 0.2593."""
    cells = [("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no")]
    assert cohen_kappa(*ratings(dict(zip(cells, table, strict=True)))) == pytest.approx(kappa, abs=5e-5)


def test_fleiss_kappa_of_ten_subjects_and_fourteen_raters() -> None:
    """Wikipedia, "Fleiss' kappa", worked example: kappa 0.210."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


def units(*raters: str) -> list[list[float]]:
    """The units of a reliability data matrix: one text for each rater, a dot where a value is missing."""
    return [[float(value) for value in column if value != "."] for column in zip(*raters, strict=True)]


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_alpha_of_four_observers_with_missing_values(level: Level, alpha: float) -> None:
    """K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, examples C and D."""
    data = units("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    assert krippendorff_alpha(data, level=level) == pytest.approx(alpha, abs=5e-4)


def test_krippendorffs_alpha_of_two_observers() -> None:
    """The same, examples A (binary, 0.095) and B (nominal, 0.692)."""
    binary = units("0100000010", "1110010000")
    assert krippendorff_alpha(binary) == pytest.approx(0.095, abs=5e-4)
    nominal = [list(pair) for pair in zip("aabbdcccedda", "babbbccceddd", strict=True)]
    assert krippendorff_alpha(nominal) == pytest.approx(0.692, abs=5e-4)


def test_a_figure_that_is_not_defined_is_none() -> None:
    assert cohen_kappa([], []) is None and cohen_kappa(["a"], ["a"]) is None
    assert fleiss_kappa([]) is None and fleiss_kappa([[1, 0]]) is None and fleiss_kappa([[2, 0], [2, 0]]) is None
    assert krippendorff_alpha([["a"], ["b"]]) is None and krippendorff_alpha([["a", "a"]]) is None
    with pytest.raises(InvalidInput):
        cohen_kappa(["a"], [])
    with pytest.raises(InvalidInput):
        fleiss_kappa([[2, 0], [1, 0]])
    with pytest.raises(InvalidInput):
        krippendorff_alpha([["a", "b"]], level="interval")


@given(pairs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=30))
def test_the_three_figures_order_pairs_of_ratings_alike(pairs: list[tuple[str, str]]) -> None:
    """With two raters all are at most 1, and 1 exactly where the raters always agree."""
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    counts = [[(a, b).count(name) for name in "abc"] for a, b in pairs]
    for figure in (cohen_kappa(one, other), fleiss_kappa(counts), krippendorff_alpha([list(pair) for pair in pairs])):
        assert figure is None or figure <= 1
        if figure is not None:
            assert (figure > 1 - 1e-9) == (one == other)
