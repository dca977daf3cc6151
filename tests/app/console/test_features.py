"""The pages of features: states, lineage up to models, and the comparison with training."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from stanchion.app.console.charts import lineage_picture
from stanchion.app.lineage import Pinned, with_models
from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.features import Lineage, Node, SkewReport


def page(world: Any, path: str, status: int = 200) -> str:
    answer = TestClient(world.app(), follow_redirects=False).get(path)
    assert answer.status_code == status
    return answer.text


def test_the_worst_view_stands_first_with_its_state(make_world: Any) -> None:
    text = page(make_world(), "/console/features")
    order = [text.index(f"/console/features/views/{name}") for name in ("clicks", "calls", "devices", "spending")]
    assert order == sorted(order)
    assert 'class="state state-bad">stale<' in text


def test_a_view_tells_why_it_is_in_its_state_and_which_fields_are_null(make_world: Any) -> None:
    text = page(make_world(), "/console/features/views/spending")
    assert "The newest event is 0:01:00 old." in text
    assert "62.0 %" in text
    assert "sum(amount) over the last 1 days" in text
    assert "/console/features/services/churn-features" in text


def test_a_service_leads_from_its_sources_to_the_versions_that_pin_it(make_world: Any) -> None:
    text = page(make_world(), "/console/features/services/churn-features")
    assert "customer-churn-v2 2.1.3" in text
    assert "production" in text
    assert "other definitions" in text
    assert "Compare now" in text


def test_the_comparison_is_made_only_when_it_is_asked_for(make_world: Any) -> None:
    world = make_world()
    assert "2 of 1,000 differ" not in page(world, "/console/features/services/churn-features")
    text = page(world, "/console/features/services/churn-features?compare=1")
    assert "2 of 1,000 differ" in text
    assert "3 → 4" in text


def test_a_comparison_that_cannot_be_made_leaves_the_page_standing(make_world: Any) -> None:
    world = make_world()

    async def skew(ctx: Context, service: str, *, limit: int = 1000) -> SkewReport:
        raise Unavailable("the table cannot be read")

    world.doors.features.skew = skew
    text = page(world, "/console/features/services/churn-features?compare=1", status=503)
    assert "The table cannot be read" in text
    assert "Lineage" in text


def test_who_may_not_compare_is_offered_no_button(make_world: Any) -> None:
    assert "Compare now" not in page(make_world(denied=["features:skew"]), "/console/features/services/churn-features")


def test_a_system_without_features_says_so(make_world: Any) -> None:
    assert "not part of this system" in page(make_world(features=None), "/console/features")
    page(make_world(features=None), "/console/features/views/spending", status=404)


def test_a_large_lineage_is_drawn_in_part_and_says_so() -> None:
    fields = [Node(f"field:v.{n}", "field", f"v.{n}") for n in range(200)]
    service = Node("service:s", "service", "s")
    picture = lineage_picture(Lineage("s", "f", [service, *fields], [(node.id, service.id) for node in fields]))
    assert (len(picture.boxes), len(picture.paths), picture.left_out) == (80, 79, 121)


def test_boxes_stand_beside_what_they_are_joined_with() -> None:
    nodes = [Node(f"{kind}:s.{n}", kind, f"s.{n}") for kind in ("column", "field") for n in range(4)]  # type: ignore[arg-type]  # both are kinds
    edges = [(f"column:s.{n}", f"field:s.{3 - n}") for n in range(4)]
    rows = {box.node.id: box.y for box in lineage_picture(Lineage("s", "f", nodes, edges)).boxes}
    assert all(rows[start] == rows[end] for start, end in edges)


def test_a_version_made_with_other_definitions_says_which() -> None:
    pins = [
        Pinned("m", "1.0.0", "dev", "s", "old"),
        Pinned("m", "2.0.0", "dev", "s", "f"),
        Pinned("n", "1", "dev", "t", "f"),
    ]
    found = with_models(Lineage("s", "f", [], []), pins)
    assert [(node.name, node.detail) for node in found.nodes] == [
        ("m 1.0.0", "dev, made with the definitions of old"),
        ("m 2.0.0", "dev"),
    ]
    assert found.edges == (("service:s", "model:m 1.0.0"), ("service:s", "model:m 2.0.0"))
