"""Events and their catalogue in a real browser: by keyboard alone, and new ones come without a reload."""

from __future__ import annotations

from typing import Any

from tests.app.console.browsing import MARKS, arrived, faults, page_on, serving
from tests.app.console.fake_catalogue import UPLOADED, envelope, version

HOME = "/console/events"
pytestmark = MARKS


def test_events_are_walked_and_opened_by_keyboard_and_new_ones_appear(browser: Any, axe: str, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}/console/")
        page.keyboard.press("g")
        page.keyboard.press("p")
        arrived(page, "**/console/pipelines")
        page.get_by_role("link", name="Events", exact=True).press("Enter")
        arrived(page, f"**{HOME}/recent")
        page.evaluate("window.stays = true")
        page.keyboard.press("j")
        world.doors.events.held.insert(0, envelope(7, "order.placed"))
        page.clock.run_for(6000)
        page.get_by_role("link", name="order.placed").wait_for()
        assert page.evaluate("window.stays"), "nothing was loaded anew"
        focused = page.evaluate("document.activeElement.dataset.key")
        assert focused == "17.1", "who walks the rows stays where they are"
        page.keyboard.press("Enter")
        arrived(page, f"**{HOME}/recent/17.1")
        page.get_by_text("<i>secret</i>.pdf").wait_for()
        assert faults(page, axe) == []


def test_a_new_version_of_a_schema_appears_and_a_change_is_judged_by_keyboard(
    browser: Any, axe: str, make_world: Any
) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}{HOME}/schemas")
        page.get_by_role("link", name=UPLOADED, exact=True).press("Enter")
        arrived(page, f"**{HOME}/schemas/{UPLOADED}")
        world.doors.events.versions.append(version(3, {"type": "object"}))
        page.clock.run_for(6000)
        page.get_by_role("link", name="Version 3", exact=True).wait_for()
        page.get_by_label("The schema as it would become").focus()
        page.keyboard.press("Control+A")
        page.keyboard.type('{"type": "null"}')
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("It would break its users.").wait_for()
        assert faults(page, axe) == []
