"""The console in a real browser: nothing leaves the origin, axe finds nothing, and the keyboard is enough."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.app.console.browsing import MARKS, arrived, faults, page_on, pumped, serving, until
from tests.app.console.fake_batches import job_id, sample_job

pytestmark = MARKS
PATHS = {
    "overview": "/console/",
    "models": "/console/models",
    "model": "/console/models/customer-churn-v2",
    "rollout": "/console/models/customer-churn-v2/rollout",
    "gateway": "/console/gateway",
    "route": "/console/gateway/routes/answers",
    "providers": "/console/gateway/providers",
    "budgets": "/console/gateway/budgets",
    "budget": "/console/gateway/budgets/legal",
    "prompt": "/console/gateway/prompts/support",
    "playground": "/console/gateway/playground",
    "reviews": "/console/review",
    "review": "/console/review/rv_0000",
    "decided review": "/console/review/rv_0005",
    "bulk review": "/console/review/bulk?queue=refunds",
    "quality of review": "/console/review/quality",
    "runs": "/console/pipelines",
    "run": "/console/pipelines/runs/01k000000000000000000003",
    "waiting run": "/console/pipelines/runs/01k000000000000000000002?record=c-77",
    "schedules": "/console/pipelines/schedules",
    "queues": "/console/pipelines/queues",
    "pipeline": "/console/pipelines/declared/nightly",
    "consumers": "/console/events",
    "dead": "/console/events/dead?consumer=extract",
    "letter": "/console/events/dead/dl1?consumer=extract",
    "tree": "/console/events/tree?id=first",
    "recent events": "/console/events/recent",
    "recent event": "/console/events/recent/17.1",
    "schemas": "/console/events/schemas",
    "schema": "/console/events/schemas/document.uploaded",
    "features": "/console/features",
    "view": "/console/features/views/spending",
    "service": "/console/features/services/churn-features?compare=1",
    "batches": "/console/batches",
    "batch": "/console/batches/01a1fcc65f447665ece51a06",
    "failed batch": "/console/batches/01a1fcc65f447665ece51a04",
    "interrupted batch": "/console/batches/01a1fcc65f447665ece51a03",
    "requests": "/console/observe",
    "request": "/console/observe/requests/a1b2c3d4e5f60718293a4b5c",
    "traces": "/console/observe/traces",
    "trace": "/console/observe/traces/4bf92f3577b34da6a3ce929d0e0e4736",
    "keys": "/console/govern/keys",
    "key": "/console/govern/keys/Bq8Z1xYw5vTu",
    "policies": "/console/govern/policies?action=keys:create&roles=admin",
    "audit": "/console/govern/audit",
    "event": "/console/govern/audit/5",
    "login": "/console/login",
    "unknown": "/console/nowhere",
}


@pytest.fixture
def site(make_world: Any) -> Iterator[str]:
    with serving(make_world().app()) as url:
        yield url


# Contrast hangs on the theme and layout on the width, so two of the four pairs tell as much as all.
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_axe_finds_nothing_on_any_page(scheme: str, width: int, browser: Any, axe: str, site: str) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with page_on(browser, site, **options) as page:
        for name, path in PATHS.items():
            page.goto(site + path)
            page.evaluate("document.querySelectorAll('main details').forEach(one => (one.open = true))")
            assert faults(page, axe) == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"


def test_axe_finds_nothing_in_menu_dialog_and_notices(browser: Any, axe: str, site: str) -> None:
    with page_on(browser, site) as page:
        page.goto(site + PATHS["overview"])
        page.locator("[data-menu] > summary").click()
        assert faults(page, axe) == []
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        page.locator("dialog[open]").wait_for()
        assert faults(page, axe) == []
        page.goto(site + PATHS["audit"])
        page.get_by_role("button", name="Verify").click()
        page.get_by_role("status").wait_for()
        assert faults(page, axe) == []


def test_empty_pages_are_clean_too(browser: Any, axe: str, make_world: Any) -> None:
    with serving(make_world(empty=True).app()) as url, page_on(browser, url, color_scheme="dark") as page:
        for name in ("overview", "models", "batches", "requests", "traces", "keys", "policies", "audit"):
            page.goto(url + PATHS[name])
            assert faults(page, axe) == [], name


def test_letters_lead_to_pages_and_rows(browser: Any, site: str) -> None:
    with page_on(browser, site) as page:
        page.goto(site + PATHS["overview"])
        for letter, path in (
            ("m", "/console/models"),
            ("j", "/console/batches"),
            ("v", "/console/govern/keys"),
            ("b", "/console/observe"),
        ):
            page.keyboard.press("g")
            page.keyboard.press(letter)
            arrived(page, f"**{path}")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("k")
        second = page.locator("[data-rows] tbody tr").nth(1).locator("a").first
        assert second.evaluate("link => link === document.activeElement")
        address = second.get_attribute("href")
        page.keyboard.press("Enter")
        arrived(page, f"**{address}")
        page.keyboard.press("/")
        assert page.locator("#search").evaluate("field => field === document.activeElement")
        page.keyboard.type("gm/?")
        assert page.locator("#search").input_value() == "gm/?"
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.locator("dialog[open]").count() == 1
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0


def test_the_first_tab_leads_to_the_content(browser: Any, site: str) -> None:
    with page_on(browser, site) as page:
        page.goto(site + PATHS["overview"])
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"


def test_the_theme_follows_the_system_until_one_is_chosen_and_is_remembered(browser: Any, site: str) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    with page_on(browser, site, color_scheme="dark") as page:
        page.goto(site + PATHS["overview"])
        dark = page.evaluate(ground)
        button = page.locator("[data-theme-toggle]")
        assert button.get_attribute("aria-label") == "Colour theme: follow the system"
        button.click()
        light = page.evaluate(ground)
        assert light != dark
        page.goto(site + PATHS["login"])
        assert page.evaluate(ground) == light
        page.goto(site + PATHS["models"])
        page.keyboard.press("t")
        assert page.evaluate(ground) == dark
        assert button.get_attribute("aria-label") == "Colour theme: dark"


def test_a_page_freshens_itself_and_keeps_what_one_has_in_hand(browser: Any, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(url + PATHS["requests"])
        kept = world.observatory.rows[3].request_id
        page.locator(f'[data-key="{kept}"]').focus()
        newest = world.observatory.rows[0].request_id
        world.observatory.rows = world.observatory.rows[1:]
        assert page.locator(f'[data-key="{newest}"]').count() == 1
        page.clock.run_for(6000)
        page.locator(f'[data-key="{newest}"]').wait_for(state="detached")
        assert page.evaluate("document.activeElement.dataset.key") == kept


def test_a_batch_job_is_followed_to_its_end_without_a_reload(browser: Any, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        page.clock.install()
        page.goto(f"{url}/console/batches/{job_id('running')}")
        page.evaluate("window.stays = true")
        page.locator("summary", has_text="Cancel the job").click()
        page.get_by_role("checkbox").check()
        jobs = world.doors.serving.jobs
        jobs[0] = replace(jobs[0], rows=16_400, chunks=4)
        page.clock.run_for(6000)
        page.get_by_text("82 %").wait_for()
        assert page.get_by_role("checkbox").is_checked()
        jobs[0] = sample_job("customer-churn-v2", "done", id=jobs[0].id)
        page.clock.run_for(6000)
        page.get_by_role("heading", name="Quarantined rows").wait_for()
        page.get_by_role("button", name="Cancel the job").wait_for(state="detached")
        assert page.evaluate("window.stays")


def test_what_changes_slowly_is_asked_for_once_a_minute(browser: Any, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        page.clock.install()
        page.goto(url + PATHS["model"])
        page.clock.run_for(6000)
        until(lambda: pumped(page) and any("/fragments/rungs/" in path for path in asked))
        assert not any("/fragments/quality/" in path for path in asked)
        page.clock.run_for(60_000)
        until(lambda: pumped(page) and any("/fragments/quality/" in path for path in asked))


def test_a_lost_connection_is_told(browser: Any, make_world: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    with serving(make_world().app()) as url:
        page.clock.install()
        page.goto(url + PATHS["overview"])
        assert page.locator("[data-live-text]").text_content() == "Live"
        context.set_offline(True)
        page.clock.run_for(6000)
        page.get_by_text("No connection").wait_for()
        context.close()


def test_without_scripts_one_signs_in_looks_around_and_changes_things(browser: Any, make_world: Any) -> None:
    world = make_world()
    with serving(world.app()) as url, page_on(browser, url, java_script_enabled=False) as page:
        page.goto(url + PATHS["login"])
        page.get_by_label("API key").fill("st_developmentX_secret")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/console/")
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Models").click()
        page.get_by_role("link", name="customer-churn-v2").click()
        page.get_by_role("link", name="2.2.0").click()
        page.locator("summary", has_text="Promote 2.2.0").click()
        form = page.locator("form[action$='/promote']")
        form.get_by_label("Evidence").fill("better on the same rows")
        form.get_by_role("checkbox").check()
        form.get_by_role("button", name="Promote").click()
        page.get_by_role("status").wait_for()
        assert world.registry.calls[0][:4] == ("promote", "customer-churn-v2", "2.2.0", "production")
        assert page.get_by_text(re.compile("Another person must approve")).count() == 1
        assert page.locator(".js-only:visible").count() == 0


def test_a_new_secret_is_copied_by_a_button(browser: Any, site: str) -> None:
    with page_on(browser, site, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(site + PATHS["keys"])
        page.locator("summary", has_text="New key").click()
        page.get_by_label("Name", exact=True).fill("billing")
        page.get_by_role("checkbox", name=re.compile("viewer")).check()
        page.get_by_role("button", name="Create the key").click()
        page.get_by_role("button", name="Copy").click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == page.locator("#secret").text_content()
