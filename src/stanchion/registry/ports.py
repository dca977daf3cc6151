"""What the registry needs from its store: one tenant's records, changed in one transaction at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from ..core.context import Context
from .contract import Change, ModelSummary, Promotion, Stage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version as stored: `manifest` never changes and is signed; stage and aliases do and are not.

    `ordinal` numbers a model's versions from 1 in the order of registration.
    """

    model: str
    version: str
    ordinal: int
    stage: Stage
    manifest: bytes
    manifest_sha256: str
    signature: str
    key_id: str
    package_sha256: str
    aliases: tuple[str, ...] = ()


class Tenure(NamedTuple):
    """One time that a version was put into production, numbered from 1 for each model."""

    number: int
    version: str
    stage: Stage


class Content(NamedTuple):
    """Content of a package, by the tenant and its SHA-256."""

    tenant: str
    sha256: str


class Records(Protocol):
    """One tenant's records inside one transaction. In a read only the methods that change nothing may be called."""

    def find(self, model: str, version: str) -> VersionRow | None:
        """One version."""
        ...

    def same_package(self, model: str, package_sha256: str) -> VersionRow | None:
        """The version with this package digest."""
        ...

    def newest(self, model: str, *, stages: Sequence[Stage] = ()) -> VersionRow | None:
        """The version with the highest ordinal, among those in one of `stages` if any are given."""
        ...

    def aliased(self, model: str, alias: str) -> VersionRow | None:
        """The version that an alias points at."""
        ...

    def versions(self, model: str, limit: int) -> Sequence[VersionRow]:
        """Versions by descending ordinal."""
        ...

    def summaries(self, after: str, limit: int) -> Sequence[ModelSummary]:
        """Models with names greater than `after`, by ascending code points."""
        ...

    def add(self, row: VersionRow) -> None:
        """Insert a version. Its model and version, its ordinal and its package are unique."""
        ...

    def set_stage(self, model: str, version: str, stage: Stage) -> None:
        """Change the stage; at most one version of a model is in production at any moment."""
        ...

    def set_alias(self, model: str, alias: str, version: str | None) -> bool:
        """Point an alias at a version, or remove it; whether there was one."""
        ...

    def pending(self, model: str) -> Sequence[Promotion]:
        """The model's pending promotions."""
        ...

    def promotions(self, model: str, limit: int) -> Sequence[Promotion]:
        """Promotions by descending order of asking."""
        ...

    def save_promotion(self, promotion: Promotion) -> None:
        """Insert a promotion or replace the one with its id."""
        ...

    def tenures(self, model: str) -> Sequence[Tenure]:
        """The production history without what was rolled back, the newest first, with each version's present stage."""
        ...

    def begin_tenure(self, model: str, version: str) -> None:
        """Append to the production history."""
        ...

    def undo_tenures(self, model: str, *, above: int) -> None:
        """Mark the history's entries with a number above this one as rolled back."""
        ...

    def changed(self, change: Change, at: datetime) -> None:
        """Append to the changes under the tenant's next cursor; the change's own cursor is passed over."""
        ...

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        """Changes with a cursor above `after`, ascending."""
        ...

    def last_cursor(self) -> int:
        """The newest change's cursor, 0 before the first."""
        ...

    def expect(self, digests: Sequence[str], at: datetime, *, held_since: datetime) -> bool:
        """Note contents about to be uploaded; False if one is being swept by somebody since after `held_since`."""
        ...

    def keep(self, digests: Sequence[str]) -> bool:
        """Note that a version needs these contents, so no sweep takes them; False if one was taken already."""
        ...


class Store(Protocol):
    """Transactions over Records. `work` may run twice, so it has no effect but on its records."""

    async def read(self, tenant: str, work: Callable[[Records], T]) -> T:
        """What `work` returns, from one consistent snapshot."""
        ...

    async def write(self, ctx: Context, work: Callable[[Records], T]) -> T:
        """What `work` returns, once all its changes and `ctx.effect` are durable; an exception undoes them.

        Writers of one tenant take turns, in every process: so what `work` reads holds until it is committed, and
        changes are numbered in the order of their commits, so that no watcher passes one by.
        """
        ...

    async def claim_abandoned(self, before: datetime, at: datetime, *, limit: int) -> Sequence[Content]:
        """Contents of any tenant that were expected before that moment and never kept; they are now being swept."""
        ...

    async def forget(self, contents: Sequence[Content]) -> None:
        """The contents are gone: drop the notes of those still being swept."""
        ...
