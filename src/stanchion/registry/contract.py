"""The model registry: versions that never change, and which of them is in use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ..core.context import Context
from ..core.contract import action
from ..core.values import Json

Stage = Literal["dev", "staging", "production", "archived"]
Format = Literal["onnx", "python"]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a version's package: SHA-256 as 64 hex digits, size in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from: digest and size of the data, code version, parent version, seed."""

    data_sha256: str
    data_rows: int
    data_source: str
    code_version: str
    parent: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A version about to be registered. Schemas are JSON Schema documents; `card` is Markdown.

    `weights_sha256` identifies the trained weights apart from their packaging; `metadata` is what the
    runtime needs besides the files (bands, rungs, column order).
    """

    model: str
    format: Format
    input_schema: Mapping[str, Json]
    output_schema: Mapping[str, Json]
    metrics: Mapping[str, float]
    parameters: Mapping[str, Json]
    metadata: Mapping[str, Json]
    lineage: Lineage
    weights_sha256: str
    card: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version. `manifest_sha256` covers all of it but stage and aliases; `signature` signs that."""

    model: str
    version: str
    stage: Stage
    aliases: tuple[str, ...]
    format: Format
    input_schema: Mapping[str, Json]
    output_schema: Mapping[str, Json]
    metrics: Mapping[str, float]
    parameters: Mapping[str, Json]
    metadata: Mapping[str, Json]
    lineage: Lineage
    weights_sha256: str
    card: str
    files: tuple[File, ...]
    created_at: datetime
    created_by: str
    manifest_sha256: str
    signature: str
    key_id: str


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model in a list: its newest version and the one in production."""

    model: str
    versions: int
    latest: str
    production: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Promotion:
    """A stage change: asked for by one person, with evidence, and decided by a second one."""

    id: str
    model: str
    version: str
    to: Stage
    evidence: str
    status: Literal["pending", "done", "rejected"]
    requested_at: datetime
    requested_by: str
    decided_at: datetime | None = None
    decided_by: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What `watch` tells: the model's resolution may have changed. `cursor` grows by at least 1."""

    cursor: int
    model: str
    version: str
    kind: Literal["registered", "promoted", "rolled_back", "alias", "archived"]


class Registry(Protocol):
    """Model versions of the caller's tenant. Another tenant's models answer as unknown ones."""

    @action("registry:register", effect="write", resource="Model")
    async def register(self, ctx: Context, draft: Draft, files: Mapping[str, bytes]) -> ModelVersion:
        """A new version, signed, in stage `dev`, all of it or nothing.

        Its number follows semantic versioning: another input or output schema than the newest version's
        raises the major part, other weights the minor, other packaging of the same weights the patch; the
        first is 1.0.0. Registering the very same package again gives the existing version.
        Raises InvalidInput, PayloadTooLarge (2 GiB in all).
        """
        ...

    @action("registry:read", effect="read", resource="Model")
    async def models(self, ctx: Context, *, after: str = "", limit: int = 100) -> Sequence[ModelSummary]:
        """Models by ascending name, at most 100."""
        ...

    @action("registry:read", effect="read", resource="Model", by="model")
    async def versions(self, ctx: Context, model: str, *, limit: int = 100) -> Sequence[ModelVersion]:
        """Versions of a model, newest first, at most 100. Raises NotFound."""
        ...

    @action("registry:read", effect="read", resource="Model")
    async def resolve(self, ctx: Context, reference: str) -> ModelVersion:
        """The version that `name`, `name@alias` or `name@1.4.0` means now.

        A bare name is the production version or, where none is, the newest one that is not archived.
        `latest`, `production` and `staging` are aliases that always exist. Raises NotFound, InvalidInput,
        and NotTrustworthy if the stored record does not match its signature.
        """
        ...

    @action("registry:read", effect="read", resource="Model", by="model")
    def artifact(self, ctx: Context, model: str, version: str, file: str) -> AsyncIterator[bytes]:
        """A file's content in pieces of at most 1 MiB, its digest checked. Raises NotFound, NotTrustworthy."""
        ...

    @action("registry:promote", effect="write", resource="Model", by="model")
    async def promote(self, ctx: Context, model: str, version: str, *, to: Stage, evidence: str = "") -> Promotion:
        """Ask for a stage change, or decide the pending one that somebody else asked for.

        To production needs evidence (what was compared, with what result) and, outside development mode, a
        second person: the first call is pending until another principal makes the same call. The former
        production version goes back to staging. Raises NotFound, NotAllowed (the same person), Conflict.
        """
        ...

    @action("registry:promote", effect="write", resource="Model", by="model")
    async def rollback(self, ctx: Context, model: str, *, reason: str) -> ModelVersion:
        """Put the production version before this one back, at once and alone. Raises NotFound, Conflict."""
        ...

    @action("registry:alias", effect="write", resource="Model", by="model")
    async def alias(self, ctx: Context, model: str, alias: str, version: str | None) -> None:
        """Point an alias at a version, or remove it (None). Raises NotFound, InvalidInput for reserved names."""
        ...

    @action("registry:read", effect="read", resource="Model", by="model")
    async def promotions(self, ctx: Context, model: str, *, limit: int = 50) -> Sequence[Promotion]:
        """Stage changes of a model, newest first, at most 100; empty for an unknown model."""
        ...

    @action("registry:read", effect="read", resource="Model")
    def watch(self, ctx: Context, *, since: int = -1) -> AsyncIterator[Change]:
        """Every change after the cursor `since` (-1: only those to come), without end, each at least once."""
        ...
