"""`stanchion openapi`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from ...core.config import Value
from .office import DONE, Options, opened, run, show

NOWHERE: dict[str, Value] = {"backend": {port: {"use": "memory"} for port in ("sql", "telemetry", "keyvalue", "blobs")}}


def written(file: Path, *, output: Path | None, data: Path, json: bool) -> int:
    """Write the document; no state is read or made."""

    async def work() -> int:
        from ..http.build import openapi_document

        async with opened(options, file=file) as house:
            document = openapi_document(house)
        text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
        if output is None:
            sys.stdout.buffer.write(text)
        else:
            output.write_bytes(text)
            paths = len(document["paths"])
            show(options, {"paths": paths, "file": str(output)}, lambda: f"{paths} paths written to {output}")
        return DONE

    with tempfile.TemporaryDirectory() as folder:
        options = Options(data=Path(folder), json=json, flags=NOWHERE)
        return run(options, work)
