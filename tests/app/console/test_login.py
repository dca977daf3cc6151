"""Signing in and out: the cookie, where it leads, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from stanchion.app.console.forms import local_path, words

KEY = "st_developmentX_secret"


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False, base_url="https://console.example")


def test_a_key_opens_a_session_in_a_cookie_that_scripts_and_other_sites_cannot_use(make_world: Any) -> None:
    answer = client(make_world()).post("/console/login", data={"key": f" {KEY}\n", "next": "/console/models?after=a"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/models?after=a"
    cookie = answer.headers["set-cookie"]
    for part in ("stanchion_session=ss_token", "HttpOnly", "Path=/console", "SameSite=strict", "Secure"):
        assert part in cookie


def test_a_wrong_key_is_asked_for_again_and_not_shown(make_world: Any) -> None:
    answer = client(make_world()).post("/console/login", data={"key": "st_wrong", "next": "/console/models"})
    assert answer.status_code == 401
    assert "st_wrong" not in answer.text
    assert "set-cookie" not in answer.headers
    assert 'value="/console/models"' in answer.text


def test_signing_in_from_another_site_is_refused(make_world: Any) -> None:
    answer = client(make_world()).post("/console/login", data={"key": KEY}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_signing_out_ends_the_session_on_the_server(make_world: Any) -> None:
    world = make_world()
    answer = client(world).post(
        "/console/logout", data={"csrf": "csrf-good"}, headers={"Cookie": "stanchion_session=ss_token"}
    )
    assert world.sessions.ended == ["ss_token"]
    assert 'stanchion_session=""' in answer.headers["set-cookie"]


def test_the_place_of_the_development_key_is_told_in_development_only(make_world: Any) -> None:
    assert ".stanchion/dev.key" in client(make_world()).get("/console/login").text
    assert "dev.key" not in client(make_world(development_key=None)).get("/console/login").text


@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        "https://evil.example/console",
        "//evil.example/console",
        "/\\evil.example",
        "/console\\..\\x",
        "/console/../admin",
        "/console/%2e%2e/admin",
        "/console//evil.example",
        "/consolex",
        "/other",
        "/console/\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
    ],
)
def test_only_paths_of_the_console_are_led_to(path: str | None) -> None:
    assert local_path(path) == "/console/"


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/models/a%40b", "/console/observe?a=b#c"])
def test_paths_of_the_console_are_kept(path: str) -> None:
    assert local_path(path) == path


@given(st.text())
def test_no_text_leads_out_of_the_console(text: str) -> None:
    for candidate in (text, f"/console{text}", f"/console/{text}"):
        led = local_path(candidate)
        assert led == "/console/" or (led == candidate and led.startswith("/console"))
        assert not any(c in led for c in "\r\n\t\\ ")


def test_names_are_split_at_blanks_and_commas() -> None:
    assert words(" a:b, c:d\n a:b ") == ("a:b", "c:d")
    assert words("  ") == ()
