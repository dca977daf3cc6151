"""The registry's rules: one write, one transaction, one audit event; nothing is read that is not checked."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import NotFound, StanchionError, Unavailable
from . import stages
from .contract import Change, Draft, File, ModelSummary, ModelVersion, Promotion, Registry, Stage
from .drafts import check_draft
from .manifest import digest, manifest_of, package_digest
from .names import Reference, check_alias, check_limit, check_model, check_text, check_version, parse_reference
from .packages import Packages
from .ports import Records, Store, VersionRow
from .seal import Seal
from .versioning import next_version
from .watching import Watch

T = TypeVar("T")
_log = logging.getLogger(__name__)


class RegistryService(Registry):
    """The registry over a store and a blob store. In `development` one person may promote to production alone."""

    def __init__(
        self, *, store: Store, packages: Packages, seal: Seal, watch: Watch, clock: Clock, development: bool
    ) -> None:
        self._store = store
        self._packages = packages
        self._seal = seal
        self._watch = watch
        self._clock = clock
        self._development = development

    async def start(self) -> None:
        """Remove what killed registrations have left; a blob store that is down is no reason not to start."""
        try:
            await self._packages.sweep()
        except Unavailable as error:
            _log.warning("abandoned uploads stay until the next start: %s", error.detail)

    async def stop(self) -> None:
        """End all watching."""
        self._watch.stop()

    async def register(self, ctx: Context, draft: Draft, files: Mapping[str, bytes]) -> ModelVersion:
        check_draft(draft)
        package_digest(draft, ())  # what JSON cannot express is refused before anything is uploaded
        stored = await self._packages.put(ctx, files)
        row = await self._write(ctx, partial(self._add, ctx, draft, stored))
        return self._seal.open(ctx.tenant, row)

    def _add(self, ctx: Context, draft: Draft, files: tuple[File, ...], records: Records) -> VersionRow:
        package = package_digest(draft, files)
        row = records.same_package(draft.model, package)
        existed = row is not None
        if row is None:
            row = self._new_row(ctx, draft, files, package, records.newest(draft.model))
            if not records.keep([file.sha256 for file in files]):
                raise Unavailable("the upload took so long that it was cleaned up; send it again")
            records.add(row)
            records.changed(Change(0, row.model, row.version, "registered"), self._clock.now())
        _note(ctx, model=row.model, version=row.version, manifest_sha256=row.manifest_sha256, existed=existed)
        return row

    def _new_row(
        self, ctx: Context, draft: Draft, files: tuple[File, ...], package: str, newest: VersionRow | None
    ) -> VersionRow:
        before = None if newest is None else self._seal.open(ctx.tenant, newest)
        version = next_version(before, draft)
        manifest = manifest_of(ctx.tenant, draft, files, version=version, at=self._clock.now(), principal=ctx.principal)
        signed = self._seal.sign(manifest)
        return VersionRow(
            model=draft.model,
            version=version,
            ordinal=1 if newest is None else newest.ordinal + 1,
            stage="dev",
            manifest=manifest,
            manifest_sha256=signed.manifest_sha256,
            signature=signed.signature,
            key_id=signed.key_id,
            package_sha256=package,
        )

    async def models(self, ctx: Context, *, after: str = "", limit: int = 100) -> Sequence[ModelSummary]:
        check_limit(limit)
        after = check_text(after, "$.after")
        return await self._store.read(ctx.tenant, lambda records: records.summaries(after, limit))

    async def versions(self, ctx: Context, model: str, *, limit: int = 100) -> Sequence[ModelVersion]:
        check_model(model)
        check_limit(limit)
        rows = await self._store.read(ctx.tenant, lambda records: records.versions(model, limit))
        if not rows:
            raise NotFound(f"there is no model {model}")
        return [self._seal.open(ctx.tenant, row) for row in rows]

    async def resolve(self, ctx: Context, reference: str) -> ModelVersion:
        wanted = parse_reference(reference)
        row = await self._store.read(ctx.tenant, partial(_resolved, wanted))
        if row is None:
            raise NotFound(f"nothing is registered as {wanted}")
        return self._seal.open(ctx.tenant, row)

    async def artifact(self, ctx: Context, model: str, version: str, file: str) -> AsyncIterator[bytes]:
        wanted = Reference(check_model(model), version=check_version(version))
        found = await self.resolve(ctx, str(wanted))
        chosen = next((f for f in found.files if f.name == file), None)
        if chosen is None:
            raise NotFound(f"{model} {version} has no such file")
        async for piece in self._packages.read(ctx.tenant, chosen):
            yield piece

    async def promote(self, ctx: Context, model: str, version: str, *, to: Stage, evidence: str = "") -> Promotion:
        asked = self._asked(ctx, model, check_version(version), to, check_text(evidence, "$.evidence"))

        def work(records: Records) -> Promotion:
            promotion = stages.promote(records, asked, alone=self._development)
            _note_promotion(ctx, promotion)
            return promotion

        return await self._write(ctx, work)

    async def rollback(self, ctx: Context, model: str, *, reason: str) -> ModelVersion:
        reason = check_text(reason, "$.reason", needed=True)
        asked = self._asked(ctx, model, "", "production", reason)

        def work(records: Records) -> VersionRow:
            promotion = stages.roll_back(records, asked)
            _note_promotion(ctx, promotion)
            # The reason may name people; the audit log is never deleted from, so it holds the digest.
            _note(ctx, reason_sha256=digest(reason.encode()), reason_length=len(reason))
            return _must(records.find(model, promotion.version))

        return self._seal.open(ctx.tenant, await self._write(ctx, work))

    async def alias(self, ctx: Context, model: str, alias: str, version: str | None) -> None:
        check_model(model)
        check_alias(alias)
        change = Change(0, model, version or "", "alias")

        def work(records: Records) -> None:
            if version is not None and records.find(model, check_version(version)) is None:
                raise NotFound(f"there is no version {version} of a model {model}")
            existed = records.set_alias(model, alias, version)
            if version is None and not existed:
                raise NotFound(f"the model {model} has no alias {alias}")
            records.changed(change, self._clock.now())
            _note(ctx, model=model, alias=alias, version=version)

        await self._write(ctx, work)

    async def promotions(self, ctx: Context, model: str, *, limit: int = 50) -> Sequence[Promotion]:
        check_model(model)
        check_limit(limit)
        return await self._store.read(ctx.tenant, lambda records: records.promotions(model, limit))

    def watch(self, ctx: Context, *, since: int = -1) -> AsyncIterator[Change]:
        return self._watch.changes(ctx.tenant, since)

    def _asked(self, ctx: Context, model: str, version: str, to: Stage, evidence: str) -> stages.Asked:
        return stages.Asked(
            id="promotion-" + secrets.token_hex(8),
            model=check_model(model),
            version=version,
            to=to,
            evidence=evidence,
            principal=ctx.principal,
            at=self._clock.now(),
        )

    async def _write(self, ctx: Context, work: Callable[[Records], T]) -> T:
        result = await self._store.write(ctx, work)
        self._watch.ring()
        return result


def _resolved(wanted: Reference, records: Records) -> VersionRow | None:
    if wanted.version is not None:
        return records.find(wanted.model, wanted.version)
    match wanted.alias:
        case None:
            return records.newest(wanted.model, stages=("production",)) or _latest(wanted.model, records)
        case "latest":
            return _latest(wanted.model, records)
        case "production" | "staging":
            return records.newest(wanted.model, stages=(wanted.alias,))
        case alias:
            return records.aliased(wanted.model, alias)


def _latest(model: str, records: Records) -> VersionRow | None:
    return records.newest(model, stages=("dev", "staging", "production"))


def _must(row: VersionRow | None) -> VersionRow:
    if row is None:
        raise StanchionError("a version that was just put into production is not stored")
    return row


def _note(ctx: Context, **facts: str | int | bool | None) -> None:
    if ctx.effect is not None:
        ctx.effect.note(**facts)


def _note_promotion(ctx: Context, promotion: Promotion) -> None:
    _note(
        ctx,
        model=promotion.model,
        version=promotion.version,
        to=promotion.to,
        replaces=promotion.replaces,
        promotion=promotion.id,
        status=promotion.status,
        requested_by=promotion.requested_by,
        decided_by=promotion.decided_by,
    )
