from __future__ import annotations

from itertools import pairwise

import pytest

from stanchion.core.flags.semver import parse, within


def test_precedence_is_that_of_the_specification():
    text = (
        "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 2.0.0 2.1.0"
    )
    versions = [parse(word) for word in text.split()]
    assert all(low < high for low, high in pairwise(versions))


def test_build_metadata_does_not_count():
    assert parse("1.0.0+a") == parse("v1.0.0+b")


@pytest.mark.parametrize(
    ("version", "wanted", "answer"),
    [
        ("1.4.0", ">=1.2 <2", True),
        ("2.0.0", ">=1.2 <2", False),
        ("1.4.0", "1.4", True),
        ("1.4.0", "=1.4.0", True),
        ("1.9.9", "^1.4", True),
        ("2.0.0", "^1.4", False),
        ("2.0.0-alpha", "^1.4", False),
        ("0.3.1", "^0.3", True),
        ("0.4.0", "^0.3", False),
        ("0.0.4", "^0.0.3", False),
        ("2.1.7", "~2.1", True),
        ("2.2.0", "~2.1", False),
        ("3.0.0", "<1 || >=3", True),
        ("1.0.0-rc.1", "<1.0.0", True),
        ("one", ">=0", False),
        ("1.0.0-" + "9" * 9000, ">=0", False),
        ("1.0.0", ">=", False),
        ("1.0.0", "", False),
        ("1.0.0", ">= 1", False),
    ],
)
def test_ranges(version, wanted, answer):
    assert within(version, wanted) is answer
