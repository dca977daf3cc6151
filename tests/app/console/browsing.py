"""A real browser for the console's tests. A page that it opens fails its test if anything leaves the origin.

axe-core comes from the package `axe-playwright-python`, which holds the script; nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = Path(os.environ.get("STANCHION_CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MARKS = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}"),
    pytest.mark.timeout(300),
]


@contextmanager
def serving(app: Any) -> Iterator[str]:
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def pumped(page: Any) -> bool:
    """Let the browser's events reach us; they come only while a call of its own is under way."""
    return bool(page.evaluate("true"))


def ready(page: Any) -> None:
    """Wait for the page's scripts: on a slow machine its address is there before them, and time must not run yet."""
    page.wait_for_function("document.readyState === 'complete'")


def arrived(page: Any, address: str) -> None:
    """Wait for a page that a key or a click leads to, and for its scripts, which hear the next key."""
    page.wait_for_url(address)
    ready(page)


def until(met: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def axe() -> str:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or not found.submodule_search_locations:
        pytest.skip("axe-playwright-python is not installed")
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


@contextmanager
def page_on(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """A page that fails its test if a request leaves the origin, a script fails or the policy is broken."""
    context = browser.new_context(**options)
    context.set_default_timeout(120_000)
    page = context.new_page()
    wrong: list[str] = []
    origin = urlsplit(url).netloc

    def asked(request: Any) -> None:
        if urlsplit(request.url).netloc != origin:
            wrong.append(request.url)

    def said(message: Any) -> None:
        expected = ("status of 404", "status of 409")  # what is gone, and what somebody else was quicker with
        if message.type in ("error", "warning") and not any(words in message.text for words in expected):
            wrong.append(message.text)

    page.on("request", asked)
    page.on("console", said)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    assert wrong == []


def faults(page: Any, axe: str) -> list[str]:
    # Through the debugger, not as an element: the page's own policy forbids foreign scripts.
    page.evaluate(axe)
    found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", RULES)
    return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in found["violations"] for n in v["nodes"]]
