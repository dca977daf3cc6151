"""A store is opened by its URL, and a wrong URL or a missing package says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stanchion.core.errors import Misconfigured
from stanchion.core.storage.open import open_blobs, open_database, open_keyvalue
from stanchion.testing.clock import FakeClock


@pytest.mark.parametrize("url", ["mysql://root:s3cret@host/db", "", "some.db", "sqlite:relative.db", "sqlite://host/x"])
def test_a_database_url_of_no_engine_is_misconfigured(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        open_database(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["memcached://host", "", "redis://host:port", "sqlite:kv.db"])
def test_a_key_value_url_of_no_engine_is_misconfigured(url: str) -> None:
    with pytest.raises(Misconfigured):
        open_keyvalue(url, clock=FakeClock())


@pytest.mark.parametrize("url", ["gs://bucket", "", "file:relative", "s3://", "s3://bucket?secret=x"])
def test_a_blob_url_of_no_engine_is_misconfigured(url: str) -> None:
    with pytest.raises(Misconfigured):
        open_blobs(url)


@pytest.mark.parametrize(
    ("package", "extra", "url"),
    [
        ("psycopg", "postgres", "postgresql://host/db"),
        ("redis.asyncio", "redis", "redis://host"),
        ("obstore.store", "s3", "s3://bucket"),
    ],
)
def test_a_missing_package_names_the_extra_to_install(
    package: str, extra: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for loaded in [name for name in sys.modules if name.startswith("stanchion.core.storage.")]:
        if loaded.rpartition(".")[2] in ("postgres", "redis", "s3"):
            monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(Misconfigured) as caught:
        match extra:
            case "postgres":
                open_database(url)
            case "redis":
                open_keyvalue(url, clock=FakeClock())
            case _:
                open_blobs(url)
    assert f"pip install 'stanchion[{extra}]'" in caught.value.hint


async def test_a_path_may_hold_any_character_as_url_code(tmp_path: Path) -> None:
    odd = tmp_path / "a b?#%é"
    odd.mkdir()
    blobs = open_blobs((odd / "blobs").as_uri())
    await blobs.put("a", b"x")
    assert (odd / "blobs" / "a").read_bytes() == b"x"
    database = open_database((odd / "some.db").as_uri().replace("file:", "sqlite:"))
    assert await database.read(lambda c: c.exec_driver_sql("SELECT 1").scalar()) == 1
    await database.close()
    assert (odd / "some.db").exists()


def test_no_engine_is_loaded_before_a_store_is_opened() -> None:
    heavy = "{'sqlalchemy', 'psycopg', 'redis', 'obstore', 'alembic', 'sqlite3'}"
    program = f"import sys, stanchion.core.storage.open; print(sorted({heavy} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
