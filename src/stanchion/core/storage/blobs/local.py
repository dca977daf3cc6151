"""Blobs as files of a local folder.

A folder's name ends in `+`, which no blob's name holds, so that `a` and `a/b` can both exist: `a`, and `b` in `a+`.
A new file is written in `+new`, synced, then renamed to its place: a reader or a kill meets the old or the new one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ...errors import NotTrustworthy, Unavailable
from ..contract import Blobs
from .rules import check_chunk, check_name, cut, missing

_ABANDONED_SECONDS = 3600
_PAGE = 500


class LocalBlobs(Blobs):
    """The files below `root`, which is made if it is missing. Links are never followed out of it.

    Raises Unavailable if the folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        with _trouble():
            self._new = root / "+new"
            self._new.mkdir(parents=True, exist_ok=True)
            self._root = root.resolve()
            self._new = self._root / "+new"
            self._sweep()

    async def put(self, name: str, content: bytes) -> None:
        await asyncio.to_thread(self._put, check_name(name), content)

    async def get(self, name: str) -> bytes:
        return await asyncio.to_thread(self._get, check_name(name))

    async def read(self, name: str, *, chunk: int = 1 << 20) -> AsyncIterator[bytes]:
        check_chunk(chunk)
        file = await asyncio.to_thread(self._open, check_name(name))
        with file, _trouble():
            while piece := await asyncio.to_thread(file.read, chunk):
                yield piece

    async def delete(self, name: str) -> bool:
        return await asyncio.to_thread(self._delete, check_name(name))

    async def list(self, prefix: str = "") -> AsyncIterator[str]:
        if (parts := cut(prefix)) is None:
            return
        above = f"{parts.folder}/" if parts.folder else ""
        names = self._walk(self._path(above + "x").parent, above, parts.start)
        while page := await asyncio.to_thread(lambda: list(islice(names, _PAGE))):
            for name in page:
                yield name

    async def close(self) -> None:
        pass

    def _path(self, name: str) -> Path:
        *folders, last = name.split("/")
        return self._root.joinpath(*[part + "+" for part in folders], last)

    def _put(self, name: str, content: bytes) -> None:
        path = self._path(name)
        with _trouble():
            _refuse_links(path.parent)
            _make(path.parent)
            with tempfile.NamedTemporaryFile(dir=self._new, delete=False) as file:
                try:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).replace(path)
                except BaseException:
                    with suppress(OSError):
                        Path(file.name).unlink()
                    raise
            _sync(path.parent)

    def _get(self, name: str) -> bytes:
        with self._open(name) as file, _trouble():
            return file.read()

    def _open(self, name: str) -> BinaryIO:
        path = self._path(name)
        with _trouble():
            _refuse_links(path)
            try:
                return path.open("rb")
            except FileNotFoundError:
                raise missing(name) from None

    def _delete(self, name: str) -> bool:
        path = self._path(name)
        with _trouble():
            _refuse_links(path.parent)
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            _sync(path.parent)
            return True

    def _walk(self, folder: Path, above: str, start: str = "") -> Iterator[str]:
        with _trouble():
            _refuse_links(folder)
            try:
                entries = list(os.scandir(folder))
            except FileNotFoundError:
                return
            folders = [e.name[:-1] + "/" for e in entries if e.name[-1] == "+" and e.is_dir(follow_symlinks=False)]
            files = [e.name for e in entries if "+" not in e.name and e.is_file(follow_symlinks=False)]
        # With its slash a folder sorts where the names below it belong.
        for each in sorted(folders + files):
            if not each.startswith(start[: len(each)]):
                continue
            if each.endswith("/"):
                yield from self._walk(folder / (each[:-1] + "+"), above + each)
            elif each.startswith(start):
                yield above + each

    def _sweep(self) -> None:
        """Remove what killed writers left. Ages are compared on the file system's own clock."""
        with tempfile.NamedTemporaryFile(dir=self._new) as probe:
            now = os.fstat(probe.fileno()).st_mtime
            for entry in os.scandir(self._new):
                with suppress(FileNotFoundError):  # another process sweeps too
                    if now - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS:
                        Path(entry.path).unlink()


def _refuse_links(path: Path) -> None:
    if os.path.realpath(path) != str(path):
        raise NotTrustworthy("a link stands where a blob or its folder should be")


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; its file system keeps the order of renames itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the blob folder did not answer: {error.strerror or error}") from error
