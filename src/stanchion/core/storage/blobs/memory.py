"""Blobs in this process: for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..contract import Blobs
from .rules import check_chunk, check_name, missing


class MemoryBlobs(Blobs):
    """A dictionary; nothing survives the process."""

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}

    async def put(self, name: str, content: bytes) -> None:
        self._content[check_name(name)] = bytes(content)

    async def get(self, name: str) -> bytes:
        if check_name(name) not in self._content:
            raise missing(name)
        return self._content[name]

    async def read(self, name: str, *, chunk: int = 1 << 20) -> AsyncIterator[bytes]:
        check_chunk(chunk)
        content = await self.get(name)
        for start in range(0, len(content), chunk):
            yield content[start : start + chunk]

    async def delete(self, name: str) -> bool:
        return self._content.pop(check_name(name), None) is not None

    async def list(self, prefix: str = "") -> AsyncIterator[str]:
        for name in sorted(self._content):
            if name.startswith(prefix):
                yield name

    async def close(self) -> None:
        self._content.clear()
