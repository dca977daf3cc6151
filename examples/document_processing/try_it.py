"""Uploads documents and shows what comes of them.

    python examples/document_processing/try_it.py [FOLDER]

Without a folder it makes five small documents of its own. Nothing is kept but the files under `data/`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from stanchion.core.declaration import load_declarations
from stanchion.events import Event, Events
from stanchion.testing import offline

HERE = Path(__file__).parent
KINDS = {".pdf", ".docx", ".pptx", ".html", ".htm", ".md", ".txt"}


async def main(given: Path | None, place: Path) -> list[dict[str, Any]]:
    """Publish an event for each document, and wait for the callback of each."""
    os.environ["DOCUMENTS_INBOX"], os.environ["DOCUMENTS_NEWS"] = str(place / "inbox"), str(place / "notifications.log")
    app = load_declarations(HERE / "system.py")
    from samples import write  # beside the system file, importable once that is loaded

    names = write(place / "inbox") if given is None else await asyncio.to_thread(copied, given, place / "inbox")
    async with offline(app) as running:
        events = running.door(Events)
        start = await events.position(running.ctx)
        uploads = [Event.of("document.uploaded", "/try-it", {"document": name}, subject=name) for name in names]
        await events.publish(running.ctx, uploads)
        found: list[dict[str, Any]] = []
        async for delivered in events.follow(running.ctx, types=["document.processed"], since=start):
            found.append(delivered.event.json())
            if len(found) == len(names):
                break
        await asyncio.wait_for(notified(place / "notifications.log", len(names)), 60)
    return sorted(found, key=lambda each: str(each["document"]))


def copied(given: Path, inbox: Path) -> list[str]:
    """The folder's documents, put into the inbox; their names."""
    inbox.mkdir(parents=True, exist_ok=True)
    files = [file for file in sorted(given.rglob("*")) if file.suffix.lower() in KINDS and file.is_file()]
    return [Path(shutil.copy(file, inbox)).name for file in files]


async def notified(news: Path, number: int) -> None:
    """Return once so many notifications have been written."""
    while True:
        lines = await asyncio.to_thread(lambda: news.read_text().splitlines() if news.exists() else [])
        if len(lines) >= number:
            return
        await asyncio.sleep(0.05)


def shown(result: dict[str, Any]) -> str:
    """A result in a few lines."""
    kind = result["kind"]
    head = f"{result['document']}: {result['state']}" + (f", {kind['label']} ({kind['by']})" if kind else "")
    lines = [head + (", urgent" if result["urgent"] else "") + (f": {result['why']}" if result["why"] else "")]
    lines += [f"    {name}: {', '.join(values)}" for name, values in result["fields"].items() if values]
    lines += [f"    “{quote}”" for quote in result["summary"]]
    return "\n".join(lines)


if __name__ == "__main__":
    folder = HERE / "data"
    shutil.rmtree(folder, ignore_errors=True)
    for one in asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, folder)):
        print(shown(one))
    print((folder / "notifications.log").read_text(), end="")
