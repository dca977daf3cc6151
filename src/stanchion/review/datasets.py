"""Decisions as data: each decided item one canonical line with its provenance, in versions that never change.

A version is the decisions up to a number, so it costs one row and holds nothing twice. Its digest is of the lines that
it gave when it was made; if they ever differ, the export says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from ..core.context import Context
from ..core.errors import Conflict, InvalidInput, NotFound, NotTrustworthy
from ..core.values import Json
from .canonical import canonical
from .contract import DatasetVersion
from .desk import Desk
from .ports import Records, Row
from .removing import removed
from .seals import Seals

_PAGE = 200
_FAR = 2**62


class Datasets:
    """Versions of what people decided, by queue."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def versions(self, ctx: Context, queue: str) -> list[DatasetVersion]:
        """See the contract."""
        found = await self._desk.store.read(ctx.tenant, lambda records: records.datasets(queue, 1_000))
        return [version for version, _ in found]

    async def publish(self, ctx: Context, queue: str) -> DatasetVersion:
        """See the contract."""
        self._desk.spec(queue)
        rows, upto = 0, 0
        whole = hashlib.sha256()
        async for row, line in self._lines(ctx.tenant, queue, _FAR):
            whole.update(line)
            rows, upto = rows + 1, row.finished or upto
        if not rows:
            raise NotFound(f"nothing of {queue} is decided yet, so there is no data set")
        sha256 = whole.hexdigest()

        at = self._desk.now()

        def work(records: Records) -> DatasetVersion:
            newest = next(iter(records.datasets(queue, 1)), None)
            if newest is not None and newest[1] >= upto:
                if newest[1] > upto or newest[0].sha256 == sha256:
                    return newest[0]
                # Nothing came since, so only retention can have made it another set: then it is a new version.
                if not 0 < newest[0].rows - rows <= records.last(removed(queue)):
                    raise NotTrustworthy(
                        f"the decisions of {queue} are not those that version {newest[0].version} holds"
                    )
            number = 1 if newest is None else newest[0].version + 1
            version = DatasetVersion(queue, number, rows, sha256, at, ctx.principal)
            records.add_dataset(version, upto)
            return version

        version = await self._desk.store.write(ctx, work)
        if ctx.effect is not None:
            ctx.effect.note(queue=queue, version=version.version, rows=version.rows, sha256=version.sha256)
        return version

    async def export(self, ctx: Context, queue: str, version: int) -> AsyncIterator[bytes]:
        """See the contract."""
        if version < 1:
            raise InvalidInput("versions count from 1")
        found = await self._desk.store.read(ctx.tenant, lambda records: records.datasets(queue, 1_000_000))
        known = next(((each, upto) for each, upto in found if each.version == version), None)
        if known is None:
            raise NotFound(f"there is no version {version} of the data set of {queue}")
        whole, held, rows = hashlib.sha256(), b"", 0
        async for _, line in self._lines(ctx.tenant, queue, known[1]):
            whole.update(line)
            held += line
            rows += 1
            if len(held) > 1 << 16:
                yield held
                held = b""
        # The last piece is kept back until the digest is known: no reader takes a broken export for a whole one.
        gone = known[0].rows - rows
        if 0 < gone <= await self._desk.store.read(ctx.tenant, lambda records: records.last(removed(queue))):
            raise NotFound(
                f"retention has removed {gone} of the {known[0].rows} decisions of {queue} version {version}",
                next_step="Make a new version of what is left; keep exports of versions that must stay.",
            )
        if whole.hexdigest() != known[0].sha256:
            raise NotTrustworthy(f"the lines of {queue} version {version} no longer have their digest")
        yield held

    async def _lines(self, tenant: str, queue: str, upto: int) -> AsyncIterator[tuple[Row, bytes]]:
        after = 0
        while True:
            rows = await self._desk.store.read(tenant, partial(_page, queue, upto, after))
            if not rows:
                return
            lines = await _documents(self._desk.seals, tenant, rows)
            for row in rows:
                yield row, lines[row.id]
            after = rows[-1].finished or upto


def _page(queue: str, upto: int, after: int, records: Records) -> Sequence[Row]:
    return records.finished(queue, upto, after, _PAGE)


async def _documents(seals: Seals, tenant: str, rows: Sequence[Row]) -> Mapping[str, bytes]:
    wanted = [row.facts.content for row in rows]
    wanted += [row.state.ending.text for row in rows if row.state.ending is not None]
    texts = await seals.read(tenant, wanted)
    return {row.id: canonical(_document(row, texts)) + b"\n" for row in rows}


def _document(row: Row, texts: Mapping[str, Any]) -> Json:
    """A line: what went in, what was proposed, what people made of it, and where that comes from."""
    ending = row.state.ending
    if ending is None:
        raise Conflict(f"{row.id} is decided without a decision")
    content, told = texts[row.facts.content], texts[ending.text]
    return {
        "input": content["input"],
        "proposal": content["proposal"],
        "verdict": ending.verdict,
        "label": told["value"],
        "patch": told["patch"],
        "reason": ending.reason,
        "provenance": {
            "item": row.id,
            "queue": row.queue,
            "model": row.facts.model,
            "model_version": row.facts.model_version,
            "request_id": row.facts.request_id,
            "matched": list(row.facts.matched),
            "opened_at": row.opened_at.isoformat(),
            "decided_at": ending.at.isoformat(),
            "by": list(ending.by),
            "digests": list(ending.digests),
        },
    }
