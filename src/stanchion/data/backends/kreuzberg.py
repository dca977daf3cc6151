"""Kreuzberg in a process of its own: a document that makes it crash, hang or swell harms nothing else."""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import InvalidInput, Misconfigured, Unavailable
from ..contract import DocumentKind
from ..ports import Parser, Raw

_CHILD = Path(__file__).with_name("child.py")
_UNPACK = Path(__file__).with_name("unpack.py")
_MOST_OUTPUT = 64 << 20


class KreuzbergParser(Parser):
    """One process for each document, with at most `seconds` and `megabytes` of memory.

    `folder`, where nobody else may write, gets the parser's PDF library (8 MB) before the first PDF is read.
    """

    name = "kreuzberg"

    def __init__(self, folder: Path, *, seconds: float, megabytes: int) -> None:
        self._folder = folder
        self._seconds = seconds
        self._megabytes = megabytes
        self._unpacking = asyncio.Lock()
        self._unpacked = False

    async def read(self, content: bytes, kind: DocumentKind) -> Raw:
        if find_spec("kreuzberg") is None:
            raise Misconfigured(
                "no parser of documents is installed", next_step="Install it with `pip install stanchion[documents]`."
            )
        if kind == "application/pdf":
            await self._unpack()
        answer = await self._asked(content, kind)
        if answer.get("locked"):
            return Raw("", "", locked=True)
        if "fault" in answer:
            raise InvalidInput(
                f"the document cannot be read: {answer['fault']}", next_step="Open it with its own program and save it."
            )
        return Raw(answer["plain"], answer["markdown"], answer["pages"], answer["title"])

    async def _unpack(self) -> None:
        async with self._unpacking:
            if self._unpacked:
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(_UNPACK),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                env=self._environment,
            )  # fmt: skip
            try:
                async with asyncio.timeout(self._seconds):
                    _, said = await child.communicate()
            except TimeoutError as error:
                raise Unavailable(f"the parser of PDFs did not start within {self._seconds:g} s") from error
            finally:
                await _ended(child)
            if child.returncode != 0:
                raise Unavailable(f"the parser of PDFs cannot start: {said.decode(errors='replace').strip()[-300:]}")
            self._unpacked = True

    @property
    def _environment(self) -> dict[str, str]:
        return {"TMPDIR": str(self._folder)}

    async def _asked(self, content: bytes, kind: DocumentKind) -> dict[str, Any]:
        # Isolated (-I): neither the environment nor the working folder decides what is imported.
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(_CHILD), kind, str(self._megabytes), str(int(self._seconds) + 1),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=self._environment, limit=_MOST_OUTPUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._seconds):
                said, _ = await child.communicate(content)
        except TimeoutError as error:
            raise InvalidInput(f"the document took more than {self._seconds:g} s to be read") from error
        finally:
            await _ended(child)
        if child.returncode != 0:
            raise InvalidInput(
                f"the document could not be read within {self._megabytes} MB of memory, or broke its parser"
            )
        found: dict[str, Any] = msgspec.json.decode(said)
        return found


async def _ended(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.kill()
        await child.wait()
