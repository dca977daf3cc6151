"""Documents are processed when they are uploaded: an event names one and what to do, another tells what came of it.

`python examples/document_processing/try_it.py` runs it: no key, no network, no model. Beside a running
`stanchion run examples/document_processing/system.py` any program may publish `document.uploaded`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy import Connection, text
from tasks import RULES, asked, classified, extracted, quoted, urgent

from stanchion import Context, System
from stanchion.core.errors import InvalidInput
from stanchion.data import kind_of
from stanchion.events import Commit, Event

HERE = Path(__file__).parent
INBOX = Path(os.environ.get("DOCUMENTS_INBOX", HERE / "data" / "inbox"))
NEWS = Path(os.environ.get("DOCUMENTS_NEWS", HERE / "data" / "notifications.log"))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,120}")

app = System("document-processing")
documents = app.documents()
# The built-in model quotes what it is given and makes nothing up. A real one stands here in a production system.
quoter = app.language_model("quoter", upstream=app.upstream("built-in", kind="builtin"))

Task = Literal["extract", "classify", "summarise"]


class Uploaded(BaseModel):
    """A file of the inbox, what is to be done with it, and the type of the event that tells of the end."""

    document: str
    tasks: list[Task] = ["extract", "classify", "summarise"]
    callback: str = Field("document.processed", pattern=r"^document\.[a-z.]{1,40}$")


class Kind(BaseModel):
    """What kind of document it is, by whose judgement, and how clear it was."""

    label: str
    share: float
    by: str = RULES


class Words(BaseModel):
    """A document's words."""

    text: str


class Processed(BaseModel):
    """What came of a document. `state` says why there is nothing where there is nothing."""

    document: str
    state: Literal["read", "encrypted", "scanned", "empty", "unreadable"]
    why: str = ""
    sha256: str = ""
    words: int = 0
    pages: int | None = None
    fields: dict[str, list[str]] = {}
    kind: Kind | None = None
    summary: list[str] = []
    urgent: bool = False


@app.model("document-kind", default=Kind(label="other", share=0.0, by="default"))
def document_kind(items: Sequence[Words]) -> list[Kind]:
    """Kinds by rules. A trained model under this name would be asked in the same way."""
    return [Kind(label=label, share=share) for label, share in (classified(item.text) for item in items)]


uploaded = app.event("document.uploaded", Uploaded, description="A document is in the inbox.")
processed = app.event("document.processed", Processed, description="What came of a document.")


@app.on(uploaded, seconds=180, concurrency=4, attempts=5)
async def process(ctx: Context, upload: Uploaded, commit: Commit) -> Event:
    """Read the document, do what was asked, store the result and tell of it: the last two together or not at all."""
    try:
        result = await _worked(ctx, upload)
    except InvalidInput as error:
        # Trying again would not help: whoever sent it is told.
        result = Processed(document=upload.document, state="unreadable", why=error.detail)
    commit.write(lambda connection: _store(connection, ctx.tenant, result))
    priority = "high" if result.urgent else "normal"
    return Event.of(upload.callback, "/documents", result, subject=upload.document, priority=priority)


@app.on(processed)
def notify(result: Processed) -> None:
    """Tell people. A mail or a message to a chat would be sent here; it is sent at least once."""
    NEWS.parent.mkdir(parents=True, exist_ok=True)
    said = result.kind.label if result.kind else result.state
    with NEWS.open("a") as file:
        file.write(f"{datetime.now(UTC):%H:%M:%S} {'URGENT ' if result.urgent else ''}{result.document}: {said}\n")


async def _worked(ctx: Context, upload: Uploaded) -> Processed:
    content = _content(upload.document)
    parsed = await documents.parse(ctx, content, kind_of(upload.document))
    result = Processed(
        document=upload.document,
        state=parsed.state,
        sha256=hashlib.sha256(content).hexdigest(),
        words=parsed.words,
        pages=parsed.pages,
        urgent=urgent(parsed.text),
    )
    if parsed.state != "read":
        return result
    if "extract" in upload.tasks:
        result.fields = extracted(parsed.text)
    if "classify" in upload.tasks:
        result.kind = await document_kind.predict(ctx, Words(text=parsed.text))
    if "summarise" in upload.tasks:
        question = f"{parsed.text}\n{asked(parsed.text)}"
        answer = await quoter.chat(ctx, [{"role": "user", "content": question}])
        result.summary = quoted(answer["choices"][0]["message"]["content"], parsed.text)
    return result


def _content(name: str) -> bytes:
    """A file of the inbox. Its name comes from an event, so it may name nothing else."""
    file = INBOX / name
    if _NAME.fullmatch(name) is None or not file.is_file() or file.is_symlink():
        raise InvalidInput(f"there is no document {name[:120]!r} in the inbox")
    return file.read_bytes()


def _store(connection: Connection, tenant: str, result: Processed) -> None:
    """Keep the newest result of each document."""
    connection.execute(
        text(
            "CREATE TABLE IF NOT EXISTS document_results "
            "(tenant TEXT, document TEXT, result TEXT, PRIMARY KEY (tenant, document))"
        )
    )
    connection.execute(
        text(
            "INSERT INTO document_results VALUES (:tenant, :document, :result) "
            "ON CONFLICT (tenant, document) DO UPDATE SET result = excluded.result"
        ),
        {"tenant": tenant, "document": result.document, "result": json.dumps(result.model_dump(mode="json"))},
    )
