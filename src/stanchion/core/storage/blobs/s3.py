"""Blobs in an S3-compatible bucket, shared by many machines.

Credentials come from the AWS variables or the machine's role, as every S3 client reads them; never from the URL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta

from obstore.exceptions import BaseError
from obstore.store import S3Store

from ...errors import Unavailable
from ..contract import Blobs
from .rules import check_chunk, check_name, cut, missing

# The client's own default goes on for three minutes; a caller's deadline is usually shorter.
_RETRY_SECONDS = 20


class S3Blobs(Blobs):
    """The objects of `bucket` whose keys begin with `prefix` and a slash. The bucket must exist.

    `endpoint` names another service than Amazon's; with an `http:` one the content travels unencrypted.
    """

    def __init__(
        self, bucket: str, *, prefix: str = "", endpoint: str | None = None, region: str | None = None
    ) -> None:
        settings = {"endpoint": endpoint, "region": region}
        with _trouble():
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                config={name: value for name, value in settings.items() if value},  # type: ignore[arg-type]  # a TypedDict
                client_options={
                    "allow_http": (endpoint or "").startswith("http:"),
                    "connect_timeout": "5s",
                    "timeout": "300s",
                },
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
            )

    async def put(self, name: str, content: bytes) -> None:
        check_name(name)
        with _trouble():
            await self._store.put_async(name, content)

    async def get(self, name: str) -> bytes:
        check_name(name)
        with _trouble(name):
            return bytes(await (await self._store.get_async(name)).bytes_async())

    async def read(self, name: str, *, chunk: int = 1 << 20) -> AsyncIterator[bytes]:
        check_chunk(chunk)
        check_name(name)
        with _trouble(name):
            async for piece in (await self._store.get_async(name)).stream(min_chunk_size=chunk):
                content = memoryview(piece)
                for start in range(0, len(content), chunk):
                    yield bytes(content[start : start + chunk])

    async def delete(self, name: str) -> bool:
        check_name(name)
        with _trouble():
            try:  # S3 answers a delete alike whether the object was there or not
                await self._store.head_async(name)
            except FileNotFoundError:
                return False
            await self._store.delete_async(name)
            return True

    async def list(self, prefix: str = "") -> AsyncIterator[str]:
        # The client's own prefix counts whole parts only, so the rest of ours is compared here. S3 lists in order.
        if (parts := cut(prefix)) is None:
            return
        with _trouble():
            async for page in self._store.list(parts.folder or None, chunk_size=500):
                for found in page:
                    if found["path"].startswith(prefix):
                        yield found["path"]

    async def close(self) -> None:
        pass


@contextmanager
def _trouble(name: str | None = None) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise (missing(name) if name else Unavailable("the bucket does not exist")) from error
    except (BaseError, OSError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise Unavailable(f"the object store did not answer: {first}") from error
