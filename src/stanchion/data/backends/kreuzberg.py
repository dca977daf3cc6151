"""Kreuzberg in a process of its own: a document that makes it crash, hang or swell harms nothing else."""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import InvalidInput, Misconfigured
from ..contract import DocumentKind
from ..ports import Parser, Raw

_CHILD = Path(__file__).with_name("child.py")
_MOST_OUTPUT = 64 << 20


class KreuzbergParser(Parser):
    """One process for each document, with at most `seconds` and `megabytes` of memory."""

    name = "kreuzberg"

    def __init__(self, *, seconds: float, megabytes: int) -> None:
        self._seconds = seconds
        self._megabytes = megabytes

    async def read(self, content: bytes, kind: DocumentKind) -> Raw:
        if find_spec("kreuzberg") is None:
            raise Misconfigured(
                "no parser of documents is installed", next_step="Install it with `pip install stanchion[documents]`."
            )
        answer = await self._asked(content, kind)
        if answer.get("locked"):
            return Raw("", "", locked=True)
        if "fault" in answer:
            raise InvalidInput(
                f"the document cannot be read: {answer['fault']}", next_step="Open it with its own program and save it."
            )
        return Raw(answer["plain"], answer["markdown"], answer["pages"], answer["title"])

    async def _asked(self, content: bytes, kind: DocumentKind) -> dict[str, Any]:
        # Isolated (-I): neither the environment nor the working folder decides what is imported.
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(_CHILD), kind, str(self._megabytes), str(int(self._seconds) + 1),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={}, limit=_MOST_OUTPUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._seconds):
                said, _ = await child.communicate(content)
        except TimeoutError as error:
            raise InvalidInput(f"the document took more than {self._seconds:g} s to be read") from error
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode != 0:
            raise InvalidInput(
                f"the document could not be read within {self._megabytes} MB of memory, or broke its parser"
            )
        found: dict[str, Any] = msgspec.json.decode(said)
        return found
