"""Documents are read in processes of their own, and files without words are called what they are."""

from __future__ import annotations

import asyncio
import os
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from stanchion.core.context import Context, system_context
from stanchion.core.errors import InvalidInput, PayloadTooLarge
from stanchion.data import kind_of
from stanchion.data.backends import kreuzberg as backend
from stanchion.data.backends.kreuzberg import KreuzbergParser
from stanchion.data.ports import Parser, Raw
from stanchion.data.service import DocumentService, count, judged

CTX: Context = system_context("acme", task="test")
PDF = kind_of("a.pdf")


def real(name: str) -> bytes:
    """A real document, where the test data are at hand."""
    folder = os.environ.get("STANCHION_TEST_DATA")
    file = Path(folder) / "documents" / name if folder else None
    if file is None or not file.is_file():
        pytest.skip("STANCHION_TEST_DATA names no folder with documents")
    return file.read_bytes()


@pytest.fixture
def documents(tmp_path: Path) -> DocumentService:
    pytest.importorskip("kreuzberg", reason="the extra `documents` is not installed")
    return DocumentService(KreuzbergParser(tmp_path, seconds=120, megabytes=2_048), together=2, most_bytes=8 << 20)


@pytest.mark.parametrize(
    ("name", "words", "form"),
    [
        ("pdf/GeoBase_NHNC1_Data_Model_UML_EN.pdf", "National Hydro Network", "plain"),
        ("pdf/pdflatex-outline.pdf", "", "markdown"),
        ("pdf/Seige_of_Vicksburg_Sample_OCR.pdf", "Vicksburg", "markdown"),
        ("docx/par-known-paragraphs.docx", "", "markdown"),
        ("docx/blk-paras-and-tables.docx", "", "markdown"),
        ("html/mozilla.org.firefox.developer.html", "Firefox", "markdown"),
        ("pptx/prs-notes.pptx", "Notes", "plain"),
    ],
)
async def test_real_documents_are_read_and_markdown_is_taken_only_where_it_loses_nothing(
    documents: DocumentService, name: str, words: str, form: str
) -> None:
    found = await documents.parse(CTX, real(name), kind_of(name))
    assert (found.state, found.form) == ("read", form)
    assert found.words == count(found.text) > 0 and words in found.text
    assert found.parser == "kreuzberg"


async def test_what_has_no_words_is_called_encrypted_or_scanned(documents: DocumentService) -> None:
    locked = await documents.parse(CTX, real("pdf/crazyones-encrypted-256.pdf"), PDF)
    pictures = await documents.parse(CTX, real("pdf/git.pdf"), PDF)
    assert (locked.state, locked.text) == ("encrypted", "")
    assert (pictures.state, pictures.text) == ("scanned", "")


def docx(text: str) -> bytes:
    made = BytesIO()
    space = "http://schemas.openxmlformats.org"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{space}/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
            'wordprocessingml.document.main+xml"/></Types>',
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{space}/package/2006/relationships"><Relationship Id="r1" '
            f'Type="{space}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
            "</Relationships>",
        )
        file.writestr(
            "word/document.xml",
            f'<w:document xmlns:w="{space}/wordprocessingml/2006/main"><w:body>'
            f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>",
        )
    return made.getvalue()


async def test_an_empty_document_is_empty_and_a_damaged_one_is_refused(documents: DocumentService) -> None:
    assert (await documents.parse(CTX, docx("Hello there"), kind_of("a.docx"))).text.strip() == "Hello there"
    assert (await documents.parse(CTX, docx(""), kind_of("a.docx"))).state == "empty"
    assert (await documents.parse(CTX, b"", kind_of("a.txt"))).state == "empty"
    for content, name in ((b"%PDF-1.7 no more", "a.pdf"), (b"PK\x03\x04", "a.docx"), (b"\xff\xfe\x00", "a.txt")):
        with pytest.raises(InvalidInput, match=r"(cannot|could not) be read"):
            await documents.parse(CTX, content, kind_of(name))


HUNG = """
import os, time
with open({mark!r}, "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""


async def test_a_document_that_takes_too_long_is_refused_and_its_process_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("kreuzberg", reason="the extra `documents` is not installed")
    mark, slow = tmp_path / "pid", tmp_path / "slow.py"
    slow.write_text(HUNG.format(mark=str(mark)))
    monkeypatch.setattr(backend, "_CHILD", slow)
    with pytest.raises(InvalidInput, match="took more than"):
        await KreuzbergParser(tmp_path, seconds=5, megabytes=512).read(b"", PDF)
    assert not await asyncio.to_thread(lambda: mark.exists() and Path("/proc", mark.read_text()).exists())


async def test_a_document_that_takes_too_much_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("kreuzberg", reason="the extra `documents` is not installed")
    greedy = tmp_path / "greedy.py"
    child = Path(backend.__file__).with_name("child.py").read_text()
    swells = "def read(content, kind):\n    return bytearray(1 << 31)\n\n\ndef other(content"
    greedy.write_text(child.replace("def read(content", swells))
    monkeypatch.setattr(backend, "_CHILD", greedy)
    with pytest.raises(InvalidInput, match="512 MB"):
        await KreuzbergParser(tmp_path, seconds=120, megabytes=512).read(b"", PDF)


class Fixed(Parser):
    """Says what it is told to."""

    name = "fixed"

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    async def read(self, content: bytes, kind: str) -> Raw:
        return self._raw


async def test_a_document_that_is_too_large_or_of_no_kind_is_not_read() -> None:
    documents = DocumentService(Fixed(Raw("a", "a")), together=1, most_bytes=10)
    with pytest.raises(PayloadTooLarge):
        await documents.parse(CTX, b"x" * 11, PDF)
    with pytest.raises(InvalidInput):
        await documents.parse(CTX, b"x", "application/zip")  # type: ignore[arg-type]
    for name in ("a.exe", "a", ".pdf"):
        with pytest.raises(InvalidInput):
            kind_of(name)


def test_markdown_is_taken_from_nineteen_words_in_twenty_on() -> None:
    plain = " ".join(f"w{n}" for n in range(100))
    for kept, form in ((100, "markdown"), (95, "markdown"), (94, "plain")):
        found = judged(Raw(plain, " ".join(plain.split()[:kept])), PDF, "p")
        assert (found.form, found.words) == (form, 100 if form == "plain" else kept)
    assert judged(Raw("", "| a | b |\n|---|---|"), PDF, "p").words == 2


@pytest.mark.skipif(sys.platform == "win32", reason="processes are bounded by POSIX limits")
def test_the_child_imports_nothing_of_the_house() -> None:
    text = Path(backend.__file__).with_name("child.py").read_text()
    assert "stanchion" not in text and "from ." not in text
