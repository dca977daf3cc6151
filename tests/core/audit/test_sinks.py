# One small file on a local disk: nothing waits for it.
# ruff: noqa: ASYNC240
from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.errors import NotFound, Unavailable
from stanchion.core.security.audit.blob_sink import BlobSink
from stanchion.core.security.audit.checkpoint import Checkpoint, sign
from stanchion.core.security.audit.file_sink import FileSink
from stanchion.core.security.signing import Signer
from stanchion.core.storage.contract import Blobs
from stanchion.testing.clock import FakeClock

SIGNER = Signer.generate()


def note(size: int) -> str:
    return sign(Checkpoint("log", size, bytes(32)), SIGNER).text


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.jsonl"


@pytest.fixture
async def file(path: Path) -> AsyncIterator[FileSink]:
    sink = FileSink(path, SystemClock())
    yield sink
    await sink.close()


async def test_notes_come_back_as_they_were_given(file: FileSink) -> None:
    assert await file.notes() == ()
    for size in (1, 2, 5):
        file.append(note(size))
    assert await file.notes() == [note(1), note(2), note(5)]


async def test_the_file_is_for_its_owner_alone(file: FileSink, path: Path) -> None:
    file.append(note(1))
    assert path.stat().st_mode & 0o777 == 0o600


async def test_reading_makes_no_file(file: FileSink, path: Path) -> None:
    await file.mend()
    await file.flush()
    await file.notes()
    assert not path.exists()


async def test_two_openers_append_to_one_file(file: FileSink, path: Path) -> None:
    other = FileSink(path, SystemClock())
    file.append(note(1))
    other.append(note(2))
    file.append(note(3))
    await other.close()
    assert await file.notes() == [note(1), note(2), note(3)]


@pytest.mark.parametrize("cut", [1, 20, 100])
async def test_a_line_torn_by_a_power_cut_is_mended(file: FileSink, path: Path, cut: int) -> None:
    file.append(note(1))
    file.append(note(2))
    os.truncate(path, path.stat().st_size - cut)
    await file.mend()
    file.append(note(3))
    kept = [note(1), note(2), note(3)] if cut == 1 else [note(1), note(3)]  # cut 1 took the newline alone
    assert await file.notes() == kept


def spoil(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"garbage\n")


async def test_mending_leaves_whole_lines_alone(file: FileSink, path: Path) -> None:
    file.append(note(1))
    spoil(path)
    await file.mend()
    assert list(await file.notes()) == [note(1), "garbage"]


async def test_a_file_that_vanished_is_not_made_anew(file: FileSink, path: Path) -> None:
    file.append(note(1))
    aside = path.with_name("aside")
    path.rename(aside)
    with pytest.raises(Unavailable):
        file.append(note(2))
    aside.rename(path)
    file.append(note(2))
    assert await file.notes() == [note(1), note(2)]


async def test_a_file_that_was_replaced_is_refused(file: FileSink, path: Path) -> None:
    file.append(note(1))
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)
    with pytest.raises(Unavailable, match="replaced"):
        file.append(note(2))


async def test_a_full_disk_is_unavailable() -> None:
    sink = FileSink(Path("/dev/full"), SystemClock())
    with pytest.raises(Unavailable, match="No space"):
        sink.append(note(1))


async def test_a_missing_folder_is_unavailable(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "no" / "notes", SystemClock())
    with pytest.raises(Unavailable):
        sink.append(note(1))


class Bucket(Blobs):
    """Blobs in memory that can be broken."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.broken = False

    async def put(self, name: str, content: bytes) -> None:
        if self.broken:
            raise Unavailable("no route")
        self.content[name] = content

    async def get(self, name: str) -> bytes:
        if name not in self.content:
            raise NotFound(name)
        return self.content[name]

    async def delete(self, name: str) -> bool:
        return self.content.pop(name, None) is not None

    async def list(self, prefix: str = "") -> AsyncIterator[str]:
        for name in sorted(self.content):
            if name.startswith(prefix):
                yield name


async def test_blobs_keep_the_newest_note_of_each_day_and_process() -> None:
    bucket, clock = Bucket(), FakeClock()
    sink, other = BlobSink(bucket, clock, prefix="p"), BlobSink(bucket, clock, prefix="p")
    for size in (1, 2, 3):
        sink.append(note(size))
    await sink.flush()
    sink.append(note(4))
    await sink.flush()
    clock.advance(86_400)
    sink.append(note(9))
    await sink.close()
    assert await sink.notes() == [note(4), note(9)]
    other.append(note(7))
    await other.close()
    assert sorted(await sink.notes()) == [note(4), note(7), note(9)]


def refuses(sink: BlobSink) -> bool:
    try:
        sink.append(note(2))
    except Unavailable as error:
        assert "no route" in error.detail
        return True
    return False


async def test_blobs_that_cannot_be_stored_make_the_sink_refuse_until_one_is(until: Any) -> None:
    bucket = Bucket()
    sink = BlobSink(bucket, SystemClock(), every=0.001)
    bucket.broken = True
    sink.append(note(1))
    running = asyncio.create_task(sink.run())
    await until(lambda: refuses(sink))
    bucket.broken = False
    await until(lambda: bool(bucket.content))
    sink.append(note(3))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await sink.close()
    assert (await sink.notes())[-1] == note(3)
