"""Runs and events in a real browser: followed to their end without a reload, and operated by keyboard alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stanchion.events import Selection
from tests.app.console.browsing import MARKS, arrived, page_on, serving
from tests.app.console.fake_runs import run_id, sample_run

pytestmark = MARKS


def test_a_run_is_followed_to_its_end_without_a_reload(browser: Any, make_world: Any) -> None:
    world = make_world()
    runs = world.doors.pipelines.of
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}/console/")
        page.keyboard.press("g")
        page.keyboard.press("p")
        arrived(page, "**/console/pipelines")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        arrived(page, f"**/runs/{run_id('running')}")
        page.evaluate("window.stays = true")
        page.locator("summary", has_text="Cancel the run").press("Enter")
        page.get_by_role("checkbox").press("Space")
        page.get_by_text("3 steps ·").wait_for()
        runs[run_id("running")] = replace(sample_run("running"), recoveries=2)
        page.clock.run_for(6000)
        page.get_by_text("Taken over 2 times").wait_for()
        assert page.get_by_role("checkbox").is_checked(), "what one has in hand is kept"
        runs[run_id("running")] = sample_run("done", id=run_id("running"))
        page.clock.run_for(6000)
        page.get_by_text("4 steps ·").wait_for()
        page.locator("summary", has_text="Cancel the run").wait_for(state="detached")
        assert page.evaluate("window.stays")


def test_a_lag_is_followed_and_dead_letters_are_redriven_by_keyboard(browser: Any, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}/console/events")
        world.doors.events.behind = 4_321
        page.clock.run_for(6000)
        page.get_by_label("Behind").get_by_text("4,321").wait_for()
        page.get_by_role("link", name="2", exact=True).press("Enter")
        arrived(page, "**/console/events/dead?consumer=extract")
        page.get_by_role("checkbox", name="Choose document.uploaded").nth(1).press("Space")
        page.get_by_role("button", name="Redrive").press("Enter")
        page.get_by_role("status").wait_for()
        assert world.doors.events.asked == [("redrive", "extract", Selection(ids=("dl2",)), None)]
