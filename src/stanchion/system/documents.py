"""What a system declares to read documents."""

from __future__ import annotations

from typing import TypeVar

from ..core.context import Context
from ..data import DocumentKind, Documents, Parsed
from .handles import Bound

H = TypeVar("H", bound=Bound)


class DeclaredDocuments(Bound):
    """The system's reader of documents."""

    async def parse(self, ctx: Context, content: bytes, kind: DocumentKind) -> Parsed:
        """The document's words. Raises what `Documents.parse` does."""
        door: Documents = self._door(Documents)
        return await door.parse(ctx, content, kind)


class DocumentDeclarations:
    """The part of System that reads documents."""

    def _keep(self, handle: H) -> H:
        raise NotImplementedError

    def documents(self) -> DeclaredDocuments:
        """Declare that the system reads documents; the handle reads them."""
        return self._keep(DeclaredDocuments("documents"))
