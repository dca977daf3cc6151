"""What is each blob engine's own: links, leftovers, an absent service."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stanchion.core.errors import NotTrustworthy, Unavailable
from stanchion.core.storage.open import open_blobs


async def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    blobs = open_blobs((tmp_path / "blobs").as_uri())
    (tmp_path / "blobs" / "link").symlink_to(outside / "secret")
    (tmp_path / "blobs" / "folder+").symlink_to(outside)
    for name in ["link", "folder/secret"]:
        with pytest.raises(NotTrustworthy):
            await blobs.get(name)
    with pytest.raises(NotTrustworthy):
        await blobs.put("folder/new", b"")
    with pytest.raises(NotTrustworthy):
        await blobs.put("folder/deep/new", b"")
    with pytest.raises(NotTrustworthy):
        await blobs.delete("folder/secret")
    with pytest.raises(NotTrustworthy):
        await anext(aiter(blobs.list("folder/")))
    assert [name async for name in blobs.list()] == []
    assert [entry.name for entry in outside.iterdir()] == ["secret"]


async def test_a_link_in_a_blobs_place_is_replaced_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"untouched")
    blobs = open_blobs((tmp_path / "blobs").as_uri())
    (tmp_path / "blobs" / "a").symlink_to(tmp_path / "target")
    await blobs.put("a", b"new")
    assert await blobs.get("a") == b"new"
    assert (tmp_path / "target").read_bytes() == b"untouched"


async def test_the_folder_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    blobs = open_blobs((tmp_path / "link").as_uri())
    await blobs.put("a/b", b"x")
    assert await blobs.get("a/b") == b"x"


async def test_what_a_killed_writer_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    open_blobs(tmp_path.as_uri())
    old, young = tmp_path / "+new" / "old", tmp_path / "+new" / "young"
    for left in (old, young):
        left.write_bytes(b"half")
    os.utime(old, (young.stat().st_mtime - 4_000,) * 2)
    blobs = open_blobs(tmp_path.as_uri())
    assert [entry.name for entry in (tmp_path / "+new").iterdir()] == ["young"]
    assert [name async for name in blobs.list()] == []


async def test_a_failed_put_leaves_the_old_content_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    blobs = open_blobs(tmp_path.as_uri())
    await blobs.put("a", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        await blobs.put("a", b"new")
    monkeypatch.undo()
    assert await blobs.get("a") == b"old"
    assert list((tmp_path / "+new").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        open_blobs((tmp_path / "file" / "below").as_uri())


async def test_a_bucket_that_does_not_exist_is_unavailable(s3_endpoint: str) -> None:
    blobs = open_blobs(f"s3://absent-bucket?endpoint={s3_endpoint}")
    with pytest.raises(Unavailable):
        await blobs.put("a", b"")
    with pytest.raises(Unavailable):
        await anext(aiter(blobs.list()))


async def test_an_absent_service_is_unavailable(s3_endpoint: str) -> None:
    blobs = open_blobs("s3://bucket?endpoint=http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await blobs.get("a")


async def test_buckets_are_shared_by_prefix(s3_url: str) -> None:
    mine, yours = open_blobs(s3_url), open_blobs(s3_url.replace("/some/prefix", "/some/pre"))
    await mine.put("a", b"mine")
    assert [name async for name in yours.list()] == []
    assert not await yours.delete("a")
