"""Reads one document from standard input, within bounds. A program of its own: it imports nothing of the house."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

OUTPUT = 16 << 20


def main() -> None:
    """Read, and write one JSON document: the texts, that it is locked, or what is wrong."""
    kind, megabytes, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Nothing is written but the answer: no cache, no pictures, no model.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    content = sys.stdin.buffer.read()
    try:
        answer = read(content, kind)
    except MemoryError:
        sys.exit(3)
    json.dump(answer, sys.stdout)


def read(content: bytes, kind: str) -> dict[str, object]:
    """The document's texts."""
    if kind in ("text/plain", "text/markdown"):
        return texts_of(content)
    from kreuzberg import ExtractionConfig, KreuzbergError, extract_bytes_sync

    settings: Any = ExtractionConfig  # its types lack an argument that it has
    found = {}
    for form in ("plain", "markdown"):
        config = settings(output_format=form, use_cache=False, disable_ocr=True)
        try:
            found[form] = extract_bytes_sync(content, kind, config=config)
        except KreuzbergError as error:
            said = str(error)
            locked = "password" in said.lower() or "encrypt" in said.lower()
            return {"locked": True} if locked else {"fault": said[:300]}
    told = found["plain"].metadata
    pages = told.get("page_count")
    if pages is None and isinstance(told.get("pages"), dict):
        pages = told["pages"].get("total_count")
    return {
        "plain": found["plain"].content[:OUTPUT],
        "markdown": found["markdown"].content[:OUTPUT],
        "pages": pages if isinstance(pages, int) else None,
        "title": str(told.get("title") or "")[:300],
    }


def texts_of(content: bytes) -> dict[str, object]:
    """The texts of a file that is text already."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return {"fault": "it is no text in UTF-8"}
    return {"plain": text[:OUTPUT], "markdown": text[:OUTPUT], "pages": None, "title": ""}


if __name__ == "__main__":
    main()
