"""The example of document processing: what it makes of its own documents and of real ones, and what it never opens."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import text

from stanchion.core.declaration import load_declarations
from stanchion.core.errors import Conflict
from stanchion.events import Event, Events
from stanchion.testing import offline
from stanchion.testing.offline import Offline

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "document_processing"

pytest.importorskip("kreuzberg", reason="the extra `documents` is not installed")


@pytest.fixture
def try_it() -> ModuleType:
    spec = importlib.util.spec_from_file_location("try_documents", FOLDER / "try_it.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _places(monkeypatch: pytest.MonkeyPatch) -> None:
    # The script sets them; afterwards they are as they were.
    for name in ("DOCUMENTS_INBOX", "DOCUMENTS_NEWS"):
        monkeypatch.setenv(name, "")


async def test_each_document_of_its_own_is_told_for_what_it_is(try_it: ModuleType, tmp_path: Path) -> None:
    found = {each["document"]: each for each in await try_it.main(None, tmp_path)}
    states = {name: each["state"] for name, each in found.items()}
    assert states == {
        "agreement.pdf": "read", "invoice.docx": "read", "status.html": "read", "scan.pdf": "scanned",
        "damaged.pdf": "unreadable",
    }  # fmt: skip
    kinds = {name: each["kind"]["label"] for name, each in found.items() if each["kind"]}
    assert kinds == {"agreement.pdf": "contract", "invoice.docx": "invoice", "status.html": "web page"}
    invoice = found["invoice.docx"]
    assert invoice["fields"] == {
        "dates": ["2026-02-15"], "amounts": ["EUR 1,190.00", "EUR 190.00"], "mails": ["billing@example.com"],
    }  # fmt: skip
    assert invoice["urgent"] and "not trained" in invoice["kind"]["by"]
    assert "Payment is overdue since 2026-02-15." in invoice["summary"]
    assert len((tmp_path / "notifications.log").read_text().splitlines()) == 5


async def test_real_documents_are_processed_and_every_summary_is_of_quotes(try_it: ModuleType, tmp_path: Path) -> None:
    data = os.environ.get("STANCHION_TEST_DATA")
    real = Path(data) / "documents" if data else None
    if real is None or not real.is_dir():
        pytest.skip("STANCHION_TEST_DATA names no folder with documents")
    wanted = (
        "pdf/GeoBase_NHNC1_Data_Model_UML_EN.pdf", "pdf/crazyones-encrypted-256.pdf", "pdf/git.pdf",
        "docx/blk-paras-and-tables.docx", "docx/par-hyperlinks.docx", "html/mozilla.org.firefox.developer.html",
        "html/http_sample.html",
    )  # fmt: skip
    given = tmp_path / "given"
    given.mkdir()
    for name in wanted:
        (given / Path(name).name).write_bytes((real / name).read_bytes())
    found = {each["document"]: each for each in await try_it.main(given, tmp_path)}
    assert len(found) == len(wanted)
    assert found["crazyones-encrypted-256.pdf"]["state"] == "encrypted"
    assert found["git.pdf"]["state"] == "scanned"
    read = [each for each in found.values() if each["state"] == "read"]
    assert len(read) == 5 and all(each["words"] > 5 and each["sha256"] for each in read)
    long = found["GeoBase_NHNC1_Data_Model_UML_EN.pdf"]
    assert long["words"] > 2_000 and 1 <= len(long["summary"]) <= 3 and long["kind"]["label"] == "report"


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Offline]:
    monkeypatch.setenv("DOCUMENTS_INBOX", str(tmp_path / "inbox"))
    monkeypatch.setenv("DOCUMENTS_NEWS", str(tmp_path / "news.log"))
    app = load_declarations(FOLDER / "system.py")
    sys.modules["samples"].write(tmp_path / "inbox") if "samples" in sys.modules else _samples(tmp_path / "inbox")
    async with offline(app) as found:
        yield found


def _samples(inbox: Path) -> None:
    import importlib

    importlib.import_module("samples").write(inbox)


async def _told(running: Offline, *uploads: Event) -> list[dict[str, Any]]:
    events = running.door(Events)
    start = await events.position(running.ctx)
    await events.publish(running.ctx, uploads)
    found: list[dict[str, Any]] = []
    async for delivered in events.follow(running.ctx, types=["document.*"], since=start):
        if delivered.event.type != "document.uploaded":
            found.append({"type": delivered.event.type, **delivered.event.json()})
            if len(found) == len(uploads):
                break
    return found


async def test_nothing_outside_the_inbox_is_opened(running: Offline, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "inbox" / "link.txt").symlink_to(tmp_path / "secret.txt")
    names = ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "none.pdf", "")
    uploads = [Event.of("document.uploaded", "/t", {"document": name}, subject="s") for name in names]
    found = await _told(running, *uploads)
    assert {each["state"] for each in found} == {"unreadable"} and not any(each["words"] for each in found)


async def test_the_same_upload_twice_has_one_result_and_the_callback_is_the_callers_choice(running: Offline) -> None:
    data = {"document": "invoice.docx", "tasks": ["classify"], "callback": "document.checked"}
    one = Event(type="document.uploaded", source="/t", id="same", data=Event.of("x", "/", data).data)
    other = Event.of("document.uploaded", "/t", {"document": "status.html", "tasks": []}, subject="s")
    found = await _told(running, one)
    assert (found[0]["type"], found[0]["kind"]["label"], found[0]["summary"]) == ("document.checked", "invoice", [])
    await running.door(Events).publish(running.ctx, [one])
    after = await _told(running, other)
    # The one published again came to nothing: what came next is the other's.
    assert [each["document"] for each in after] == ["status.html"] and after[0]["kind"] is None
    database = running.house.foundation.stores.state
    rows = await database.read(
        lambda connection: connection.execute(text("SELECT document FROM document_results ORDER BY document")).all()
    )
    assert [row[0] for row in rows] == ["invoice.docx", "status.html"]


async def test_a_change_that_would_break_those_who_publish_ends_the_start(running: Offline) -> None:
    schema = await running.door(Events).schema(running.ctx, "document.uploaded")
    assert '"document"' in schema.text
    with pytest.raises(Conflict, match="required_attribute_added"):
        await running.door(Events).register(
            running.ctx, "document.uploaded", '{"type": "object", "required": ["document", "owner"]}'
        )
