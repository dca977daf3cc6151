"""Live quality on a model's page: by version and arm, with the way to send feedback where there is none."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from starlette.testclient import TestClient

from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.serving import ModelQuality, VersionQuality
from tests.app.console.fake_batches import sample_quality
from tests.app.console.fake_features import NOW

MODEL = "/console/models/customer-churn-v2"
FRAGMENT = "/console/fragments/quality/customer-churn-v2"


def page(world: Any, path: str = MODEL, status: int = 200) -> str:
    answer = TestClient(world.app(), follow_redirects=False).get(path)
    assert answer.status_code == status
    return answer.text


def rows(text: str) -> list[str]:
    """The rows of the table of versions, without its head, each as plain words."""
    table = text[text.index('aria-label="Quality by version"') :]
    found = re.findall(r"<tr>(.*?)</tr>", table[: table.index("</table>")], re.S)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found[1:]]


def test_each_version_and_arm_has_its_figures_the_newest_first(make_world: Any) -> None:
    assert rows(page(make_world())) == [
        "2.2.0 canary 102 of 4,133 81.4 % – – revenue 43.1 of 102",
        "2.1.3 540 of 48,210 79.6 % 0.8312 0.1421 revenue 41.25 of 310",
        "2.1.2 0 of 1,204 – – – –",
    ]


def test_versions_are_ordered_by_number_and_the_oldest_left_out(make_world: Any) -> None:
    world = make_world()
    versions = [VersionQuality(f"1.{n}.0", "", 5, 1) for n in range(14)] + [VersionQuality("declared", "", 5, 1)]
    world.doors.serving.told = ModelQuality("customer-churn-v2", NOW, versions)
    text = page(world)
    assert [row.split()[0] for row in rows(text)] == [f"1.{n}.0" for n in range(13, 3, -1)]
    assert "5 older are left out" in text


def test_calibration_by_feedback_is_drawn_for_the_version_that_is_looked_at(make_world: Any) -> None:
    world = make_world()
    text = page(world)
    assert "Calibration by feedback" in text
    assert '<span class="mono">2.1.3</span>, by feedback' in text
    assert "Calibration by feedback" not in page(world, f"{MODEL}?version=2.1.2")


def test_too_few_labels_draw_no_curve(make_world: Any) -> None:
    world = make_world()
    told = sample_quality("customer-churn-v2")
    world.doors.serving.told = replace(told, versions=[replace(each, labelled=20) for each in told.versions])
    assert "Calibration by feedback" not in page(world)


def test_without_a_label_the_page_tells_how_to_send_one(make_world: Any) -> None:
    world = make_world()
    world.doors.serving.told = ModelQuality("customer-churn-v2", NOW, [VersionQuality("2.1.3", "", 1_204, 0)])
    text = page(world)
    assert "None of 1,204 kept predictions has a label" in text
    assert "curl http://testserver/v1/feedback" in text
    assert rows(text) == ["2.1.3 0 of 1,204 – – – –"]


def test_without_a_kept_prediction_the_page_tells_how_to_keep_them(make_world: Any) -> None:
    world = make_world()
    world.doors.serving.told = ModelQuality("customer-churn-v2", NOW, [])
    text = page(world)
    assert "No prediction was kept in 30 days" in text
    assert "journal=Keep(share=1.0)" in text


def test_a_journal_that_does_not_answer_leaves_the_page_standing(make_world: Any) -> None:
    world = make_world()

    async def gone(ctx: Context, model: str, *, days: int = 30) -> ModelQuality:
        raise Unavailable("this process keeps no journal of predictions")

    world.doors.serving.quality = gone
    text = page(world)
    assert "This process keeps no journal of predictions." in text
    assert "Ladder" in text
    page(world, FRAGMENT, status=404)


def test_the_fragment_holds_the_markup_of_the_page_and_is_asked_for_once_a_minute(make_world: Any) -> None:
    world = make_world()
    text = page(world, f"{MODEL}?version=2.1.3")
    assert f'data-live="{FRAGMENT}?version=2.1.3" data-live-every="60"' in text
    assert page(world, f"{FRAGMENT}?version=2.1.3").strip() in text


def test_a_model_that_is_not_served_here_and_one_who_may_not_read_see_no_card(make_world: Any) -> None:
    assert "Quality by feedback" not in page(make_world(denied=["serving:read"]))
    assert "Quality by feedback" not in page(make_world(serving=None))
