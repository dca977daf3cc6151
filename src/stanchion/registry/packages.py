"""The files of versions: put under their digests before the version exists, checked whenever they are read.

A kill between the upload and the version leaves contents that nothing refers to. They were announced before they
were put, so a later sweep finds them without listing the store, and takes none that a version needs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import InvalidInput, NotFound, NotTrustworthy, PayloadTooLarge, Unavailable
from ..core.storage import Blobs
from .contract import File
from .manifest import digest
from .names import check_file
from .ports import Store

FILES = 100
_CHUNK = 1 << 20
_SWEEP = 1_000
# How long a sweep may take to delete what it has claimed; nobody may upload the same content meanwhile.
_CLAIM = timedelta(seconds=60)


class Packages:
    """Package contents in a blob store. `abandoned_after` is the age at which an upload counts as given up."""

    def __init__(
        self, store: Store, blobs: Blobs, *, clock: Clock, most_bytes: int, abandoned_after: timedelta
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._most_bytes = most_bytes
        self._abandoned_after = abandoned_after

    async def put(self, ctx: Context, contents: Mapping[str, bytes]) -> tuple[File, ...]:
        """The files by name, stored durably. Raises InvalidInput, PayloadTooLarge, Unavailable."""
        self._check(contents)
        by_digest: dict[str, bytes] = {}
        files: list[File] = []
        for name in sorted(contents):
            sha256 = await asyncio.to_thread(digest, contents[name])
            files.append(File(name, sha256, len(contents[name])))
            by_digest[sha256] = contents[name]
        await self._announce(ctx, tuple(by_digest))
        for sha256, content in by_digest.items():
            await self._blobs.put(blob_name(ctx.tenant, sha256), content)
        return tuple(files)

    async def read(self, tenant: str, file: File) -> AsyncIterator[bytes]:
        """The content in pieces of at most 1 MiB. Raises NotTrustworthy before the last piece if it is not the file's.

        One piece is always held back, so nobody ever gets a complete wrong file.
        """
        hashed, size, held = hashlib.sha256(), 0, b""
        try:
            async for piece in self._blobs.read(blob_name(tenant, file.sha256), chunk=_CHUNK):
                if held:
                    yield held
                held = piece
                size += len(piece)
                hashed.update(piece)
                if size > file.size:
                    break
        except NotFound as error:
            raise NotTrustworthy(f"the content of file {file.name} is gone from the blob store") from error
        if size != file.size or hashed.hexdigest() != file.sha256:
            raise NotTrustworthy(f"the stored content of file {file.name} does not match its digest")
        if held:
            yield held

    async def sweep(self) -> int:
        """Delete contents of uploads that were given up; how many."""
        now = self._clock.now()
        contents = await self._store.claim_abandoned(now - self._abandoned_after, now, limit=_SWEEP)
        for content in contents:
            await self._blobs.delete(blob_name(content.tenant, content.sha256))
        if contents:
            await self._store.forget(contents)
        return len(contents)

    def _check(self, contents: Mapping[str, bytes]) -> None:
        if not 1 <= len(contents) <= FILES:
            raise InvalidInput(f"a package has 1 to {FILES} files, not {len(contents)}")
        for name in contents:
            check_file(name)
        total = sum(len(content) for content in contents.values())
        if total > self._most_bytes:
            raise PayloadTooLarge(f"the package has {total} bytes; the limit is {self._most_bytes}")

    async def _announce(self, ctx: Context, digests: tuple[str, ...]) -> None:
        now = self._clock.now()
        # Without the effect: an upload changes nothing that anybody can see, so the audit log waits for the version.
        free = await self._store.write(
            replace(ctx, effect=None), lambda records: records.expect(digests, now, held_since=now - _CLAIM)
        )
        if not free:
            raise Unavailable("the same content is being cleaned up at this moment", retry_after=1.0)


def blob_name(tenant: str, sha256: str) -> str:
    """Where a content lies. Contents of two tenants never share a name, and a tenant's name is not told."""
    return f"packages/{digest(tenant.encode())[:32]}/{sha256}"
