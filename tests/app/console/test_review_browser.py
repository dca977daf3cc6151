"""Review by keyboard alone, in a real browser: decisions follow each other without a reload, and leases are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stanchion.review import Submission
from tests.app.console.browsing import MARKS, arrived, faults, page_on, pumped, ready, serving, until
from tests.app.console.fake_reviews import REASONS, FakeReviews, sample_item

HOME = "/console/review"
pytestmark = MARKS


def decided(world: Any) -> list[Submission]:
    return [what[1] for what in world.doors.reviews.asked if what[0] == "decide"]


def test_a_queue_is_worked_off_by_keyboard_alone_without_a_reload(browser: Any, axe: str, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.goto(f"{url}/console/")
        page.keyboard.press("g")
        page.keyboard.press("r")
        arrived(page, f"**{HOME}")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        arrived(page, f"**{HOME}/rv_0000")
        page.evaluate("window.stays = true")
        page.keyboard.press("a")
        arrived(page, f"**{HOME}/rv_0001")
        page.get_by_text("Refund of order 0: approved. Nobody has heard of it yet.").wait_for()
        assert page.evaluate("document.activeElement.tagName") == "H1", "what is new is where one reads on"
        page.keyboard.press("e")
        page.keyboard.press("Control+A")
        page.keyboard.type('{"refund": true, "amount": 12.5}')
        page.keyboard.press("Control+Enter")
        arrived(page, f"**{HOME}/rv_0002")
        assert page.evaluate("window.stays"), "no page was loaded anew"
        assert faults(page, axe) == []
        page.keyboard.press("r")
        arrived(page, f"**{HOME}?*")
        page.get_by_text("Nothing more is open that you could decide.").wait_for()
        assert [(each.item, each.verdict, each.value) for each in decided(world)] == [
            ("rv_0000", "approve", None),
            ("rv_0001", "edit", {"refund": True, "amount": 12.5}),
            ("rv_0002", "reject", None),
        ]
        page.keyboard.press("u")
        arrived(page, f"**{HOME}/rv_0002")
        assert ("undo", "rv_0002") in world.doors.reviews.asked


def test_a_reason_that_is_demanded_is_asked_for_before_anything_is_sent(browser: Any, make_world: Any) -> None:
    world = make_world(reviews=FakeReviews(reasons=dict(REASONS)))
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.goto(f"{url}{HOME}/rv_0000")
        page.keyboard.press("r")
        page.get_by_text("Choose a reason: fraud, no-receipt.").wait_for()
        assert decided(world) == []
        page.keyboard.type("no-r")
        page.keyboard.press("Escape")
        page.keyboard.press("r")
        arrived(page, f"**{HOME}/rv_0001")
        assert [each.reason for each in decided(world)] == ["no-receipt"]


def test_the_lease_is_kept_while_the_page_is_open_and_its_end_is_told(browser: Any, make_world: Any) -> None:
    world, beat = make_world(), ("heartbeat", "rv_0000", 70)
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}{HOME}")
        page.get_by_role("button", name="Take the next item").press("Enter")
        arrived(page, f"**{HOME}/rv_0000")
        for beats in (1, 2):
            page.clock.run_for(61_000)
            until(lambda beats=beats: pumped(page) and world.doors.reviews.asked.count(beat) >= beats)
        world.doors.reviews.held["rv_0000"] = 99
        page.clock.run_for(61_000)
        page.get_by_text("The lease has ended").wait_for()


def test_what_changed_or_was_taken_meanwhile_is_said_and_not_decided(browser: Any, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}{HOME}/rv_0000")
        world.doors.reviews.texts["rv_0000"]["question"] = "Is it still right?"
        page.clock.run_for(6000)
        page.get_by_text("The item has changed since this page showed it.").first.wait_for()
        page.keyboard.press("a")
        page.get_by_text("Reload the page and look at it anew.").wait_for()
        assert decided(world) == []


def test_an_item_is_put_off_from_its_page_and_so_taken_first(browser: Any, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.goto(f"{url}{HOME}/rv_0000")
        page.locator("summary", has_text="Not now").press("Enter")
        page.get_by_role("button", name="Put off").press("Enter")
        page.get_by_text("The item is put off.").wait_for()
        assert [what[:3] for what in world.doors.reviews.asked] == [("claim", "rv_0000"), ("defer", "rv_0000", 70)]


def test_the_badge_follows_the_queue_and_j_passes_an_item_by(browser: Any, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}{HOME}/rv_0000")
        badge = page.locator(".badge")
        assert badge.inner_text().startswith("3")
        world.doors.reviews.of["rv_0009"] = sample_item(9)
        page.clock.run_for(6000)
        page.locator(".badge-number", has_text="4").wait_for()
        page.keyboard.press("j")
        arrived(page, f"**{HOME}/rv_0001")
        page.keyboard.press("k")
        arrived(page, f"**{HOME}/rv_0000")
        world.doors.reviews.of = {k: replace(v, status="decided") for k, v in world.doors.reviews.of.items()}
        page.clock.run_for(6000)
        page.locator(".badge-number").wait_for(state="detached")


def test_many_are_chosen_and_decided_by_keyboard_alone_and_their_leases_are_kept(
    browser: Any, axe: str, make_world: Any
) -> None:
    world = make_world(reviews=FakeReviews(reasons=dict(REASONS)))
    with serving(world.app()) as url, page_on(browser, url, viewport={"width": 1440, "height": 900}) as page:
        page.clock.install()
        page.goto(f"{url}{HOME}/bulk?queue=refunds")
        page.get_by_label("How many").focus()
        page.keyboard.type("3")
        page.keyboard.press("Control+A")
        page.keyboard.type("3")
        page.keyboard.press("Enter")
        page.get_by_text("3 more are yours.").wait_for()
        ready(page)
        page.evaluate("document.querySelectorAll('main details').forEach(one => (one.open = true))")
        assert faults(page, axe) == []
        page.clock.run_for(46_000)
        until(lambda: pumped(page) and ("heartbeat", "rv_0002", 72) in world.doors.reviews.asked)
        page.keyboard.press("X")
        assert page.locator("tbody input:checked").count() == 3
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.get_by_label("Reason").focus()
        page.keyboard.type("fraud")
        page.get_by_role("button", name="Reject the chosen").press("Enter")
        page.get_by_text("2 are decided.").wait_for()
        ready(page)
        assert [(each.item, each.verdict, each.reason) for each in decided(world)] == [
            ("rv_0000", "reject", "fraud"),
            ("rv_0002", "reject", "fraud"),
        ]
        world.doors.reviews.held["rv_0001"] = 99
        page.clock.run_for(46_000)
        page.get_by_text("1 leases have ended; reload the page.").wait_for()
