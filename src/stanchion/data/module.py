"""Builds the reading of documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ..core.module import Module, Parts, Settings
from .contract import Documents

if TYPE_CHECKING:
    from .service import DocumentService


class DataSettings(Settings):
    """Settings of documents."""

    together: int = Field(2, ge=1, le=64, description="Documents read at once, each in a process of its own.")
    seconds: float = Field(60.0, gt=0, le=600, description="How long one document may take, in seconds.")
    megabytes: int = Field(2_048, ge=256, le=65_536, description="Memory that one document may take, in megabytes.")
    most_bytes: int = Field(64 << 20, ge=1_024, le=1 << 30, description="Largest document, in bytes.")


async def _build(parts: Parts, settings: DataSettings) -> DocumentService:
    from .backends.kreuzberg import KreuzbergParser
    from .service import DocumentService

    parser = KreuzbergParser(Path(parts.folder) / "parser", seconds=settings.seconds, megabytes=settings.megabytes)
    return DocumentService(parser, together=settings.together, most_bytes=settings.most_bytes)


MODULE = Module(name="data", contract=Documents, build=_build, settings=DataSettings)
