"""The gateway's pages in a real browser: streamed answers side by side, and breakers that change without a reload."""

from __future__ import annotations

from typing import Any

from tests.app.console.browsing import MARKS, faults, page_on, serving
from tests.app.console.fake_gateway import FakeGateway

HOME = "/console/gateway"
pytestmark = MARKS


def test_two_answers_stream_side_by_side_as_text_with_what_they_took_and_cost(
    browser: Any,
    axe: str,
    make_world: Any,
) -> None:
    world = make_world(gateway=FakeGateway(said="<img src=x onerror=alert(1)> at nine", broken=frozenset({"deep"})))
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.goto(f"{url}{HOME}/playground")
        page.evaluate("window.stays = true")
        page.get_by_label("Message").fill("When do you open?")
        page.get_by_label("Model A").select_option("small")
        page.get_by_label("Model B").select_option("deep")
        page.keyboard.press("Tab")
        page.get_by_role("button", name="Ask both").click()
        left, right = page.locator("[data-side=a]"), page.locator("[data-side=b]")
        left.get_by_text("$0.0000127").wait_for()
        right.get_by_text("Deep broke off").wait_for()
        for side in (left, right):
            assert side.locator("[data-words]").text_content() == "<img src=x onerror=alert(1)> at nine "
        assert page.locator("main img").count() == 0
        assert page.get_by_role("button", name="Stop").count() == 0
        assert page.evaluate("window.stays")
        assert faults(page, axe) == []


def test_a_breaker_that_opens_is_seen_without_a_reload(browser: Any, make_world: Any) -> None:
    world = make_world(gateway=FakeGateway())
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}{HOME}")
        page.get_by_label("Breakers").get_by_text("1", exact=True).wait_for()
        world.doors.gateway.put["third"] = world.doors.gateway._specs()["reasoning"]
        page.clock.run_for(6000)
        page.get_by_label("Breakers").get_by_text("2", exact=True).wait_for()
