"""What `stanchion gateway compare` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from stanchion.app.commands.comparisons import told
from stanchion.gateway import Comparison, Estimate, Variant
from stanchion.gateway.comparing.desk import _compared, _Seen


def variant(name: str, cost: float, **more: Any) -> Variant:
    given: dict[str, Any] = {"latency": Estimate(812.4, 790.1, 834.6), "score": None, **more}
    return Variant(name, 60, 14, 1, 0, Estimate(cost, cost / 2, cost * 2), **given)


def test_variants_and_differences_stand_in_tables_of_their_own() -> None:
    over = {"over_cost": Estimate(-1.27948e9, -2.1e9, -4.64297e8), "over_latency": Estimate(-0.0, -12.0, 12.0)}
    text = told(Comparison("prompt:p", "p@2", 0.95, (variant("p@1", 4.48982e8, **over), variant("p@2", 1.72846e9))))
    assert text.splitlines() == [
        "prompt:p. In brackets: 95% intervals; one needs six units or more.",
        "",
        "variant  requests  units  broken  scored  $ a request                    ms              score",
        "p@1      60        14     1       0       0.000449 [0.000224, 0.000898]  812 [790, 835]  -",
        "p@2      60        14     1       0       0.00173 [0.000864, 0.00346]    812 [790, 835]  -",
        "",
        "Intervals of differences hold for all of them together.",
        "",
        "over p@2  of           difference                      share  decided",
        "p@1       $ a request  -0.00128 [-0.00210, -0.000464]  -74%   yes",
        "p@1       ms           0 [-12.0, +12.0]                0%     no",
    ]


def test_one_variant_alone_is_told_to_be_alone() -> None:
    text = told(Comparison("route:r", "a/b", 0.9, (variant("a/b", 0.0, score=Estimate(1234.5)),)))
    assert text.endswith("Nothing to compare: every call was answered by a/b.")
    assert "0 [0, 0]" in text
    assert text.splitlines()[3].endswith("1,230")


def test_versions_stand_in_the_order_of_their_numbers() -> None:
    names = ("p@10", "p@9", "p@100")
    seen: Mapping[str, list[_Seen]] = {name: [_Seen(name, "u", 1.0, 1.0, True, None)] for name in names}
    assert [each.name for each in _compared("prompt:p", seen, "p@9", 0.95).variants] == ["p@9", "p@10", "p@100"]
    with pytest.raises(Exception, match="nobody"):
        _compared("prompt:p", seen, "nobody", 0.95)
