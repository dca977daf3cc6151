"""Settings come from where they should, and a wrong one is named with its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion.core.config import Layer, env_layer, layers, load
from stanchion.core.errors import Misconfigured
from stanchion.core.settings import HouseSettings, check_exposure, check_mesh


def test_later_sources_win_and_each_value_names_its_own(tmp_path: Path) -> None:
    (tmp_path / "stanchion.toml").write_text('tenant = "acme"\n[http]\nport = 1\nhost = "127.0.0.1"\nseconds = 5\n')
    (tmp_path / ".env").write_text("STANCHION_HTTP__PORT=2\nSTANCHION_HTTP__SECONDS=6\nOTHER=1\n")
    found = load(HouseSettings, layers(tmp_path, {"STANCHION_HTTP__PORT": "3"}, {"http": {"port": 4}}))
    origins = {o.key: (o.value, o.source) for o in found.origins}
    assert found.settings.http.port == 4
    assert origins["http.port"] == ("4", "flags")
    assert origins["http.seconds"] == ("6.0", ".env")
    assert origins["tenant"] == ("acme", "stanchion.toml")
    assert origins["http.body_bytes"][1] == "default"


def test_an_unknown_key_is_refused_with_the_nearest_name_and_its_source() -> None:
    with pytest.raises(Misconfigured, match=r"http\.prot.*did you mean 'port'.*set in stanchion\.toml"):
        load(HouseSettings, [Layer("stanchion.toml", {"http": {"prot": 1}})])


def test_a_wrong_value_names_key_and_source() -> None:
    with pytest.raises(Misconfigured, match=r"http\.port.*set in environment"):
        load(HouseSettings, [env_layer("environment", {"STANCHION_HTTP__PORT": "many"})])


def test_broken_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "stanchion.toml").write_text("[http\n")
    with pytest.raises(Misconfigured, match=r"stanchion\.toml"):
        layers(tmp_path, {}, {})


def test_lists_and_tables_may_come_from_the_environment() -> None:
    environment = {
        "STANCHION_MODULES__ENABLED": '["serving"]',
        "STANCHION_PLACE__REGISTRY__URL": "https://127.0.0.1:1",
        "STANCHION_PLACE__REGISTRY__IDENTITY": "spiffe://x/main",
    }
    settings = load(HouseSettings, [env_layer("environment", environment)]).settings
    assert settings.modules.enabled == ("serving",)
    assert settings.place["registry"].identity == "spiffe://x/main"


def test_a_password_in_a_url_is_not_shown() -> None:
    layer = Layer("flags", {"backend": {"sql": {"use": "postgres", "url": "postgresql://me:hush@host/db"}}})
    shown = {o.key: o.value for o in load(HouseSettings, [layer]).origins}
    assert shown["backend.sql.url"] == "postgresql://********@host/db"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_development_may_listen_on_loopback(host: str) -> None:
    check_exposure(load(HouseSettings, [Layer("flags", {"http": {"host": host}})]).settings)


def test_any_other_host_says_everything_that_is_missing() -> None:
    settings = load(HouseSettings, [Layer("flags", {"http": {"host": "0.0.0.0"}})]).settings
    with pytest.raises(Misconfigured) as caught:
        check_exposure(settings)
    for name in ("identity.mode", "tls_certificate", "secrets.pepper", "secrets.master_key", "secrets.signing_key"):
        assert name in caught.value.detail


def test_a_configured_host_with_all_parts_may_listen() -> None:
    layer = Layer(
        "flags",
        {
            "http": {"host": "0.0.0.0", "tls_certificate": "a.pem", "tls_key": "a.key"},
            "identity": {"mode": "configured"},
            "secrets": {"pepper": "env:A", "master_key": "env:B", "signing_key": "file:/c"},
        },
    )
    check_exposure(load(HouseSettings, [layer]).settings)


def test_a_mesh_without_identity_is_refused() -> None:
    place = {"registry": {"url": "https://127.0.0.1:1", "identity": "spiffe://x/main"}}
    with pytest.raises(Misconfigured, match=r"mesh\.certificate"):
        check_mesh(
            load(HouseSettings, [Layer("flags", {"place": place, "modules": {"enabled": ["serving"]}})]).settings
        )
