"""Where the rows of a training come from where its caller names it: a file, or a version of what people decided."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core.context import Context
from ..core.errors import InvalidInput, Misconfigured, NotFound, NotTrustworthy
from ..core.values import Json
from ..review import DatasetVersion, Reviews

REVIEW = "review:"
_NAMED = re.compile(r"review:(?P<queue>[^@\s]+)(@(?P<version>[1-9][0-9]{0,8}))?")
_FILE = "decisions.jsonl"


@dataclass(frozen=True, slots=True)
class Source:
    """`path` is what the data function is given. `words` and `facts` say where it is from, for lineage and record."""

    path: str | None = None
    words: str | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)


class Sources:
    """Finds sources; `reviews` is None where the system has no review module."""

    def __init__(self, reviews: Reviews | None) -> None:
        self._reviews = reviews

    async def checked(self, ctx: Context, named: str | None) -> str | None:
        """The name made exact: a file's whole path, a data set with its version. Raises InvalidInput, NotFound."""
        if named is None:
            return None
        if not named.startswith(REVIEW):
            return await asyncio.to_thread(_readable, named)
        version = await self._version(ctx, named)
        return f"{REVIEW}{version.queue}@{version.version}"

    async def brought(self, ctx: Context, exact: str | None, folder: Path) -> Source:
        """The source that `checked` named, its rows in a file; those of a data set are written into the folder.

        Raises as `Reviews.export` does.
        """
        if exact is None or not exact.startswith(REVIEW):
            return Source(exact)
        version = await self._version(ctx, exact)
        path, whole = folder / _FILE, hashlib.sha256()
        with await asyncio.to_thread(path.open, "wb") as file:
            async for piece in self._door().export(ctx, version.queue, version.version):
                whole.update(piece)
                await asyncio.to_thread(file.write, piece)
        if whole.hexdigest() != version.sha256:
            raise NotTrustworthy(f"the lines of {exact} that came do not have the version's digest")
        words = f"{exact}, {version.rows} decisions, sha256:{version.sha256}"
        facts: dict[str, Json] = {"review": version.queue, "version": version.version}
        return Source(str(path), words, {**facts, "rows": version.rows, "sha256": version.sha256})

    async def _version(self, ctx: Context, named: str) -> DatasetVersion:
        match = _NAMED.fullmatch(named)
        if match is None:
            raise InvalidInput(f"{named!r} names no data set", next_step="Write review:QUEUE@VERSION.")
        found = await self._door().datasets(ctx, match["queue"])
        for each in found:
            if match["version"] is None or each.version == int(match["version"]):
                return each
        raise NotFound(
            f"there is no data set {named.removeprefix(REVIEW)}",
            next_step="Make a version of what people decided: `stanchion reviews export`.",
        )

    def _door(self) -> Reviews:
        if self._reviews is None:
            raise Misconfigured(
                "a training is to learn from what people decided, but this system has no reviews",
                next_step="Enable the module `review`, or say where it is in [place.review].",
            )
        return self._reviews


def _readable(source: str) -> str:
    path = Path(source).expanduser().resolve()
    if not path.is_file():
        raise InvalidInput(f"there is no file at {source}", next_step="Name a file that this process can read.")
    return str(path)
